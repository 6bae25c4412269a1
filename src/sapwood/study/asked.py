"""Asked: one arm minus another in some number, as a sentence."""

from typing import NamedTuple

from sapwood.study.finals import Number
from sapwood.study.questions import Gaps
from sapwood.study.seeds import summed_up
from sapwood.study.table import Summary, Table
from sapwood.study.words import difference, told

MISSING = "Not run at this scale."


class Asked(NamedTuple):
    """One arm minus another in some number; `pair` is (one, other)."""

    what: str
    claim: str
    number: Number
    pair: tuple[str, str]
    decimals: int = 2
    unit: str = ""  # said behind the difference, unless `what` says it

    def gap(self, rows: Table) -> Summary | None:
        """The difference, seed by seed, summed up."""
        return summed_up(Gaps(self.number, {"": self.pair})(rows).get(""))

    def answer(self, rows: Table) -> str:
        """A sentence."""
        found = self.gap(rows)
        if found is None:
            return MISSING
        said = f"{difference(found, self.decimals)} {self.unit}".rstrip()
        return f"{self.what}, {' minus '.join(self.pair)}: {said}; {told(found)}."
