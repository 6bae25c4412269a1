"""Tuning: arms that differ in one number, which of these has the lowest validation error, and the table of all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.seeds import errors, summed_up
from sapwood.study.table import Table, summary


@dataclass(frozen=True)
class Tuning:
    """The arms that are tuned, the candidates, and a word for what is tried, when that is not said by the number."""

    arms: Sequence[str]
    candidates: Sequence[float]
    what: str = ""

    def tried(self, arm: str, candidate: float) -> str:
        """The name of the arm that tries a candidate."""
        return f"tune {arm}, {self.what}{' ' if self.what else ''}{candidate:g}"

    def best(self, rows: Table) -> dict[str, float]:
        """Of each arm the candidate with the lowest validation error, of equals the first; none if one is missing."""
        found = errors(rows, "valid")
        names = {arm: {each: self.tried(arm, each) for each in self.candidates} for arm in self.arms}
        return {
            arm: min(tried, key=lambda each: summary(found[tried[each]].values()).mean)
            for arm, tried in names.items()
            if found.keys() >= set(tried.values())
        }

    def table(self, first: str, used: Mapping[str, float | None]) -> Callable[[Table], Grid]:
        """A builder of the table of validation errors at each candidate, and of the candidate in use."""

        def build(rows: Table) -> Grid:
            found = errors(rows, "valid")
            lines = []
            for arm in self.arms:
                seeds = (found.get(self.tried(arm, each)) for each in self.candidates)
                lines.append((arm, *(number(summed_up(each), 2) for each in seeds), _plain(used[arm])))
            return Grid((first, *(f"{each:g}" for each in self.candidates), "used"), tuple(lines))

        return build


def _plain(used: float | None) -> str:
    return NOTHING if used is None else f"{used:g}"
