"""Verdicts: what the rows say about the claims of the paper's text, in words that follow from the numbers.

Two rows differ where the 95 % interval of their paired differences, seed by seed, leaves out 0; no correction is made
for the number of comparisons. Differences of accuracy are in percentage points of the test set, with the last weights.
"""

from collections.abc import Callable, Iterable

from sapwood.study.claim import VERDICTS, by_group
from sapwood.study.grid import number
from sapwood.study.table import Table

from .claims import CLAIMS
from .closeness import distance
from .found import Seeds, accuracy, at_end, minus, over, summed_up, told, total_rank, zeros
from .rows import AS_LONG, CONTROLS, GLOBAL, LOCAL, PENALTIES, PRUNED
from .tables_of_paper import judged
from .words import Pairs, difference, paragraph, sentence

SCOPES = {"L1": ("G1", "G5"), "L2": ("G2", "G6"), "L3": ("G3", "G7"), "L4": ("G4", "G8")}  # local: the same, global
PRODUCT = {"G3": "G1", "G4": "G2", "G7": "G5", "G8": "G6", "L3": "L1", "L4": "L2"}  # Neurons & Weights: Neurons
AGAINST_MAGNITUDE = (("L1", "M"), ("L3", "M"), ("G1", "C magnitude"), ("G3", "C magnitude"))
LIKE, RANDOM = "V neurons", "V random neurons"
UNEXPLAINED = 5.0  # points of zeros: the tolerance of the share of zeros after retraining
NUCLEAR = {"closer": "By this measure it is like one", "further": "By this measure it is not like one"}
FULL = 650  # the ranks of all hidden layers when nothing is removed


def summary(rows: Table) -> list[str]:
    """One paragraph for the printed numbers, and one for each claim of the text."""
    parts = (numbers, standard, scope, product, low_rank, pca, magnitude, counting, nuclear, regrowth)
    return [part(rows) for part in parts]


def numbers(rows: Table) -> str:
    """How many printed numbers agree."""
    if not judged(rows):
        return f"Printed numbers: the paper's tables have {len(CLAIMS)}; none is judged at scale smoke."
    counts = by_group(CLAIMS, rows).values()
    each = (f"{sum(group[name] for group in counts)} {name}" for name in VERDICTS)
    return f"Printed numbers: of {len(CLAIMS)} in the paper's tables, {', '.join(each)}."


def standard(rows: Table) -> str:
    """Pruned networks against S, also with the best epoch's weights, and S against itself trained longer."""
    best = {label: minus(_best(rows, label), _best(rows, "S")) for label in (*GLOBAL, *LOCAL)}
    return paragraph(
        "Claim (5.1, 5.2): pruned networks are better than the standard one, nearly all of them.",
        sentence("Test accuracy minus that of S", _accuracies(rows, ((one, "S") for one in best)), "better", "worse"),
        sentence("With the weights of the best validation epoch instead of the last", best, "better", "worse", None),
        sentence("Dense networks against S", _accuracies(rows, [(AS_LONG, "S")]), "better", "worse"),
    )


def scope(rows: Table) -> str:
    """Local against global pruning of equal score and target."""
    pairs = [(local, other) for local, others in SCOPES.items() for other in others]
    return paragraph(
        "Claim (5.2): local pruning removes more than global pruning, at accuracies as good.",
        sentence("Zeros, equal score and target", _zeros(rows, pairs), "more", "fewer", None),
        sentence("Test accuracy", _accuracies(rows, pairs), "better", "worse"),
    )


def product(rows: Table) -> str:
    """Neurons & Weights against Neurons, the rest equal."""
    return paragraph(
        "Claim (5.1, 5.4.1): the score Neurons & Weights is better than Neurons.",
        sentence("Test accuracy, the rest equal", _accuracies(rows, PRODUCT.items()), "better", "worse"),
        sentence("Zeros", _zeros(rows, PRODUCT.items()), "more", "fewer", None),
    )


def low_rank(rows: Table) -> str:
    """Ranks as pruned and after retraining, against full rank and against other scores."""
    ranks = {label: total_rank(rows, label) for label in PRUNED}
    again = {label: total_rank(rows, f"{label} retrained") for label in PRUNED}
    others = {f"G1 against {label}": minus(ranks["G1"], total_rank(rows, label)) for label in CONTROLS}
    regained = {label: minus(again[label], ranks[label]) for label in PRUNED}
    return paragraph(
        "Claim (5.3): pruning makes the hidden layers low-rank, and retraining keeps them so.",
        sentence(f"Ranks, summed over layers, minus {FULL}", _each(ranks, _below), "higher", "lower", 1),
        sentence("The same schedule with another score", others, "higher", "lower", 1),
        sentence("Retrained without masks minus before", regained, "higher", "lower", None),
        sentence(f"Retrained, against {FULL}", _each(again, _below), "higher", "lower", None),
    )


def pca(rows: Table) -> str:
    """Pruned networks against S reduced to their ranks, as in the paper and on more equal terms."""
    said = []
    for kind in ("printed ranks", "own ranks", "printed ranks, tuned", "own ranks, tuned"):
        pairs = _accuracies(rows, ((label, f"{label} PCA {kind}") for label in GLOBAL))
        said.append(sentence(f"At {kind}", pairs, "better", "worse", None if said else 2))
    return paragraph(
        "Claim (5.5): pruned networks are better than the standard one at their ranks, by PCA. Test accuracies:",
        *said,
    )


def magnitude(rows: Table) -> str:
    """Local rows against M as in Table 4; G1 and G3 against magnitude with their schedule and marks."""
    return paragraph(
        "Claim (5.3): pruning by activity is as good as by magnitude. M prunes after training; C magnitude is "
        "the score |w| under G1's schedule.",
        sentence("Test accuracy", _accuracies(rows, AGAINST_MAGNITUDE), "better", "worse"),
        sentence("Zeros", _zeros(rows, AGAINST_MAGNITUDE), "more", "fewer"),
    )


def counting(rows: Table) -> str:
    """G1 against the same with another score."""
    pairs = [("G1", label) for label in CONTROLS]
    return paragraph(
        "Does counting activations matter? The paper does not ask.",
        sentence("Test accuracy, the same schedule with another score", _accuracies(rows, pairs), "better", "worse"),
        sentence("Zeros", _zeros(rows, pairs), "more", "fewer"),
    )


def nuclear(rows: Table) -> str:
    """Whether any penalty's course comes closer to that of pruning by activity than random neurons' does."""
    claim = "Claim (5.6): pruning by activity is equivalent to a (weighted) nuclear-norm penalty."
    penalties = {label: distance(rows, LIKE, label) for label in PENALTIES}
    means = {label: found.mean for label, values in penalties.items() if (found := summed_up(values))}
    random = distance(rows, LIKE, RANDOM)
    if not means or not random:
        return paragraph(claim)
    nearest = min(means, key=lambda label: means[label])
    gap = summed_up(minus(penalties[nearest], random))
    away = (number(summed_up(each), 3) for each in (random, penalties[nearest]))
    return paragraph(
        claim,
        f"{NUCLEAR.get(told(gap, 'further', 'closer'), 'By this measure that cannot be told')}: pruning neurons at "
        "random, too, shrinks singular values. Distances from it of the courses of nuclear norm, effective and stable "
        f"rank (table Closeness): random neurons {next(away)}; the nearest penalty, {nearest}, {next(away)}; "
        f"difference {difference(gap, 3)}. The nearest of {len(means)} was chosen afterwards, which favours the claim.",
    )


def regrowth(rows: Table) -> str:
    """Zeros after retraining against what lay in dead neurons before it."""
    labels = (*GLOBAL, *LOCAL)
    dead = {label: at_end(rows, label, "dead", scale=100) for label in labels}
    left = {label: zeros(rows, f"{label} retrained") for label in labels}
    rest = {label: minus(left[label], dead[label]) for label in labels}
    shares = {label: over(each, left[label]) for label, each in _each(dead, _hundredfold).items()}
    explained = ", ".join(f"{label} {number(summed_up(share), 0)}" for label, share in shares.items() if share)
    kept = summed_up(zeros(rows, "M retrained"))
    return paragraph(
        "Claim (5.3): retrained, pruned networks tend to stay sparse. Or are the zeros left those of dead neurons, "
        "which no gradient reaches?",
        sentence(f"Zeros after minus dead before, against {UNEXPLAINED:g} points", _each(rest, _unexplained),
                 "other zeros", "dead neurons explain them", None),
        sentence("Zeros after minus dead before", rest, "more", "fewer"),
        f"Dead before in % of zeros after: {explained}." if explained else "",
        f"M is left with {number(kept, 2)} % zeros." if kept else "",
    )  # fmt: skip


def _accuracies(rows: Table, pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Test accuracy of the first minus that of the second."""
    return {_named(one, other): minus(accuracy(rows, one), accuracy(rows, other)) for one, other in pairs}


def _zeros(rows: Table, pairs: Iterable[tuple[str, str]]) -> Pairs:
    return {_named(one, other): minus(zeros(rows, one), zeros(rows, other)) for one, other in pairs}


def _named(one: str, other: str) -> str:
    return one if other == "S" or other.startswith(f"{one} PCA") else f"{one} against {other}"


def _best(rows: Table, label: str) -> Seeds:
    return at_end(rows, label, "accuracy", "best test", 100)


def _each(every: Pairs, change: Callable[[float], float]) -> Pairs:
    return {label: {seed: change(value) for seed, value in values.items()} for label, values in every.items()}


def _below(rank: float) -> float:
    return rank - FULL


def _hundredfold(value: float) -> float:
    return 100 * value


def _unexplained(points: float) -> float:
    return abs(points) - UNEXPLAINED
