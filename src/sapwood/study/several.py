"""Several comparisons: what is left of differences when all are asked about together, and what so few seeds can see.

Each comparison is a paired t test over the seeds: p < 0.05 where the 95 % interval of the mean difference leaves out 0.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from sapwood.extras import optional
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.seeds import Seeds
from sapwood.study.table import Table

ALPHA, POWER = 0.05, 0.8


class Family(NamedTuple):
    """Comparisons that answer one question; Holm's correction is for all of them together."""

    question: str
    pairs: Mapping[str, Seeds]  # what is compared -> the differences, seed by seed


def p_value(differences: Iterable[float]) -> float | None:
    """The chance of a mean difference as far from 0 if there were none (two-sided paired t); None for a single seed.

    Where all seeds have the same difference it is 1 for 0, otherwise 0.
    """
    seen = list(differences)
    if len(seen) < 2:
        return None
    mean, spread = statistics.fmean(seen), statistics.stdev(seen)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    with optional("a p value"):
        from scipy.special import stdtr

    return float(2 * stdtr(len(seen) - 1, -abs(mean) * math.sqrt(len(seen)) / spread))


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Each p value corrected for all of them: the chance of one error or more is at most alpha where they are below it.

    The smallest is multiplied by their number, the next by one less, and so on; none gets below the one before.

    *Paper:* Holm 1979, "A simple sequentially rejective multiple test procedure". *Differs:* nothing known.
    """
    corrected: dict[str, float] = {}
    last = 0.0
    for at, name in enumerate(sorted(values, key=lambda each: values[each])):
        last = max(last, min(1.0, (len(values) - at) * values[name]))
        corrected[name] = last
    return {name: corrected[name] for name in values}


def detectable(differences: Iterable[float], power: float = POWER, *, alpha: float = ALPHA) -> float | None:
    """The smallest true difference that the test finds in `power` of all cases, at the spread that these seeds have.

    alpha: below which p has to be; of several comparisons, alpha / their number is what Holm's correction asks first.
    """
    seen = list(differences)
    if len(seen) < 2 or statistics.stdev(seen) == 0:
        return None
    with optional("the smallest difference that a test finds"):
        from scipy.optimize import brentq
        from scipy.stats import nct, t

    n = len(seen)
    limit = float(t.ppf(1 - alpha / 2, n - 1))

    def too_often(shift: float) -> float:  # the other tail is next to nothing here
        return float(nct.sf(limit, n - 1, shift)) - power

    enough = 1.0
    while too_often(enough) < 0:
        enough *= 2
    return float(brentq(too_often, 0.0, enough)) * statistics.stdev(seen) / math.sqrt(n)


def table(families: Callable[[Table], Iterable[Family]]) -> Callable[[Table], Grid]:
    """A builder of the table of families: how many differences there are before correction, which are left after it."""

    def build(rows: Table) -> Grid:
        lines = [_line(family) for family in families(rows)]
        columns = ("question", "comparisons", "seeds (n)", "interval leaves out 0", "left after Holm",
                   "lowest p, corrected", "smallest difference found in 80 % of cases")  # fmt: skip
        return Grid(columns, tuple(lines))

    return build


def left(family: Family) -> list[str]:
    """The comparisons that are left after Holm's correction."""
    return [name for name, p in holm(_known(family)).items() if p < ALPHA]


def _known(family: Family) -> dict[str, float]:
    values = {name: p_value(pairs.values()) for name, pairs in family.pairs.items()}
    return {name: p for name, p in values.items() if p is not None}


def _line(family: Family) -> tuple[str, ...]:
    known = _known(family)
    corrected = holm(known)
    sizes = sorted({len(pairs) for pairs in family.pairs.values()})
    seen = [size for pairs in family.pairs.values() if (size := detectable(pairs.values())) is not None]
    return (
        family.question,
        str(len(family.pairs)),
        " or ".join(map(str, sizes)) or NOTHING,
        str(sum(p < ALPHA for p in known.values())),
        (", ".join(left(family)) or "none") if known else NOTHING,
        f"{min(corrected.values()):.3f}" if corrected else NOTHING,
        _range(seen),
    )


def _range(seen: list[float]) -> str:
    if not seen:
        return NOTHING
    ends = dict.fromkeys(f"{end:.1f}" for end in (min(seen), max(seen)))
    return " to ".join(ends)
