"""Sensitivity: what a network is worth when one site alone loses units: a table, a picture, scores to prune by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sapwood.currency import Scores
from sapwood.disk import replace
from sapwood.errors import InputError
from sapwood.export.scan_page import line_chart, page, table
from sapwood.selection.scans import by_loss

KINDS = (".html", ".svg")
SHOWN = 3  # sites that a note names


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """What `evaluate` gave, site by site and share by share. It prints as a table; `prune` takes it as `by=`."""

    whole: float  # of the network as it is
    shares: tuple[float, ...]  # of a site's units that were kept, the largest first
    values: Mapping[str, tuple[float, ...]]  # {site: what was given with each share}
    counts: Mapping[str, tuple[int, ...]]  # {site: how many units that was}
    scores: Scores = field(repr=False)  # {site: [units]}: the lowest were removed first
    higher: bool  # whether a higher number is better
    asked: int  # how often `evaluate` was called; the rest was kept from before

    @cached_property
    def lost(self) -> dict[str, tuple[float, ...]]:
        """How much worse each number is than that of the whole network, {site: [shares]}; below 0 it is better."""
        sign = 1 if self.higher else -1
        return {name: tuple(sign * (self.whole - each) for each in its) for name, its in self.values.items()}

    @cached_property
    def ranks(self) -> Scores:
        """Scores by which one ranking over all sites first removes what loses least, {site: float64 [units]}.

        Inside of a site the order is that of the scan. Between the shares that were tried, losses are linear.
        """
        at = {name: self._tried(name) for name in self.values}
        gone = {name: [share for share, _ in tried] for name, tried in at.items()}
        return by_loss(self.scores, gone, {name: [loss for _, loss in tried] for name, tried in at.items()})

    def draw(self, path: Path | str) -> None:
        """Write the picture as .svg, or a page with picture and table as .html: one file, no scripts."""
        path = Path(path)
        if path.suffix not in KINDS:
            raise InputError(f"{path} ends in {path.suffix or 'nothing'!r}; give a name in {' or '.join(KINDS)}")
        chart = line_chart(self.whole, self.shares, self.values)
        whole = page(chart, self._repr_html_(), self._notes()) if path.suffix == ".html" else chart
        replace(path, whole.encode())

    def __str__(self) -> str:
        rows = [("site", "units", *map(_percent, self.shares)), *self._rows()]
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        lines = [
            f"{row[0]:{widths[0]}}  "
            + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            for row in rows
        ]
        return "\n".join([*lines, "", *(f"{what:7}  {said}" for what, said in self._notes())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        worst = max((loss for its in self.lost.values() for loss in its), default=0.0)
        over = worst if worst > 0 else 1.0
        shade = {name: (0.0, *(max(loss, 0.0) / over for loss in its)) for name, its in self.lost.items()}
        return table(("site", "units", *map(_percent, self.shares)), self._rows(), shade)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name, its in self.values.items():
            yield name, f"{len(self.scores[name]):,}", *(f"{each:.4f}" for each in its)

    def _notes(self) -> Iterator[tuple[str, str]]:
        yield "whole", f"{self.whole:.4f}; columns: the share of a site's units that is kept, all other sites whole"
        middle = len(self.shares) // 2
        order = sorted(self.lost, key=lambda name: -self.lost[name][middle])
        at = f"at {_percent(self.shares[middle])}"
        yield "most", f"is lost {at} by {', '.join(f'{n} ({self.lost[n][middle]:.4f})' for n in order[:SHOWN])}"
        if len(order) > SHOWN:
            least = order[: SHOWN - 1 : -1][:SHOWN]
            yield "least", f"is lost {at} by {', '.join(f'{n} ({self.lost[n][middle]:.4f})' for n in least)}"
        total = 1 + sum(len({n for n in its if n < len(self.scores[name])}) for name, its in self.counts.items())
        yield "asked", f"for {self.asked} of {total} numbers" + "; the others were in the cache" * (self.asked < total)
        yield "next", "sapwood.prune(model, example, macs=0.5, by=scan) removes first where least is lost"

    def _tried(self, name: str) -> list[tuple[float, float]]:
        """(share gone, what is lost) of a site, rising, once for each width."""
        units = len(self.scores[name])
        pairs = dict(zip(self.counts[name], self.lost[name], strict=True))
        return [((units - count) / units, pairs[count]) for count in sorted(pairs, reverse=True) if count < units]


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
