"""Controls: tables of what the paper left out - the released counter, PCA on equal terms, what retraining leaves."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from sapwood.study.columns import Column, by_arm, layers, mean, said, seeds
from sapwood.study.finals import at_end, less, number_of, of, share, weights_left, zeros
from sapwood.study.grid import NOTHING
from sapwood.study.seeds import Seeds, minus, together
from sapwood.study.table import Table

from .arms import GLOBAL, PAPER, PCA, PRUNED, RELEASED
from .columns import LAYERS, accuracy, total_rank
from .printed import WIDTHS, in_print

RANKS = [number_of(f"rank_{layer}") for layer in LAYERS]
L3_RANKS = [in_print(7, "L3", f"rank_{layer}") for layer in LAYERS]
ACCURACY = mean("test accuracy (%)", accuracy)
QUALITY = {  # what it is -> the metric
    "top-1, accuracy": "accuracy",
    "true top-5": "top5",
    "predicted as class 0": "class0_top1",
    "class 0 among five best": "class0_top5",
}


def _off(rows: Table, arm: str) -> Seeds:
    """How far ranks are from those of the paper's L3."""
    return together([rank(rows, arm) for rank in RANKS], _mean_off)


def _mean_off(ours: Sequence[float]) -> float:
    return 100 * sum(abs(one / other - 1) for one, other in zip(ours, L3_RANKS, strict=True)) / len(ours)


def _network(arm: str) -> str:
    """The pruned network whose ranks a PCA arm has; of the pruned network itself the same."""
    return arm.partition(" PCA ")[0]


def _kept(layer: int, rows: Table, arm: str) -> Seeds:
    """A layer's rank: that of the pruned network, or the one that PCA kept."""
    where = (f"rank_{layer}", "network") if arm in GLOBAL else (f"rank_kept_{layer}", "note")
    return at_end(rows, arm, *where)


def _stored(rows: Table, arm: str) -> Seeds:
    ranks = [_kept(layer, rows, arm) for layer in LAYERS]
    factors = partial(factor_weights, centred="uncentred" not in arm)
    return weights_left(rows, arm) if arm in GLOBAL else together(ranks, factors)


def factor_weights(ranks: Sequence[float], centred: bool) -> int:
    """Weights of the network with each hidden layer of m inputs and n neurons as two factors, k (m + n), where that is
    its rank; a centred one has a rank of one more, for the mean. A layer at full rank stays whole, m n.
    """
    total = WIDTHS[-2] * WIDTHS[-1]
    for (inputs, outputs), rank in zip(pairwise(WIDTHS[:-1]), ranks, strict=True):
        full = min(inputs, outputs)
        between = min(int(rank) + centred, full)
        total += inputs * outputs if rank >= full else between * (inputs + outputs)
    return total


def _ahead(rows: Table, arm: str) -> Seeds:
    return minus(accuracy(rows, _network(arm)), accuracy(rows, arm))


dead = number_of("dead", scale=100)  # % of all weights that are in dead neurons
left = of("{} retrained", zeros)
quality = by_arm(
    PAPER, seeds(), *(mean(f"{words} (%)", number_of(metric, "test", 100)) for words, metric in QUALITY.items())
)
released = by_arm(
    ("L3", RELEASED),
    seeds(RANKS[0]),
    *(mean(f"rank, layer {layer} (number)", rank, 1) for layer, rank in zip(LAYERS, RANKS, strict=True)),
    mean("ranks off the paper's, mean of layers (%)", _off, 1),
    ACCURACY,
    above=[
        ("L3, the paper's run", "1", *(f"{r:g}" for r in L3_RANKS), NOTHING, f"{in_print(3, 'L3', 'accuracy test')}")
    ],
)
pca = by_arm(
    [arm for label in GLOBAL for arm in (label, *(f"{label} PCA {kind}" for kind in PCA))],
    seeds(),
    layers("ranks of the layers (number)", [partial(_kept, layer) for layer in LAYERS]),
    mean("weights to store (number)", _stored, 0),
    ACCURACY,
    mean("minus S (points)", less(accuracy, "S")),
    mean("pruned network minus this (points)", _ahead, but=GLOBAL),
    said("pruned network is", _ahead, "better", "worse", but=GLOBAL),
    first="network",
)
retraining = by_arm(
    PRUNED,
    seeds(left),
    Column("zeros after, printed (%)", lambda rows, arm: f"{in_print(7, arm, 'after zeros'):.2f}"),
    mean("zeros before (%)", zeros),
    mean("in dead neurons before (% of weights)", dead),
    mean("zeros after (%)", left),
    mean("in dead neurons after (% of weights)", of("{} retrained", dead)),
    mean("zeros after minus dead before (points)", less(left, dead)),
    mean("dead before / zeros after (%)", share(dead, left), 1),
    mean("ranks summed, before (of 650)", total_rank, 1),
    mean("ranks summed, after (of 650)", of("{} retrained", total_rank), 1),
    mean("test accuracy before (%)", accuracy),
    mean("test accuracy after (%)", of("{} retrained", accuracy)),
    mean("after minus before (points)", less(of("{} retrained", accuracy), accuracy)),
)
