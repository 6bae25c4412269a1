"""Closeness: how alike two ways of training shape the hidden layers, as one number: `sapwood.study.finals.distance`.

Of nuclear norm, effective rank and stable rank of each hidden layer at the end of each epoch, of runs with the same
seed. Each is thought of as relative to the dense run's at that epoch, which cancels. 0.1: about 10 % apart, typically.
Pruning acts like a nuclear-norm penalty, by this measure, only if some penalty comes closer to it than pruning neurons
at random does: that, too, removes rank and nuclear norm.
"""

from sapwood.study import finals
from sapwood.study.seeds import Seeds
from sapwood.study.table import Table

from .found import LAYERS

LIKE, RANDOM = "V neurons", "V random neurons"  # what is compared with, and the yardstick
QUANTITIES = ("nuclear", "effective_rank", "stable_rank")


def distance(rows: Table, one: str, other: str, quantities: tuple[str, ...] = QUANTITIES) -> Seeds:
    """How far apart the courses of two rows are, seed by seed."""
    return finals.distance(rows, one, other, quantities, LAYERS)
