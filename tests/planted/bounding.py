"""Laws of claims of at least or at most so much, and of pooled questions; and bugs planted in them."""

import math

from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.study import pooled
from sapwood.study.pooled import Bound, Pooled, apart

judged, found = Bound._judged, Pooled.found


def rows_of(**arms):
    """Final test accuracies in percent, {arm: by seed}."""
    about = {"method": "", "task": "lenet5_mnist", "step": 1, "epoch": 1, "phase": None, "split": "test"}
    return [
        {**about, "trial": f"{arm} {seed}", "row": arm, "seed": seed, "metric": "accuracy", "value": value / 100}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


def bound_laws() -> Laws:
    return {
        "bound: a claim holds where all of the interval is within it, and fails where all is outside": _ends,
        "bound: a number of one seed is judged as it is": _one,
        "pooled: the mean over comparisons, seed by seed": _pooled,
    }


def said(values, **limits):
    """What is said of these differences to 0."""
    rows = rows_of(a=[50 + value for value in values], b=[50] * len(values))
    return Bound("it", "a claim", apart("a", "b"), **limits).answer(rows).rpartition(": ")[2]


def _ends() -> None:
    tight, wide = [1.9, 2.0, 2.1], [0.0, 2.0, 4.0]  # means of 2; intervals of a quarter, and of five
    cases = (
        (tight, {"least": 1}, "holds."),
        (tight, {"least": 3}, "does not hold."),
        (tight, {"most": 3}, "holds."),
        (tight, {"most": 1}, "does not hold."),
        (tight, {"least": 1, "most": 3}, "holds."),
        (wide, {"least": 1}, "cannot be told from these seeds."),
        (wide, {"most": 3}, "cannot be told from these seeds."),
        (wide, {"least": 3}, "cannot be told from these seeds."),
    )
    for values, limits, expected in cases:
        demand(said(values, **limits) == expected, f"{values}, {limits}: {said(values, **limits)}")


def _one() -> None:
    demand(said([2.0], most=3) == "holds.", "one seed within the bound is not told")
    demand(said([4.0], most=3) == "does not hold.", "one seed outside of the bound is not told")


def _pooled() -> None:
    """Seed 1 has one comparison only, and does not count."""
    asked = Pooled("a minus b", "?", {"x": ("a", "b"), "y": ("c", "d")})
    mean, count = asked.found(rows_of(a=[52, 60], b=[50, 50], c=[54], d=[50]))
    demand(mean is not None and math.isclose(mean.mean, 3), f"the mean is {mean}")
    demand(count == 2 and mean.n == 1, f"{count} comparisons, {mean.n} seeds")


def by_the_mean(self, summary):
    return "holds" if self.least <= summary.mean <= self.most else "does not hold"


def other_end(self, summary):
    return judged(self._replace(least=-self.most, most=-self.least), summary)


def never_sure(self, summary):
    return "cannot be told from these seeds" if summary.low is None else judged(self, summary)


def of_the_first(self, rows):
    return found(self._replace(pairs=dict([next(iter(self.pairs.items()))])), rows)


MUTANTS = bugs(
    "bound",
    bound_laws,
    {
        "a claim holds where all of the interval is within it, and fails where all is outside": {
            "a bound judged by the mean": instead(Bound, "_judged", by_the_mean),
            "at least taken for at most": instead(Bound, "_judged", other_end),
        },
        "a number of one seed is judged as it is": {
            "one seed that is never judged": instead(Bound, "_judged", never_sure),
        },
    },
) + bugs(
    "pooled",
    bound_laws,
    {
        "the mean over comparisons, seed by seed": {
            "only the first comparison pooled": instead(pooled.Pooled, "found", of_the_first),
        },
    },
)
