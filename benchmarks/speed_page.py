"""Speed page: docs/speed.md, written from what smaller_and_faster.py has measured; its values and its words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sapwood.measure import Ratio

TORCH, LAST, RUNTIME = "PyTorch", "PyTorch, channels last", "ONNX Runtime"
FOLDED = "PyTorch, channels last, norms folded"
DENSE, MASKED, SMALL, ONE = "dense", "masked", "smaller", "one unit a site"

PAGE = """# Speed

Remove whole units, in widths that are multiples of 8 or 16, and let ONNX Runtime run what is left. Wide networks then
become about as much faster as they have fewer multiply-adds. Narrow ones gain less. Zeros alone make nothing faster.

{short}

What to do: [what makes it fast](#what-makes-it-fast). Why a single sample gains less:
[what limits batch 1](#what-limits-batch-1).

## All that was measured

How much smaller and faster networks become when neurons and channels are removed. *MACs*, *parameters* and *bytes* say
how many times fewer multiply-adds, parameters, and bytes of parameters and buffers there are. The other columns say
how many times faster a network is than its dense self in the same engine: the median over rounds in which all of a
line take turns, its quartiles, and its share of the ratio of multiply-adds. *Masked* is the dense network with zeros
where the smaller one has nothing.

One process, one thread, CPU seconds. Of every site the same share of units goes, those with the smallest sums of
absolute weights; values do not matter to the time, so the networks start at random. "80 % of the neurons" are silenced
by zeros and taken out by `compact`; everything else is `shrink`, and "of the MACs" is `fewest` with a limit on
`macs_of`. The outer channels of a ResNet's later streams meet the zeros of a shortcut and stay, so that half of what
can go is less than half of all.

{faster}

What was wanted of this, and what came:

{held}

A share above 100 % is memory: the dense weights do not fit into the processor's cache, the smaller ones do. What is
missing below it: vectors hold 16 numbers, and 30 neurons or 24 channels take as long as 32, in PyTorch sometimes
longer; narrow layers do less with every number that they load; what is done to each channel alone (norms, activations,
additions) shrinks with the channels, not with their square. That is why the narrow ResNets, of 16 to 64 channels, gain
less than the wide networks.

Written by `python benchmarks/smaller_and_faster.py --write`: sapwood {sapwood} at {commit}, PyTorch {torch},
ONNX Runtime {onnxruntime}, Python {python}, {device}, {cpu}; load of the machine at the start {load}.

## What makes it fast

- Remove units. Zeros alone change nothing (*masked*).
- Let ONNX Runtime run it: `export.to_onnx(model, x, "smaller.onnx", batch=len(x))`, with as many samples in `x` as will
  be used.
- In PyTorch, put the channels of a pixel side by side: `model.to(memory_format=torch.channels_last)`, inputs too.
  A narrow network at batch 1 may be faster without.
- Keep widths that are multiples of 16, or of 8 where there are no more than 16: `fewest(..., multiple=16)`.
- Fold batch norms into the convolutions before them, once training is over:
  `torch.fx.experimental.optimization.fuse(model.eval())`. ONNX Runtime does so by itself.

Milliseconds of a call, dense / smaller:

{times}

## Half of the work is not half of the time

Processors with vectors of 512 bits convolve 16 channels at a time. From 16 channels to 8 costs as much as from 16 to
16, and the 8 have to be put in another order for the next layer. So `prune` does not leave 8 channels in a residual
branch if there are others like it: two branches with 8 become one with 16, and the other goes whole.

What that is worth, on ResNet-56 with half of its multiply-adds, ONNX Runtime, batch 16, one thread, AVX-512 (graphs of
these widths, CPU seconds in turn, one process):

| what is left of the 9 branches of each stage | times faster |
|---|---|
| 8, 8 and 16 to 64 channels, which `prune` chose before | 1.26 |
| 8, 16 and 32 channels | 1.36 |
| 16 (all), 8 and 16 channels: the best of widths | 1.42 |
| 5 of 9 with 16, 5 of 9 with 16 or 8, all of the third with 16 to 56: the widths of the default | 1.54 |
| the same, without adding the zeros of what went, as `export.to_onnx` writes it: the default | 1.72 |

Beside [Torch-Pruning](https://github.com/VainF/Torch-Pruning) with about as many multiply-adds, all in turn in one
process on a busy machine (`python benchmarks/peers/half_of_resnet56.py`; medians of 40 ratios, quartiles):

| network | in ONNX Runtime | in PyTorch |
|---|---|---|
| `sapwood.prune(model, example, macs=0.5)` | 1.65 (1.57 to 1.74) | 1.47 (1.34 to 1.54) |
| the peer, group norms, normaliser "lamp", over all layers | 1.24 (1.19 to 1.33) | 1.21 (1.07 to 1.41) |
| the peer, group norms, its defaults | 1.18 (1.12 to 1.24) | 1.48 (1.32 to 1.60) |

In PyTorch ours cannot be told from the peer's defaults.

Even a third of the multiply-adds, all branches with 8 channels, is 1.50 times faster only. On a processor with vectors
of 256 bits widths of 8 are worth more. Such ratios hold for a processor and an engine, so measure yours:
`prune(model, batch, ms=0.5, engine="onnxruntime")` asks for half of the milliseconds in the engine that will run the
network, and [leaves out widths](prune.md#what-you-can-say) that take as long there as wider ones.

## What limits batch 1

Whatever its widths, a network has the same operators, and each costs a call: Python, the dispatcher, choosing a kernel
and getting its arguments ready. How much that is shows the network with one unit left at every site: the same calls,
next to nothing to multiply. Its time is part of the dense network's and of the smaller one's, and does not shrink. *Of
the rest* is the speed-up without it, (dense - fixed) / (smaller - fixed), where enough is left to say. What cannot go,
such as a ResNet's outer channels, is in the fixed time too.

{fixed}

So the fully connected network cannot be much faster at batch 1: most of the smaller one's time is calls. Larger batches
spread them over more samples, and ONNX Runtime has cheaper ones. A convolution of one image has a limit of its own
besides: with few positions its kernels fill less of the vector units, and PyTorch puts the weights of every convolution
into another order anew in each call, which ONNX Runtime does once.
"""


@dataclass(frozen=True)
class Size:
    """What a network is, for one sample."""

    macs: int
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Measured:
    """A network and what is taken out of it, at one batch size; cases are called "engine: which network"."""

    network: str
    removed: str
    batch: int
    wanted: Mapping[str, float]  # engine -> speed-up at least, or share of the ideal where it is at most 1
    operators: int
    dense: Size
    small: Size
    seconds: Mapping[str, float]  # of one call
    speed: Mapping[str, Ratio]  # dense / this one, in the same engine

    def name(self) -> list[str]:
        """Its first cells."""
        return [self.network, self.removed, str(self.batch)]

    def ideal(self) -> float:
        """The ratio of multiply-adds."""
        return self.dense.macs / self.small.macs

    def sizes(self) -> list[str]:
        """How many times smaller."""
        rest = (self.dense.parameters / self.small.parameters, self.dense.bytes / self.small.bytes)
        return [f"{times:.2f}" for times in (self.ideal(), *rest)]

    def faster(self, engine: str, which: str = SMALL) -> str:
        """The speed-up, its quartiles, its share of the ideal."""
        found = self.speed.get(f"{engine}: {which}")
        if found is None:
            return ""
        share = f" {100 * found.median / self.ideal():.0f} %" if which == SMALL else ""
        return f"{found.median:.2f} [{found.lower:.2f}, {found.upper:.2f}]{share}"

    def took(self, engine: str) -> str:
        """Milliseconds of a call, dense and smaller."""
        dense, small = (self.seconds.get(f"{engine}: {which}") for which in (DENSE, SMALL))
        return "" if dense is None or small is None else f"{1e3 * dense:.3g} / {1e3 * small:.3g}"


def page(found: Sequence[Measured], made_by: Mapping[str, object]) -> str:
    """docs/speed.md."""
    return PAGE.format(
        **made_by,
        short="\n".join(conclusion(found)),
        faster=table(["network", "removed", "batch", *COLUMNS], (line(m) for m in found)),
        held="\n".join(f"- {words}" for _, words in held(found)),
        times=table(["network", "removed", "batch", *ENGINES], ([*m.name(), *map(m.took, ENGINES)] for m in found)),
        fixed=table(FIXED, (fixed(m, engine) for m in smallest(found) for engine in UNFOLDED if m.took(engine))),
    )


def conclusion(found: Iterable[Measured]) -> Iterator[str]:
    """The first line of each network, in words."""
    first: dict[str, Measured] = {}
    for m in found:
        first.setdefault(m.network, m)
    for m in first.values():
        speed = m.speed[f"{RUNTIME}: {SMALL}"].median
        words = f"{m.ideal():.2f} times fewer multiply-adds, {speed:.2f} times faster in {RUNTIME}"
        yield f"- {m.network}, batch {m.batch}, without {m.removed}: {words}"


ENGINES = (TORCH, LAST, FOLDED, RUNTIME)
UNFOLDED = (TORCH, LAST, RUNTIME)
COLUMNS = ("MACs", "parameters", "bytes", "masked", *ENGINES)
FIXED = ("network", "removed", "engine", "operators", "one unit, us", "us an operator", "share of dense",
         "share of smaller", "speed-up", "of the rest", "ideal")  # fmt: skip


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first two columns are words, the others numbers."""
    rule = ["---" if column < 2 else "---:" for column in range(len(names))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, rule, *rows))


def line(m: Measured) -> list[str]:
    """How many times smaller and faster."""
    return [*m.name(), *m.sizes(), m.faster(TORCH, MASKED), *map(m.faster, ENGINES)]


def smallest(found: Sequence[Measured]) -> Iterable[Measured]:
    """One row of every network at batch 1, the one with the fewest multiply-adds left."""
    return {m.network: m for m in sorted(found, key=Measured.ideal) if m.batch == 1}.values()


def fixed(m: Measured, engine: str) -> list[str]:
    """What of one sample's time does not depend on the widths."""
    dense, small, one = (m.seconds[f"{engine}: {which}"] for which in (DENSE, SMALL, ONE))
    rest = f"{(dense - one) / (small - one):.2f}" if one < 0.75 * small else ""  # of less, it is noise over noise
    return [m.network, m.removed, engine, str(m.operators), f"{1e6 * one:.0f}", f"{1e6 * one / m.operators:.1f}",
            f"{100 * one / dense:.0f} %", f"{100 * one / small:.0f} %", f"{dense / small:.2f}", rest,
            f"{m.ideal():.2f}"]  # fmt: skip


def held(found: Iterable[Measured]) -> Iterator[tuple[bool, str]]:
    """Of everything that was wanted, whether it came, and in words."""
    for m in found:
        for engine, least in m.wanted.items():
            speed = m.speed[f"{engine}: {SMALL}"].median
            share = f"{speed:.2f} times, {100 * speed / m.ideal():.0f} % of {m.ideal():.2f}"
            holds = speed >= least * (m.ideal() if least <= 1 else 1)
            asked = f"{100 * least:.0f} %" if least <= 1 else f"{least:g} times"
            words = f"{', '.join(m.name()[:2])}, batch {m.batch}, {engine}: {share}; wanted {asked}"
            yield holds, f"{words}: {'holds' if holds else 'missed'}"


def in_short(found: Iterable[Measured]) -> str:
    """The lines of which something was wanted, to print."""
    names = ["network", "removed", "batch", "MACs", "parameters", "masked", *ENGINES]
    chosen = (m for m in found if m.wanted)
    rows = ([*m.name(), *m.sizes()[:2], m.faster(TORCH, MASKED), *map(m.faster, ENGINES)] for m in chosen)
    return table(names, rows)
