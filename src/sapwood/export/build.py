"""Build: the network with the units that stay, shrunk, and without the branches that have no unit left."""

from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer

from sapwood.ancestry import note_smaller
from sapwood.currency import Keep
from sapwood.export.narrow import Narrow
from sapwood.export.offers import Offer
from sapwood.shrinking.depth import remove_branches
from sapwood.shrinking.shrunk import Shrunk, shrink
from sapwood.shrinking.skipped import skip_, skipped
from sapwood.shrinking.tracing.anatomy import Anatomy


def built(
    anatomy: Anatomy, keep: Keep, offer: Offer, *, optimizer: Optimizer | None = None, check: bool = True
) -> Shrunk:
    """The smaller network; where a site keeps nothing, its branch counts as 0. Both are proven with `check`."""
    gone = emptied(keep, offer.narrow)
    rest = {name: kept for name, kept in keep.items() if name not in gone}
    shrunk = shrink(anatomy, rest, offer.sites, optimizer=optimizer, check=check)
    if not gone:
        return shrunk
    shorter = remove_branches(shrunk.model, gone.values(), example=anatomy.example, check=check)
    before = {id(p) for p in shrunk.model.parameters()}
    note_smaller(skip_(shrunk.model, skipped(shorter.model)))  # in place: the optimiser knows these parameters
    _forget_(shrunk.optimizer, before - {id(p) for p in shrunk.model.parameters()})
    if shrunk.difference is None or shorter.difference is None:
        return Shrunk(shrunk.model, shrunk.optimizer, shrunk.staying, None)
    narrowest = min(shrunk.proven, shorter.proven, key=lambda dtype: dtype.itemsize if dtype else 0)
    worst = max(shrunk.difference, shorter.difference)
    return Shrunk(shrunk.model, shrunk.optimizer, shrunk.staying, worst, narrowest)


def emptied(keep: Keep, narrow: Mapping[str, Narrow]) -> dict[str, str]:
    """{site that keeps no unit: its branch}."""
    return {name: narrow[name].branch for name, kept in keep.items() if name in narrow and not bool(kept.any())}


def bytes_and_parameters(model: nn.Module) -> tuple[int, int]:
    """What a network's numbers take, and how many of them are parameters; a shared one counts once."""
    stored = [*model.parameters(), *dict.fromkeys(model.buffers())]
    return sum(t.numel() * t.element_size() for t in stored), sum(p.numel() for p in model.parameters())


def _forget_(optimizer: Optimizer | None, gone: set[int]) -> None:
    """The optimiser trains these parameters no longer."""
    if optimizer is None:
        return
    for p in [p for p in optimizer.state if id(p) in gone]:
        del optimizer.state[p]
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in gone]
