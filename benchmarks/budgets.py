"""Budgets: half of the multiply-adds, parameters, bytes or milliseconds is asked for; what comes back?

Five networks with first weights: ResNet-20, ResNet-56, the VGG of pruning papers, LeNet-5, a small decoder with
attention. `sapwood.prune(model, example, QUANTITY=0.5)` with its defaults, and with `multiple=1`. Beside it
Torch-Pruning where it is installed: its `MagnitudePruner` takes a ratio of channels and nothing else, so it is asked
for `pruning_ratio=0.5` with its group norm and its defaults, the layer that gives the answer ignored.

The rule, written before the first row. A count is met if no more than half is left, and less than one step of one site
is missing: a step is what one call changes at once, `multiple` channels, a head, or a thin branch that goes whole; the
largest step of the network counts. Milliseconds (PyTorch, 16 samples, one thread, the processor's clock) are met if
between 47.5 and 52.5 % are left, measured anew beside the whole network after the call is over. The peer is asked for
nothing that these are; its rows say what half of the channels leaves.

*Added later:* 16 samples where milliseconds are asked for, after the first call of all, LeNet-5 with one sample, was
refused: what its operators take to be called is more than half. A call that is refused is a miss. The first four rows
of milliseconds, of a busy machine, were LeNet-5 39.9 %, ResNet-20 40.0 %, decoder 48.2 %, ResNet-56 50.6 %: where the
next step was a whole branch, nothing smaller was tried. The search was changed, so that other sites go on, and the rows
are those of the changed one.

Rows are kept in --csv one by one; run again, it goes on with what is missing. Minutes of CPU.
"""

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapwood import Pruned, bytes_of, macs_of, parameters_of, prune
from sapwood.errors import InputError
from sapwood.export.build import bytes_and_parameters
from sapwood.export.narrow import BLOCK
from sapwood.export.offers import step
from sapwood.export.timing import side_by_side
from sapwood.models.gpt import gpt
from sapwood.models.lenet5 import lenet5
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.models.vgg_cifar import vgg_cifar
from sapwood.trials.provenance import commit

ASKED, SECONDS, NEAR, MANY = 0.5, 3.0, 0.05, 16
COLUMNS = ("network", "tool", "options", "quantity", "asked", "left", "step", "met", "torch", "commit")
QUANTITIES = ("macs", "parameters", "bytes", "ms")
OURS, PEER = "sapwood", "Torch-Pruning"
Row = dict[str, object]

IMAGES = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NETWORKS: dict[
    str, tuple[Callable[[], nn.Module], Tensor, str]
] = {  # what makes it, an example, the layer that answers
    "ResNet-20": (lambda: resnet_cifar(20), IMAGES, "linear"),
    "ResNet-56": (lambda: resnet_cifar(56), IMAGES, "linear"),
    "VGG-16": (vgg_cifar, IMAGES, "output"),
    "LeNet-5": (lenet5, IMAGES[:, :1, :28, :28], "output"),
    "decoder": (lambda: gpt(width=128, heads=8), torch.arange(64)[None], "output"),
}


def made(name: str) -> nn.Module:
    """A network with first weights, always the same."""
    torch.manual_seed(0)
    return NETWORKS[name][0]().eval()


def sizes(model: nn.Module, x: Tensor) -> dict[str, float]:
    """How large a network is."""
    size, parameters = bytes_and_parameters(model)
    return {"macs": float(macs_of(model, (), x)({})), "parameters": parameters, "bytes": size}


def time_left(whole: nn.Module, small: nn.Module, x: Tensor) -> float:
    """The share of the time that is left, measured side by side."""
    return side_by_side(whole, small.eval(), x, threads=1, seconds=SECONDS).left.median


def largest_step(quantity: str, model: nn.Module, x: Tensor, pruned: Pruned, multiple: int) -> float:
    """What one more step of one site takes of the quantity, as a share; the most of all sites."""
    sites = pruned.sites
    cost = {"macs": lambda: macs_of(model, sites, x), "parameters": lambda: parameters_of(model, sites),
            "bytes": lambda: bytes_of(model, sites)}[quantity]()  # fmt: skip
    left, most = float(cost(pruned.keep)), 0.0
    for site in sites:
        kept = int(pruned.keep[site.name].sum())
        more = torch.arange(site.units) < min(
            site.units, kept + (step(site, multiple) if kept else max(BLOCK, multiple))
        )
        most = max(most, float(cost({**pruned.keep, site.name: more})) - left)
    return most / float(cost({}))


def ours(name: str, options: str, quantity: str) -> Row:
    """One row of `prune`."""
    model, x = made(name), NETWORKS[name][1]
    multiple = 1 if options == "multiple=1" else 8
    wanted: dict[str, Any] = {quantity: ASKED, "multiple": multiple, "timing": SECONDS if quantity == "ms" else 0}
    if quantity == "ms":
        x = x.repeat(MANY, *[1] * (x.dim() - 1))
        try:
            left = time_left(model, prune(model, x, **wanted).model, x)
        except InputError as refused:
            print(refused)
            return {"left": "", "step": "", "met": False}
        return {"left": left, "step": "", "met": abs(left / ASKED - 1) <= NEAR}
    pruned = prune(model, x, **wanted)
    left = sizes(pruned.model, x)[quantity] / sizes(model, x)[quantity]
    one = largest_step(quantity, model, x, pruned, multiple)
    return {"left": left, "step": one, "met": left <= ASKED < left + one}


def peers(name: str) -> Mapping[str, float]:
    """What half of the channels leaves of each quantity by Torch-Pruning; nothing where what it gives does not run."""
    import torch_pruning as tp

    model, x, last = made(name), NETWORKS[name][1], NETWORKS[name][2]
    whole = deepcopy(model)
    try:
        tp.pruner.MagnitudePruner(model, x, importance=tp.importance.GroupMagnitudeImportance(), pruning_ratio=ASKED,
                                  ignored_layers=[model.get_submodule(last)]).step()  # fmt: skip
        model(x)
        now, before = sizes(model, x), sizes(whole, x)
    except Exception as error:  # its own, on a network that it cannot take apart
        print(f"{PEER}, {name}: {str(error).splitlines()[0]}")
        return {}
    return {
        **{quantity: now[quantity] / before[quantity] for quantity in now},
        "ms": time_left(whole, model, x.repeat(MANY, *[1] * (x.dim() - 1))),
    }


def rows(known: set[tuple[str, ...]], names: list[str], quantities: list[str]) -> Iterator[Row]:
    """The rows that are not there yet."""
    for name in names:
        for options in ("defaults", "multiple=1"):
            for quantity in quantities:
                key = (name, OURS, options, quantity)
                if key not in known and (quantity != "ms" or options == "defaults"):
                    yield {**dict(zip(COLUMNS, key, strict=False)), "asked": ASKED, **ours(name, options, quantity)}
        key = (name, PEER, "half of the channels", quantities[0])
        if key not in known and find_spec("torch_pruning"):
            found = peers(name)
            for quantity in QUANTITIES:
                yield {**dict(zip(COLUMNS, (*key[:3], quantity), strict=False)), "asked": "", "step": "", "met": "",
                       "left": found.get(quantity, "")}  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="where rows are kept; without it they are printed only")
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--quantity", nargs="+", default=list(QUANTITIES), choices=list(QUANTITIES))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    kept = chosen.csv is not None and chosen.csv.is_file()
    there = list(csv.DictReader(chosen.csv.open(encoding="utf-8"))) if kept else []
    known = {tuple(row[column] for column in COLUMNS[:4]) for row in there}
    for found in rows(known, chosen.only, chosen.quantity):
        line = {**found, "torch": torch.__version__, "commit": commit()}
        said = ", ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in line.values())
        print(said, flush=True)
        if chosen.csv is not None:
            new = not chosen.csv.is_file()
            with chosen.csv.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow({name: round(v, 5) if isinstance(v, float) else v for name, v in line.items()})
