"""The verb `look`: what of a network can be removed, what hangs together, and what stays and why."""

from pathlib import Path

import torch

from sapwood.cli.looks import page
from sapwood.cli.owned import Order
from sapwood.cli.smaller import aligned, refuse_bad_file
from sapwood.export.caches import without_caches
from sapwood.export.pruned import why
from sapwood.shrinking.cost import parameters_of
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Couplings, Site
from sapwood.training.checkpoint import replace

MOST = 3  # tensors of a site that a terminal shows


def look_at(order: Order, *, lossy: bool, file: Path | None) -> None:
    """Print what can go and what stays, and write the page if one is asked for."""
    if file is not None:
        refuse_bad_file(file, (".html",))
    found = order.made()
    with without_caches(found.model):
        anatomy = Anatomy(found.model, found.example)
        coupled = couplings(anatomy, lossy=lossy)
        print("\n".join(told(anatomy, coupled)))
    if file is not None:
        replace(file, page(found.model, coupled, order.source).encode())
        print(f"written: {file}")


def told(anatomy: Anatomy, coupled: Couplings) -> list[str]:
    """What can go, a line each site, and why the rest stays."""
    cost = parameters_of(anatomy.model, coupled.sites)
    whole = int(cost({}))
    rows = [("can go", "units", "with parameters", "  together with")]
    for site in coupled.sites:
        one = torch.arange(site.units) == 0
        rows.append((site.name, f"{site.units:,}", f"{whole - int(cost({site.name: one})):,}", f"  {others(site)}"))
    lines = aligned(rows) if coupled.sites else ["nothing can go"]
    return [
        *lines,
        f"of {whole:,} parameters; one unit of each stays",
        *(f"stays: {said}" for said in why(coupled.pinned)),
    ]


def others(site: Site) -> str:
    """The tensors that change with it, the first few by name."""
    names = list(dict.fromkeys(slot.tensor for slot in site.slots if not slot.tensor.startswith(f"{site.name}.")))
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more + (" (lossy: a norm goes over them)" if site.lossy else "")
