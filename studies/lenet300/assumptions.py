"""Assumptions: what the curve's numbers rest on, and what they are not corrected for; numbers are made of the rows."""

from collections.abc import Iterator

from sapwood.study.folds import label
from sapwood.study.grid import number
from sapwood.study.seeds import errors, summed_up
from sapwood.study.table import Table

from .rates import CANDIDATES, RATES

TAIL = label("global activation, N & W", 94)
STANDING = (
    "The bands of the points in print were committed at 19:07:56 on 2026-11-21 (d4e11a0); the kept trials start at "
    "21:34:59. They have not been changed since. A band with one end (“at least”, “at most”) is met by all beyond it.",
    "Activation-based pruning has a schedule of its own: five cycles, of which the last takes most of what was left at "
    "high compressions, where gradual magnitude removes along a cubic ramp. Its distance from magnitude is that of "
    "schedule and score together: neither |w| nor random neurons were run under that schedule, and there is no arm “as "
    "Ganguli & Chong”, since they give no accuracy.",
    "Rates were tuned with one seed and ten epochs. Tuning at 4-fold was added after test errors of seed 0 had been "
    "seen to be too high at 2-fold; the rates themselves were chosen on validation images.",
)


def assumptions(rows: Table) -> Iterator[str]:
    """How strict the bands are, what is confounded, how rates were chosen, and how heavy the tails are."""
    yield from STANDING
    ends = (min(CANDIDATES), max(CANDIDATES))
    rates = [rate for each in RATES.values() for rate in each.values()]
    yield (
        f"Of {len(rates)} tuned rates {sum(rate in ends for rate in rates)} are the lowest or the highest of the "
        f"{len(CANDIDATES)} that were tried, so a better one may lie outside."
    )
    found = errors(rows).get(TAIL, {})
    if len(found) > 1:
        yield (
            f"Where little is left, a run's end depends on rounding. {TAIL}-fold has {number(summed_up(found), 2)} % "
            f"over {len(found)} seeds. Its seed 3 was run again, from the same source, on one other processor: 12.76 % "
            "with AVX-512 and 19.25 % with AVX2. An interval over seeds covers that only as far as the seeds show it."
        )
