"""Columns: what the columns of the printed tables measure, in words and among the numbers of our arms."""

from sapwood.study.finals import Number, best_value, cycles, epochs, goal_value, less, number_of, total, zeros
from sapwood.study.possible import Measured, within
from sapwood.study.printed import Measure, Shown, variant
from sapwood.study.seeds import Seeds, summed_up, together
from sapwood.study.table import Summary, Table, summary

from .printed import AVERAGED, COMPLETED

LAYERS = (1, 2, 3, 4)
accuracy, best_test, total_rank = goal_value, best_value, total("rank", LAYERS)
MEASURES = {  # metric -> a column of it in a claim's words and as a table's head; {}: the split, or the layer's number
    "epochs": ("training length, epochs", Shown("length", "epochs", 1)),
    "zeros": ("share of zero weights, %", Shown("zeros", "%", 2)),
    "kflops": ("kFLOPs after pruning", Shown("after pruning", "kFLOPs", 1)),
    "rank": ("rank of hidden layer {}", Shown("rank, layer {}", "number", 1)),
    "accuracy": ("accuracy on {}, %", Shown("{} accuracy", "%", 2)),
    "class0_top1": ("predicted as class 0 on {} (printed as Top 1 %), %", Shown("{}, predicted as class 0", "%", 2)),
    "class0_top5": (
        "class 0 among the five best on {} (printed as Top 5 %), %",
        Shown("{}, class 0 in best 5", "%", 2),
    ),
}
SPLITS = {"train": "training", "valid": "validation", "test": "test"}
NUMBERS = {"epochs": epochs, "zeros": zeros, "kflops": number_of("flops", scale=1e-3)}
KINDS = {  # how a column begins: the words for that, in a claim and in a head, and the arm that it is about
    "after": ("retrained: ", "retrained: ", "{} retrained"),
    "pca": ("PCA to its ranks: ", "PCA: ", "{} PCA printed ranks"),
}


def on(split: str) -> Number:
    """Accuracy on a split, in percent."""
    return lambda rows, arm: accuracy(rows, arm, split)


def as_pruned(number: Number) -> Number:
    """Over the seeds in which the arm made as many cycles as the paper's run; over all where that is not known."""

    def same(rows: Table, arm: str) -> Seeds:
        made, wanted = cycles(rows, arm), COMPLETED.get(arm)
        found = number(rows, arm)
        return Measured(((seed, n) for seed, n in found.items() if wanted in (None, made.get(seed))), within(found))

    return same


def _drop(rows: Table, arm: str) -> Seeds:
    return less(lambda rows, pca: accuracy(rows, "S"), accuracy)(rows, f"{arm} PCA printed ranks")


def measure(column: str) -> Measure:
    """What a column of `PRINTED` measures; "pca accuracy test" is the drop from S."""
    first, _, rest = column.partition(" ")
    if column == "pca accuracy test":
        said = "test accuracy that PCA to its ranks takes from S, points"
        return Measure(said, Shown("S minus PCA, test accuracy", "points", 2), _drop)
    if first in KINDS:
        return variant(measure(rest), *KINDS[first])
    metric, layer = ("rank", first[-1]) if first.startswith("rank") else (first, "")
    said, head = MEASURES[metric]
    usual = on(rest) if metric == "accuracy" else number_of(first, rest or "network", 100 if rest else 1)
    head = head._replace(name=head.name.format(SPLITS.get(rest, layer)))
    return Measure(said.format(rest or layer), head, NUMBERS.get(metric, usual))


def printed_number(column: str) -> Number:
    """Our numbers of a column in its unit; zeros, FLOPs and ranks as `as_pruned`."""
    number = measure(column).number
    return as_pruned(number) if any(each in column for each in ("zeros", "kflops", "rank")) else number


def average(rows: Table, table: int, label: str, column: str) -> Summary | None:
    """A line of Tables 8 or 9. Zeros: the mean of its arms' means, each over the seeds that `as_pruned` lets through,
    and of their intervals' ends, which is wider than needed; n is the fewest. Others: the mean over arms, seed by seed.
    """
    every = [printed_number(column)(rows, arm) for arm in AVERAGED[table][label]]
    if column != "zeros":
        return summed_up(together(every, lambda values: sum(values) / len(values)))
    found = [summary(values.values(), within(values)) for values in every]
    if any(each.n == 0 for each in found):
        return None
    mean, low, high = (_mean([each[at] for each in found]) for at in range(3))
    return Summary(mean or 0.0, low, high, min(each.n for each in found))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
