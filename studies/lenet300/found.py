"""Found: errors and sizes of the study's rows at each compression, and what its tuning found."""

from sapwood.study.folds import Folds
from sapwood.study.table import Table
from sapwood.study.tuning import lowest

from .rates import CANDIDATES, DECAY_CANDIDATES, DECAYS, DENSE, decay_tuning, tuned_at, tuning
from .rows import EVERY, FOLDS, WEIGHTS

CURVES = Folds(EVERY, FOLDS, WEIGHTS, DENSE)
short, at_folds, largest, area, run = CURVES.short, CURVES.errors, CURVES.largest, CURVES.area, CURVES.run


def tuned(rows: Table) -> dict[str, dict[int, float]]:
    """Of what has been tuned: the candidate with the lowest validation error at each compression, of equals the first.

    Methods of which a candidate is missing are left out.
    """
    best = {
        method: {
            fold: lowest(rows, {each: tuning(method, fold, each) for each in CANDIDATES}) for fold in tuned_at(method)
        }
        for method in (DENSE, *EVERY)
    }
    return {
        method: {fold: at for fold, at in each.items() if at is not None}
        for method, each in best.items()
        if None not in each.values()
    }


def decays(rows: Table) -> dict[str, float]:
    """Of what has been tuned: the weight decay with the lowest validation error, of equals the first."""
    best = {row: lowest(rows, {each: decay_tuning(row, each) for each in DECAY_CANDIDATES}) for row in DECAYS}
    return {row: decay for row, decay in best.items() if decay is not None}
