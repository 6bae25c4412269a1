"""Smaller and faster: what removed neurons and channels do to a network's size and time, in PyTorch and ONNX Runtime.

Dense, masked and smaller networks take turns in one process, on one thread, in CPU seconds. A speed-up is the median
over the rounds of dense / smaller in the same engine; the ideal is the ratio of their multiply-adds. Values do not
matter to the time, so networks start at random. Exit status 1 if a speed-up that is wanted is missed.

`python benchmarks/smaller_and_faster.py --write` makes docs/speed.md anew, in about five minutes on an idle core.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from speed_page import (
    DENSE,
    FOLDED,
    LAST,
    MASKED,
    ONE,
    RUNTIME,
    SMALL,
    TORCH,
    Measured,
    Size,
    held,
    in_short,
    line,
    page,
)
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from sapwood import CRITERIA, InputError, export, masks, measure, score, select
from sapwood.measure import Ratio, Timing
from sapwood.models.mlp import mlp
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.models.vgg_cifar import vgg_cifar
from sapwood.shrinking.cost import Cost, fewest, macs_of
from sapwood.shrinking.cutting.units import per_unit, spread
from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.trials.provenance import provenance

Call = Callable[[], object]
Choose = Callable[[select.Scores, Cost], select.Keep]
Remove = Callable[[nn.Module, Tensor], tuple[nn.Module, nn.Module]]  # (dense, example) -> masked, smaller

WRITTEN = Path(__file__).parents[1] / "docs" / "speed.md"
MLP, VGG, WIDE, DEEP, SHALLOW = "784-300-200-100-50-10", "VGG-16", "ResNet-20, 64 wide", "ResNet-56", "ResNet-20"
NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    MLP: partial(mlp, 784, 300, 200, 100, 50, 10),
    VGG: vgg_cifar,
    WIDE: partial(resnet_cifar, 20, width=64),
    DEEP: partial(resnet_cifar, 56),
    SHALLOW: partial(resnet_cifar, 20),
}
AT_ONCE = 0.02  # seconds for which each case is called on end: it finds its weights where its last call left them


@dataclass(frozen=True)
class Row:
    """A network, what is taken out of it, and what speed-ups are wanted: see `Measured`."""

    network: str
    removed: str
    remove: Remove
    batches: tuple[int, ...]
    wanted: Mapping[int, Mapping[str, float]] = field(default_factory=dict)  # batch -> engine -> at least


def silenced(share: float) -> Remove:
    """All incoming weights of so many neurons of every layer are 0, their biases are not; `compact` takes them out."""

    def remove(dense: nn.Module, example: Tensor) -> tuple[nn.Module, nn.Module]:
        luck, masked = torch.Generator().manual_seed(0), deepcopy(dense)
        with torch.no_grad():
            for site in sites(dense, example):
                gone = torch.randperm(site.units, generator=luck) < round(share * site.units)
                masked.get_parameter(f"{site.name}.weight")[gone] = 0
        return masked, compact(masked, example=example).model

    return remove


def shrunk(choose: Choose) -> Remove:
    """The units with the smallest sums of absolute weights go, of every site the same share, as `choose` says."""

    def remove(dense: nn.Module, example: Tensor) -> tuple[nn.Module, nn.Module]:
        units = sites(dense, example)
        sums = per_unit(score(dense, CRITERIA["magnitude"]), units)
        ranks = {name: each.argsort().argsort().double() / len(each) for name, each in sums.items()}
        keep = choose(ranks, macs_of(dense, units, example))
        masked = deepcopy(dense)
        masks.apply_(dict(masked.named_parameters()), spread(masked, keep, units))
        return masked, shrink(dense, keep, units, example=example).model

    return remove


def units_gone(share: float) -> Remove:
    """So many of every site's units."""
    return shrunk(lambda ranks, _: select.per_layer(ranks, share))


def macs_gone(share: float, multiple: int = 1) -> Remove:
    """As many as have so many of the multiply-adds, in widths that are multiples."""
    return shrunk(lambda ranks, macs: fewest(ranks, macs, limit=(1 - share) * float(macs({})), multiple=multiple))


CONVOLUTIONS = {16: {RUNTIME: 0.95, LAST: 0.90, FOLDED: 0.90}}
ROWS = (
    Row(MLP, "80 % of the neurons", silenced(0.8), (256, 32, 1)),
    Row(MLP, "90 % of the neurons", units_gone(0.9), (256, 32, 1), {256: {RUNTIME: 11}}),
    Row(MLP, "90 % of the MACs, widths by 8", macs_gone(0.9, 8), (256,)),
    Row(VGG, "half of the channels", units_gone(0.5), (16, 1), CONVOLUTIONS),
    Row(VGG, "50 % of the MACs, any widths", macs_gone(0.5), (16, 1)),
    Row(VGG, "50 % of the MACs, widths by 16", macs_gone(0.5, 16), (16, 1)),
    Row(VGG, "75 % of the MACs, widths by 16", macs_gone(0.75, 16), (16, 1)),
    Row(WIDE, "half of the channels", units_gone(0.5), (16, 1), CONVOLUTIONS),
    Row(WIDE, "50 % of the MACs, widths by 16", macs_gone(0.5, 16), (16, 1)),
    Row(WIDE, "75 % of the MACs, widths by 16", macs_gone(0.75, 16), (16, 1)),
    Row(DEEP, "50 % of the MACs, widths by 8", macs_gone(0.5, 8), (16, 1)),
    Row(DEEP, "75 % of the MACs, widths by 8", macs_gone(0.75, 8), (16, 1)),
    Row(SHALLOW, "50 % of the MACs, widths by 8", macs_gone(0.5, 8), (16, 1)),
    Row(SHALLOW, "75 % of the MACs, widths by 8", macs_gone(0.75, 8), (16, 1)),
)


@cache
def made(network: str) -> tuple[nn.Module, Tensor]:
    """A dense network and a sample for it. No bias is 0: none is in a trained network."""
    torch.manual_seed(0)
    dense = NETWORKS[network]().eval()
    with torch.no_grad():
        for name, parameter in dense.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)
    return dense, torch.randn(1, *((784,) if network == MLP else (3, 32, 32)))


@cache
def one_unit(network: str) -> nn.Module:
    """The network with a single unit at every site: the same calls, with next to nothing to multiply."""
    dense, example = made(network)
    units = sites(dense, example)
    return shrink(dense, {site.name: torch.arange(site.units) < 1 for site in units}, units, example=example).model


@cache
def operators(network: str) -> int:
    """How many operators torch.export finds in a network."""
    dense, example = made(network)
    return sum(node.op == "call_function" for node in torch.export.export(dense, (example,)).graph.nodes)


def in_torch(model: nn.Module, x: Tensor) -> Call:
    """As the network is."""
    return partial(deepcopy(model).eval(), x)


def in_channels_last(model: nn.Module, x: Tensor) -> Call:
    """With the channels of a pixel side by side in memory."""
    last = torch.channels_last
    moved: Any = deepcopy(model).eval()  # torch does not declare this argument
    return partial(moved.to(memory_format=last), x.contiguous(memory_format=last))


def in_folded(model: nn.Module, x: Tensor) -> Call:
    """Likewise, with batch norms folded into the convolutions before them."""
    return in_channels_last(fuse(deepcopy(model).eval()), x)


def in_runtime(model: nn.Module, x: Tensor) -> Call:
    """Exported."""
    return partial(session(model, x.shape), x)


@cache
def session(model: nn.Module, shape: torch.Size) -> Callable[..., object]:
    """An exported network for batches of this shape; the export compares its answers."""
    with TemporaryDirectory() as folder:
        export.to_onnx(model, torch.randn(shape), Path(folder, "network.onnx"), batch=shape[0])
        return measure.in_onnxruntime(Path(folder, "network.onnx"))


def calls(networks: Mapping[str, nn.Module], x: Tensor) -> dict[str, Call]:
    """{"engine: which network": what is timed}; masked ones in plain PyTorch only."""
    images = {LAST: in_channels_last, FOLDED: in_folded} if x.dim() == 4 else {}
    return {
        f"{engine}: {which}": run(model, x)
        for engine, run in ({TORCH: in_torch, RUNTIME: in_runtime} | images).items()
        for which, model in networks.items()
        if engine == TORCH or which != MASKED
    }


def timed(cases: Mapping[str, Call], x: Tensor, budget: float) -> tuple[dict[str, float], dict[str, Ratio]]:
    """Seconds of a call, and speed-ups over the same engine's dense network, in rounds for `budget` CPU seconds."""
    with torch.inference_mode():
        took = {name: min(seconds(call) for _ in range(3)) for name, call in cases.items()}
    times = {name: max(2, round(AT_ONCE / each)) for name, each in took.items()}
    rounds = max(8, min(60, int(budget / sum(times[name] * took[name] for name in cases))))
    on_end = {name: partial(several, call, times[name]) for name, call in cases.items()}
    found = per_call(measure.latency(on_end, x, rounds=rounds, warmup=1, clock=time.process_time), times)
    dense = {name: found[f"{name.split(': ')[0]}: {DENSE}"] for name in cases}
    return (
        {name: each.median for name, each in found.items()},
        {name: measure.ratio(dense[name], each) for name, each in found.items()},
    )


def per_call(found: Mapping[str, Timing], times: Mapping[str, int]) -> dict[str, Timing]:
    """Timings of one call each, where so many were timed on end."""
    return {
        name: replace(
            each,
            **{part: getattr(each, part) / times[name] for part in ("median", "lower", "upper", "fastest")},
            rounds=tuple(round / times[name] for round in each.rounds),
        )
        for name, each in found.items()
    }


def several(call: Call, times: int, *inputs: Tensor) -> None:
    """On end; a call has its inputs already."""
    for _ in range(times):
        call()


def seconds(call: Call) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def measured(row: Row, budget: float) -> Iterator[Measured]:
    """The row at each of its batch sizes; at batch 1 beside the network with one unit a site."""
    dense, example = made(row.network)
    masked, small = row.remove(dense, example)
    networks, sizes = {DENSE: dense, MASKED: masked, SMALL: small}, (size(dense, example), size(small, example))
    for batch in row.batches:
        x = torch.randn(batch, *example.shape[1:])
        cases = calls(networks | ({ONE: one_unit(row.network)} if batch == 1 else {}), x)
        wanted, count = row.wanted.get(batch, {}), operators(row.network)
        yield Measured(row.network, row.removed, batch, wanted, count, *sizes, *timed(cases, x, budget))


def size(model: nn.Module, example: Tensor) -> Size:
    """Counted by torch's own counter, and as it lies in memory."""
    parameters, buffers = list(model.parameters()), model.buffers()
    return Size(
        sum(measure.macs(model, example).values()),
        sum(p.numel() for p in parameters),
        sum(tensor.numel() * tensor.element_size() for tensor in chain(parameters, buffers)),
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help="docs/speed.md")
    options.add_argument(
        "--seconds", type=float, default=3.0, help="CPU seconds for which a row is timed at a batch size"
    )
    options.add_argument(
        "--only", default="", help="rows whose network, or what is removed, has these words; not written"
    )
    chosen = options.parse_args()
    torch.set_num_threads(1)
    made_by = provenance("cpu") | {"cpu": torch.backends.cpu.get_cpu_capability(), "load": f"{os.getloadavg()[0]:.1f}"}
    found: list[Measured] = []
    try:
        for row in (row for row in ROWS if chosen.only in f"{row.network} {row.removed}"):
            for each in measured(row, chosen.seconds):
                print(" | ".join(line(each)), flush=True)
                found.append(each)
    except InputError as missing:
        sys.exit(str(missing))
    if chosen.write and not chosen.only:
        WRITTEN.write_text(page(found, made_by | {"onnxruntime": version("onnxruntime")}), encoding="utf-8")
    print(in_short(found), *(words for _, words in held(found)), sep="\n")
    sys.exit(not all(holds for holds, _ in held(found)))
