"""The page of side_by_side.py: what the stages of all processes said, as two tables."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from statistics import median
from typing import Any

SECONDS, GIGABYTES = 150, 8  # what a stage may take
WANTED_SECONDS, WANTED_MEGABYTES = 10, 2_000
OURS, PEER, TOLD = "sapwood", "Torch-Pruning", "Torch-Pruning, told the heads"
PACKAGES = ("torch", "torchvision", "transformers", "torch-pruning")

Case = tuple[str, str]  # network, tool
Found = dict[str, Any]  # what a stage gave: cpu, wall, memory; or why it gave nothing
Stages = dict[str, Found]

HEAD = """# Side by side with Torch-Pruning

What finding the units of a network costs, and removing half of them, here and with
[Torch-Pruning](https://github.com/VainF/Torch-Pruning), a widely used tool for it.

- *Analysis*: for sapwood, exporting the model and finding all sites. For the peer, making its pruner: it traces the
  model and walks through all groups.
- *Removing*: for sapwood, `shrink(model, keep, sites, check=False)`, given the sites and which half of each stays, at
  random; it leaves the model as it is, so a copy of what stays is in its time. For the peer, `pruner.step()`, which
  changes the model in place, and which also scores the channels (group magnitude, the seconds in brackets): without a
  score it does not run.
- *With proof*: what sapwood does unless told otherwise: the same, and four forward passes in float64, of the network
  with the units gated and of the smaller one, as they are and with noise on every weight. The peer compares nothing.
- *Memory*: the most that the process held during a stage, beyond what it held with the model loaded.
- *Removed*: share of the parameters.
- *Equal*: the largest relative difference, in float64, to the original with the same units gated, that is, multiplied
  by 0 wherever they are read. sapwood's is what its proof saw; the peer's is measured here, from what it cut.

The peer is a `MagnitudePruner` with `pruning_ratio=0.5`, `MagnitudeImportance(p=2)`, the classifier an ignored layer.
*Told the heads*: with `num_heads` of every layer that makes queries, keys or values besides, and for grouped queries
`prune_num_heads=True, prune_head_dims=False, head_pruning_ratio=0.5`, as in its example for language models. sapwood is
told nothing but an example of the inputs.

"""


def stopped(stages: Stages) -> str | None:
    """Where and why it did not come to its end."""
    return next((f"{told['failed']} ({name})" for name, told in stages.items() if "failed" in told), None)


def middle(runs: Sequence[Stages], stage: str, what: str) -> float | None:
    """The median of all rounds that came so far."""
    found = [stages[stage][what] for stages in runs if what in stages.get(stage, {})]
    return median(found) if found else None


def row(case: Case, runs: Sequence[Stages]) -> str:
    """One line of the table."""
    scoring = middle(runs, "scoring", "cpu")
    removing = seconds(runs, "removing") + (f" [{scoring:.2f}]" if scoring is not None else "")
    share, halted = middle(runs, "removed", "share"), stopped(runs[-1])
    equal = halted or runs[-1].get("equal", {}).get("said", "")
    cells = (
        *case, seconds(runs, "analysis"), megabytes(runs, "analysis"), removing, megabytes(runs, "removing"),
        seconds(runs, "with proof"), megabytes(runs, "with proof"),
        "" if share is None else f"{100 * share:.0f} %", equal,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def seconds(runs: Sequence[Stages], stage: str) -> str:
    """CPU seconds, and those of a clock in brackets."""
    cpu, wall = middle(runs, stage, "cpu"), middle(runs, stage, "wall")
    return "" if cpu is None or wall is None else f"{cpu:.2f} ({wall:.2f})"


def megabytes(runs: Sequence[Stages], stage: str) -> str:
    """What it held at most."""
    found = middle(runs, stage, "memory")
    return "" if found is None else f"{found:,.0f}"


def ratio(ours: Sequence[Stages], theirs: Sequence[Stages], stage: str, to: str) -> str:
    """The median over the rounds of our CPU seconds over the peer's."""
    pairs = [
        one[stage]["cpu"] / other[to]["cpu"]
        for one, other in zip(ours, theirs, strict=False)
        if "cpu" in one.get(stage, {}) and "cpu" in other.get(to, {})
    ]
    return f"{median(pairs):.2f}" if pairs else "-"


def ratios(name: str, found: Mapping[Case, Sequence[Stages]]) -> str:
    """A line of the second table: against the peer as it comes or, where that does not run, told the heads."""
    mine, tools = found[name, OURS], (tool for tool in (PEER, TOLD) if (name, tool) in found)
    other = next((tool for tool in tools if stopped(found[name, tool][-1]) is None), None)
    runs = found[name, other] if other else []
    parts = [ratio(mine, runs, *pair) for pair in (("analysis",) * 2, ("removing",) * 2, ("with proof", "removing"))]
    return f"| {name} | {other or 'none that ends'} | {' | '.join(parts)} |"


def page(found: Mapping[Case, Sequence[Stages]]) -> str:
    """docs/side-by-side.md."""
    names = list(dict.fromkeys(name for name, _ in found))
    most = max(len(runs) for runs in found.values())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    widths = " | ".join(("network", "tool", "analysis s", "MB", "removing s [scoring]", "MB", "with proof s", "MB",
                         "removed", "equal"))  # fmt: skip
    return "".join(chain((
        HEAD,
        f"CPU seconds, in brackets those of a clock; medians of {most} rounds, what does not end once. One thread. At "
        f"most\n{SECONDS} CPU seconds for a stage, {GIGABYTES} GB of address space. Random weights, noise where they "
        "start at 0; images of 64\npixels, for ViT-B/16 of 224; Llama of width 64 with 4 heads of queries, 2 of keys. "
        f"Python {platform.python_version()},\n{packages}.\n\n"
        "Written by `python benchmarks/peers/side_by_side.py --write`.\n\n"
        f"| {widths} |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"),
        (f"{row(case, runs)}\n" for case, runs in found.items()),
        ("\nOur CPU seconds over the peer's, inside one round:\n\n",
         "| network | peer | analysis | removing | removing with proof |\n| --- | --- | ---: | ---: | ---: |\n"),
        (f"{ratios(name, found)}\n" for name in names),
        ("\n", verdict(found)),
    ))  # fmt: skip


def verdict(found: Mapping[Case, Sequence[Stages]]) -> str:
    """Whether every analysis stays within what is wanted."""
    mine = {name: runs for (name, tool), runs in found.items() if tool == OURS}
    slowest = max(mine, key=lambda name: middle(mine[name], "analysis", "cpu") or float("inf"))
    largest = max(mine, key=lambda name: middle(mine[name], "analysis", "memory") or float("inf"))
    return (
        f"Wanted of every analysis: less than {WANTED_SECONDS} s and {WANTED_MEGABYTES:,} MB. The slowest is "
        f"{slowest}'s, {middle(mine[slowest], 'analysis', 'cpu'):.1f} s;\nthe largest is {largest}'s, "
        f"{middle(mine[largest], 'analysis', 'memory'):,.0f} MB.\n"
    )
