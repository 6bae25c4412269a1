"""Verdicts on what the paper's text says beside its tables, and on what it did not ask; as in `verdicts`.

What holds in the rows stands here as well as what does not.
"""

from collections.abc import Callable, Iterable

from sapwood.study.finals import accuracy, at_end, best_test, zeros
from sapwood.study.seeds import Seeds, minus, summed_up, together
from sapwood.study.shrinking import shrunk
from sapwood.study.study import Finding
from sapwood.study.table import Table
from sapwood.study.words import corrected, count, difference, finding, sentence, there

from .found import average
from .printed import AVERAGED, PRINTED
from .rows import AS_LONG, CHANNELS, GLOBAL, LOCAL, NARROW, PRUNING

MORE_CYCLES = {"G5": "G1", "G6": "G2", "G7": "G3", "G8": "G4"}  # ten cycles: five, the rest equal
NETWORKS = (*GLOBAL, *LOCAL)
FIRST_CHANNELS, *OTHER_CHANNELS = CHANNELS


def channels(rows: Table) -> Finding:
    """A convolutional network: filters by activity against L1 norms and luck; the same by the best epoch."""
    last = {f"{FIRST_CHANNELS} against {each}": _gap(accuracy, rows, FIRST_CHANNELS, each) for each in OTHER_CHANNELS}
    best = {f"{FIRST_CHANNELS} against {each}": _gap(best_test, rows, FIRST_CHANNELS, each) for each in OTHER_CHANNELS}
    return finding(
        "Does counting matter for the channels of a convolutional network? (not asked in the paper)",
        f"{count(' comparisons', last, 'won by counting', 'lost')} "
        f"{count(' comparisons, with the weights of the best validation epoch,', best, 'won by counting', 'lost')}",
        sentence("Test accuracy, activity minus the other, last weights", last, "higher", "lower"),
        sentence("Best validation epoch", best, "higher", "lower"),
        corrected("Last weights", last),
    )


def all_networks(rows: Table) -> Finding:
    """The mean of all pruned networks, which has less noise than each of them; and dense networks and M."""
    last, best = (_mean_of(each, rows) for each in (accuracy, best_test))
    dense = {f"{label} against G1": _gap(accuracy, rows, label, "G1") for label in (NARROW, AS_LONG)}
    by_magnitude = {label: _gap(accuracy, rows, "M", label) for label in NETWORKS}
    means = {
        "last weights": minus(last, accuracy(rows, "S")),
        "best validation epoch": minus(best, best_test(rows, "S")),
    }
    return finding(
        "Taken together, are the pruned networks as good as dense ones and as M? (not asked in the paper)",
        f"{count(' means of the pruned networks', there(means), 'above S', 'below it')} "
        f"{count(' dense networks, as small as G1 or trained as long,', there(dense), 'better than G1', 'worse')} "
        f"{count(' pruned networks', there(by_magnitude), 'beaten by M', 'better than it')}",
        sentence(f"Mean test accuracy of the {len(NETWORKS)} minus that of S", there(means), "higher", "lower"),
        sentence("Dense network minus G1", there(dense), "higher", "lower"),
        sentence("M minus the other", there(by_magnitude), "higher", "lower"),
    )


def more_cycles(rows: Table) -> Finding:
    """Ten cycles against five, by score."""
    pairs = {f"{one} against {other}": _gap(zeros, rows, one, other) for one, other in MORE_CYCLES.items()}
    accuracies = {f"{one} against {other}": _gap(accuracy, rows, one, other) for one, other in MORE_CYCLES.items()}
    return finding(
        "More cycles remove more",
        count(" pairs of ten cycles against five", there(pairs), "sparser with ten", "denser"),
        sentence("Zeros, ten cycles minus five; G5 and G6: Neurons, G7 and G8: Neurons & Weights", there(pairs),
                 "more", "fewer"),
        sentence("Test accuracy", there(accuracies), "higher", "lower"),
    )  # fmt: skip


def longer(rows: Table) -> Finding:
    """The epochs until the stopping rule ends a run."""
    pairs = {label: minus(at_end(rows, label, "epochs"), at_end(rows, "S", "epochs")) for label in NETWORKS}
    return finding(
        "Pruning while training takes longer than training the standard network",
        count(" pruned networks", there(pairs), "longer in training than S", "shorter"),
        sentence("Epochs minus those of S", there(pairs), "more", "fewer", 1),
    )


def while_training(rows: Table) -> Finding:
    """L1 and L3 against M, as in Table 4, in training accuracy."""
    pairs = {f"{label} against M": _gap(_trained, rows, label, "M") for label in ("L1", "L3")}
    return finding(
        "Local pruning has a higher training accuracy than pruning by magnitude (Table 4)",
        count(" rows of Table 4", there(pairs), "higher than M in training accuracy", "lower"),
        sentence("Training accuracy minus that of M", there(pairs), "higher", "lower"),
    )


def retrained(rows: Table) -> Finding:
    """Retrained networks against M retrained."""
    pairs = {label: _gap(accuracy, rows, f"{label} retrained", "M retrained") for label in NETWORKS}
    return finding(
        "Retrained, activation-based pruning is as good as pruning by magnitude (Table 6)",
        count(" retrained networks", there(pairs), "more accurate than M retrained", "less accurate"),
        sentence("Test accuracy minus that of M retrained", there(pairs), "higher", "lower"),
        "That they cannot be told apart does not show that they are as good.",
    )


def later(rows: Table) -> Finding:
    """The last prune: smaller half against largest tenth of the singular values."""
    gaps = {label: minus(shrunk(rows, label, -1, 0.5, 1.0), shrunk(rows, label, -1, 0.0, 0.1)) for label in PRUNING}
    return finding(
        "Later prunes shrink all singular values alike (section 5.6)",
        count(" scores", there(gaps), "shrinking the smaller half less at the last prune", "shrinking it more"),
        sentence("Change of the smaller half minus that of the largest tenth, points, last prune", there(gaps), "less",
                 "more"),
    )  # fmt: skip


def rankings(rows: Table) -> Finding:
    """The order of the lines of Tables 8 and 9 by zeros and by class 0 among the five best, printed and here."""
    columns = {"zeros": "zeros", "class0_top5 test": "class 0 among the five best"}
    said = [
        f"Table {table} by {words}: {order}"
        for table in (8, 9)
        for column, words in columns.items()
        if (order := _orders(rows, table, column))
    ]
    return finding(
        "The order of the averages of Tables 8 and 9",
        f"{'. '.join(said)}." if said else "",
        "Class 0 among the five best (printed as Top 5 %) says nothing about quality, and swings from run to run.",
    )


def _orders(rows: Table, table: int, column: str) -> str:
    ours = {label: average(rows, table, label, column) for label in AVERAGED[table]}
    if any(each is None or each.n == 0 for each in ours.values()):
        return ""
    printed = sorted(ours, key=lambda label: -float(PRINTED[table][label][column] or 0))
    here = sorted(ours, key=lambda label: -(ours[label].mean if ours[label] else 0))  # type: ignore[union-attr]
    return "as printed" if here == printed else f"printed {' > '.join(printed)}, here {' > '.join(here)}"


def in_short(rows: Table) -> str:
    """What was found, in a few lines."""
    standard = {label: _gap(accuracy, rows, label, "S") for label in NETWORKS}
    more = {one: _gap(zeros, rows, one, other) for one, other in MORE_CYCLES.items()}
    luck = {word: summed_up(_gap(accuracy, rows, one, other)) for word, one, other in LUCK}
    said = [f"{word} {difference(found)}" for word, found in luck.items() if found]
    parts = (
        count(" pruned networks", there(standard), "more accurate than the standard network", "less accurate"),
        f"Counting activations minus removing at random, points of test accuracy: {'; '.join(said)}." if said else "",
        count(" pairs of five and ten cycles", there(more), "sparser with ten", "denser"),
    )
    return " ".join(("In short:", *(part for part in parts if part))) if any(parts) else ""


LUCK = (
    ("neurons of the fully connected network (G1)", "G1", "C random neuron"),
    ("channels of a convolutional one (K)", "K activity", "K random"),
)


def _trained(rows: Table, label: str) -> Seeds:
    return accuracy(rows, label, "train")


def _gap(what: Callable[[Table, str], Seeds], rows: Table, one: str, other: str) -> Seeds:
    return minus(what(rows, one), what(rows, other))


def _mean_of(what: Callable[[Table, str], Seeds], rows: Table, labels: Iterable[str] = NETWORKS) -> Seeds:
    return together((what(rows, label) for label in labels), lambda values: sum(values) / len(values))
