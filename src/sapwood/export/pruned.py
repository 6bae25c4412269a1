"""Pruned: a smaller network with what was measured of it, as a table that a terminal and a notebook show."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood.export.offers import shortened
from sapwood.measure.clock import Ratio, Timing
from sapwood.shrinking.tracing.site import Pinned, Site

MOST = 4  # reasons that are shown
HARDEST = 6  # sites that are shown
Line = tuple[str, str, str, str]  # what, before, after, what is left


class Sizes(NamedTuple):
    """How large a network is; MACs of one call on the example, None where they cannot be counted."""

    parameters: int
    bytes: int
    macs: int | None


class Times(NamedTuple):
    """The two networks timed side by side, and how much of the time is left."""

    before: Timing
    after: Timing
    left: Ratio
    device: str
    engine: str = "PyTorch"
    alone: bool = False  # by the processor's clock, which counts this process alone


class Answers(NamedTuple):
    """What `evaluate` gave."""

    before: float
    after: float
    recalibrated: float | None


@dataclass(frozen=True, repr=False)
class Pruned:
    """A smaller network of the same class, what was removed from it, and what was measured. It prints as a table."""

    model: nn.Module
    optimizer: Optimizer | None  # for the smaller network, with its memory sliced likewise
    keep: Mapping[str, Tensor]  # {site: bool [units]}, False was removed
    sites: tuple[Site, ...]  # that could lose units, or were named to stay whole
    stays: tuple[Pinned, ...] = field(repr=False)  # what could not be removed, with the reason
    before: Sizes
    after: Sizes
    times: Times | None  # None: not measured
    answers: Answers | None  # None: no `evaluate` was given
    difference: float | None  # the largest relative difference seen in the proof; None: lossy, nothing is claimed
    proven: torch.dtype | None
    branches: tuple[str, ...] = ()  # that went whole, since nothing of what they lead through is left
    first: bool = True  # False: the network before was a smaller one, too

    def __str__(self) -> str:
        rows = [("", "before", "after", "left"), *self._rows()]
        widths = [max(len(row[at]) for row in rows) for at in range(3)]
        table = [f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
        notes = [f"{what:7}  {said}" for what, said in self._notes()]
        return "\n".join([*table, "", *notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = (
            f"<tr><th style='text-align:left'>{escape(a)}</th>"
            f"<td>{escape(b)}</td><td>{escape(c)}</td><td style='text-align:left'>{escape(d)}</td></tr>"
            for a, b, c, d in self._rows()
        )
        head = "<tr><th></th><th>before</th><th>after</th><th style='text-align:left'>left</th></tr>"
        notes = (f"<dt>{escape(what)}</dt><dd>{escape(said)}</dd>" for what, said in self._notes())
        return f"<table>{head}{''.join(cells)}</table><dl>{''.join(notes)}</dl>"

    def _rows(self) -> Iterator[Line]:
        yield _sizes("parameters", self.before.parameters, self.after.parameters)
        if self.before.macs is None or self.after.macs is None:
            yield "MACs", "not counted", "not counted", ""
        else:
            yield _sizes("MACs", self.before.macs, self.after.macs)
        yield _sizes("bytes", self.before.bytes, self.after.bytes)
        if self.times is None:
            yield "milliseconds", "not measured", "not measured", ""
        else:
            yield _timed(self.times)
        if self.answers is not None:
            yield "evaluate", f"{self.answers.before:.4f}", f"{self.answers.after:.4f}", ""
            if self.answers.recalibrated is not None:
                yield "evaluate, recalibrated", "", f"{self.answers.recalibrated:.4f}", ""

    def _notes(self) -> Iterator[tuple[str, str]]:
        if self.times is not None:
            threads = f"{self.times.after.threads} {'thread' if self.times.after.threads == 1 else 'threads'}"
            rounds = len(self.times.after.rounds)
            yield (
                "timed",
                (
                    f"in {self.times.engine} on {self.times.device}, batch {self.times.after.batch}, {threads}: median "
                    f"of {rounds} rounds side by side{', CPU time' * self.times.alone}; MACs are of the same call"
                ),
            )
        yield "removed", _removed(self.keep)
        if hardest := _hardest(self.keep):
            yield "hardest", hardest
        if self.branches:
            yield "removed", f"{len(self.branches)} thin branches with them, which count as 0 [{_some(self.branches)}]"
        yield "equal", self._equal()
        yield from (("stays", said) for said in why(self.stays))
        yield from (("next", said) for said in self._next())

    def _equal(self) -> str:
        if self.difference is None or self.proven is None:
            return "not claimed: units went over which a norm goes (lossy), so the others compute something else"
        return (
            f"to the network with the removed units as 0: largest relative difference {self.difference:.0e}, proven in "
            f"{str(self.proven)[6:]}"
        )

    def _next(self) -> Iterator[str]:
        yield "train pruned.model on" + (" with pruned.optimizer" if self.optimizer is not None else "")
        of = "of=model), model being the one before"
        if not self.first:
            of = "of=original), original being the first, which your code builds, not the one before"
        yield f'sapwood.export.save(pruned.model, "small.safetensors", {of}'
        yield 'sapwood.export.to_onnx(pruned.model, example, "small.onnx")'


def why(stays: Sequence[Pinned]) -> list[str]:
    """What stays, by reason, the most units first: how many, why, and where."""
    units, places = Counter[str](), dict[str, list[str]]()
    for pin in stays:
        because = shortened(pin.because)
        units[because] += pin.units
        places.setdefault(because, []).append(pin.name)
    lines = [f"{number:,} units: {because} [{_some(places[because])}]" for because, number in units.most_common(MOST)]
    rest = len(units) - len(lines)
    return lines + [f"for {rest} more reasons; sapwood.couplings(model, example).pinned has all of them"] * (rest > 0)


def _some(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _removed(keep: Mapping[str, Tensor]) -> str:
    every = sum(kept.numel() for kept in keep.values())
    gone = {name: int((~kept).sum()) for name, kept in keep.items()}
    return f"{sum(gone.values()):,} of {every:,} units, at {sum(n > 0 for n in gone.values())} of {len(keep)} sites"


def _hardest(keep: Mapping[str, Tensor]) -> str:
    """The sites of which the least is left, with their widths; "" where there is one only."""
    left = sorted((int(kept.sum()) / kept.numel(), at, name) for at, (name, kept) in enumerate(keep.items()))
    cut = [(share, name) for share, _, name in left if share < 1]
    said = ", ".join(f"{name} {keep[name].numel():,} -> {int(keep[name].sum()):,}" for _, name in cut[:HARDEST])
    more = sum(share == cut[HARDEST - 1][0] for share, _ in cut[HARDEST:])
    return said + f" and {more} more as hard" * bool(more) if len(keep) > 1 else ""


def _sizes(what: str, before: int, after: int) -> Line:
    return what, f"{before:,}", f"{after:,}", f"{100 * after / before:.1f} %" if before else ""


def _timed(times: Times) -> Line:
    before, after = (f"{1000 * each.median:.3f}" for each in (times.before, times.after))
    left = times.left
    spread = f"quartiles {100 * left.lower:.0f} to {100 * left.upper:.0f}"
    if left.lower <= 1 <= left.upper:  # as `clock.verdict` judges
        return "milliseconds", before, after, f"not told apart ({spread} %); give a larger example or timing=10"
    return "milliseconds", before, after, f"{100 * left.median:.1f} % ({spread})"
