"""Verdicts: what the rows say about the claims of the paper's text, in words that follow from the numbers.

Two rows differ where the 95 % interval of their paired differences, seed by seed, leaves out 0; no correction is made
for the number of comparisons but where it is said. Differences of accuracy are in percentage points of the test set,
with the last weights.
"""

from collections.abc import Iterable, Mapping

from sapwood.study.claim import VERDICTS, by_group
from sapwood.study.finals import accuracy, at_end, best_test, over, zeros
from sapwood.study.grid import number
from sapwood.study.printed import judged
from sapwood.study.seeds import minus, summed_up
from sapwood.study.study import Finding
from sapwood.study.table import Table
from sapwood.study.words import Pairs, corrected, count, difference, each_as, finding, sentence, told, turned

from .claims import CLAIMS
from .closeness import LIKE, RANDOM, distance
from .found import total_rank
from .rows import AS_LONG, CONTROLS, GLOBAL, LOCAL, PENALTIES, PRUNED, STRENGTHS
from .verdicts_of_text import (
    all_networks,
    channels,
    in_short,
    later,
    longer,
    more_cycles,
    rankings,
    retrained,
    while_training,
)

SCOPES = {"L1": ("G1", "G5"), "L2": ("G2", "G6"), "L3": ("G3", "G7"), "L4": ("G4", "G8")}  # local: the same, global
PRODUCT = {"G3": "G1", "G4": "G2", "G7": "G5", "G8": "G6", "L3": "L1", "L4": "L2"}  # Neurons & Weights: Neurons
AGAINST_MAGNITUDE = (("L1", "M"), ("L3", "M"), ("G1", "C magnitude"), ("G3", "C magnitude"))
UNEXPLAINED = 5.0  # points of zeros: the tolerance of the share of zeros after retraining
NUCLEAR_CLAIM = "Pruning by activity is equivalent to a (weighted) nuclear-norm penalty (section 5.6)"
NUCLEAR = {"closer": "By this measure it is like one", "further": "By this measure it is not like one"}
FULL = 650  # the ranks of all hidden layers when nothing is removed


def summary(rows: Table) -> list[str | Finding]:
    """What was found in short, one paragraph for the printed numbers, and one finding for each claim of the text."""
    parts = (standard, all_networks, scope, product, low_rank, pca, magnitude, counting, channels, nuclear, later,
             regrowth, more_cycles, longer, while_training, retrained, rankings)  # fmt: skip
    return [*filter(None, [in_short(rows)]), numbers(rows), *(part(rows) for part in parts)]


def numbers(rows: Table) -> str:
    """How many printed numbers agree."""
    if not judged(rows):
        return f"Printed numbers: the paper's tables have {len(CLAIMS)}; none is judged at scale smoke."
    counts = by_group(CLAIMS, rows).values()
    each = (f"{sum(group[name] for group in counts)} {name}" for name in VERDICTS)
    return f"Printed numbers: of {len(CLAIMS)} in the paper's tables, {', '.join(each)}."


def standard(rows: Table) -> Finding:
    """Pruned networks against S, also with the best epoch's weights, and S against itself trained longer."""
    last = _accuracies(rows, ((one, "S") for one in (*GLOBAL, *LOCAL)))
    best = {label: minus(best_test(rows, label), best_test(rows, "S")) for label in (*GLOBAL, *LOCAL)}
    better = ("more accurate than the standard one", "less accurate")
    return finding(
        "Nearly all pruned networks are better than the standard one (sections 5.1, 5.2)",
        f"{count(' pruned networks', last, *better)} "
        f"{count(', with the weights of the best validation epoch,', best, *better)}",
        sentence("Test accuracy minus that of S, last weights", last, "higher", "lower"),
        sentence("Best validation epoch", best, "higher", "lower"),
        corrected("Last weights", last),
        corrected("Best validation epoch", best),
        sentence("A dense network trained as long as G1", _accuracies(rows, [(AS_LONG, "S")]), "higher", "lower"),
    )


def scope(rows: Table) -> Finding:
    """Local against global pruning of equal score and target."""
    pairs = [(local, other) for local, others in SCOPES.items() for other in others]
    return finding(
        "Local pruning removes more than global pruning, at accuracies as good (section 5.2)",
        f"{count(' pairs of equal score and target', _zeros(rows, pairs), 'sparser when pruned locally', 'denser')} "
        f"{count(' pairs', _accuracies(rows, pairs), 'more accurate', 'less accurate')}",
        sentence("Test accuracy, local minus global", _accuracies(rows, pairs), "higher", "lower"),
        sentence("Zeros", _zeros(rows, pairs), "more", "fewer"),
    )


def product(rows: Table) -> Finding:
    """Neurons & Weights against Neurons, the rest equal."""
    accuracies = _accuracies(rows, PRODUCT.items())
    return finding(
        "The score Neurons & Weights is better than Neurons (sections 5.1, 5.4.1)",
        count(
            " pairs that differ in nothing else", accuracies, "more accurate with Neurons & Weights", "less accurate"
        ),
        sentence("Test accuracy, Neurons & Weights minus Neurons", accuracies, "higher", "lower"),
        sentence("Zeros", _zeros(rows, PRODUCT.items()), "more", "fewer"),
    )


def low_rank(rows: Table) -> Finding:
    """Ranks as pruned and after retraining, against full rank and against other scores."""
    ranks = {label: total_rank(rows, label) for label in PRUNED}
    again = {label: total_rank(rows, f"{label} retrained") for label in PRUNED}
    others = {f"G1 against {label}": minus(ranks["G1"], total_rank(rows, label)) for label in CONTROLS}
    regained = {label: minus(again[label], ranks[label]) for label in PRUNED}
    below = count(" pruned networks", each_as(ranks, _below), "above full rank", "below it")
    against = count(" other scores under G1's schedule", turned(others), "of lower rank than G1", "of higher rank")
    return finding(
        "Pruning makes the hidden layers low-rank, and retraining keeps them so (section 5.3)",
        f"{below} {against}",
        sentence(f"Ranks, summed over layers, minus {FULL}", each_as(ranks, _below), "higher", "lower", 1),
        sentence("G1 minus the same schedule with another score", others, "higher", "lower", 1),
        sentence("Retrained without masks, minus before", regained, "higher", "lower", 1),
        sentence(f"Retrained, minus {FULL}", each_as(again, _below), "higher", "lower", 1),
    )


def pca(rows: Table) -> Finding:
    """Pruned networks against S reduced to their ranks, as in the paper and on more equal terms."""
    kinds = ("printed ranks", "own ranks", "printed ranks, tuned", "own ranks, tuned")
    found = {kind: _accuracies(rows, ((label, f"{label} PCA {kind}") for label in GLOBAL)) for kind in kinds}
    better = ("more accurate than PCA", "less accurate")
    found |= {f"{kind}, best validation epochs": _best_against_pca(rows, kind) for kind in kinds[2:]}
    said = (count(f" pruned networks, at {kind},", pairs, *better) for kind, pairs in found.items())
    return finding(
        "Pruned networks are better than the standard one reduced to their ranks by PCA (section 5.5)",
        " ".join(each for each in said if each),
        "Equal ranks are not equal sizes: table PCA on equal terms has the weights to store. What is tuned has had "
        "five more epochs, at a lower rate.",
        *(sentence(f"Test accuracy minus PCA's, {kind}", pairs, "higher", "lower") for kind, pairs in found.items()),
    )


def _best_against_pca(rows: Table, kind: str) -> Pairs:
    pairs = {label: minus(best_test(rows, label), best_test(rows, f"{label} PCA {kind}")) for label in GLOBAL}
    return {label: values for label, values in pairs.items() if values}


def magnitude(rows: Table) -> Finding:
    """Local rows against M as in Table 4; G1 and G3 against magnitude with their schedule and marks."""
    accuracies = _accuracies(rows, AGAINST_MAGNITUDE)
    return finding(
        "Pruning by activity is as good as by magnitude (section 5.3)",
        count(" comparisons with magnitude, two of them under the same schedule,", accuracies,
              "won by activity", "lost"),
        sentence("Test accuracy, activity minus magnitude; M prunes after training, C magnitude is the score |w| under "
                 "G1's schedule", accuracies, "higher", "lower"),
        sentence("Zeros", _zeros(rows, AGAINST_MAGNITUDE), "more", "fewer"),
    )  # fmt: skip


def counting(rows: Table) -> Finding:
    """G1 against the same with another score."""
    pairs = [("G1", label) for label in CONTROLS]
    accuracies = _accuracies(rows, pairs)
    best = {f"G1 against {label}": minus(best_test(rows, "G1"), best_test(rows, label)) for label in CONTROLS}
    better = ("more accurate than counting activations", "less accurate")
    said = (
        count(" other scores under G1's schedule", turned(accuracies), *better),
        count(" other scores, with the weights of the best validation epoch,", turned(best), *better),
    )
    return finding(
        "Does counting activations matter for neurons? (not asked in the paper)",
        " ".join(said),
        sentence("Test accuracy, G1 minus the other", accuracies, "higher", "lower"),
        sentence("Best validation epoch", best, "higher", "lower"),
        corrected("Last weights", accuracies),
        corrected("Best validation epoch", best),
        sentence("Zeros", _zeros(rows, pairs), "more", "fewer"),
    )  # fmt: skip


def nuclear(rows: Table) -> Finding:
    """Whether any penalty's course comes closer to that of pruning by activity than random neurons' does."""
    penalties = {label: distance(rows, LIKE, label) for label in PENALTIES}
    means = {label: found.mean for label, values in penalties.items() if (found := summed_up(values))}
    random = distance(rows, LIKE, RANDOM)
    if not means or not random:
        return finding(NUCLEAR_CLAIM, "")
    nearest = min(means, key=lambda label: means[label])
    gap = summed_up(minus(penalties[nearest], random))
    away = [number(summed_up(each), 3) for each in (random, penalties[nearest])]
    return finding(
        NUCLEAR_CLAIM,
        f"{NUCLEAR.get(told(gap, 'further', 'closer'), 'By this measure that cannot be told')}: the nearest of "
        f"{len(means)} penalties, {nearest}, ends up {away[1]} away from it, random neurons {away[0]}.",
        "Distances are between the courses of nuclear norm, effective and stable rank (table Closeness). Pruning "
        f"random neurons shrinks singular values too. Difference {difference(gap, 3)}. The nearest penalty was chosen "
        f"afterwards, which favours the claim. {_at_the_edge(means)}",
    )


def _at_the_edge(means: Mapping[str, float]) -> str:
    """Whether a nearer penalty may lie outside of the strengths that were tried."""
    kinds: dict[str, dict[str, float]] = {}
    for label, mean in means.items():
        kinds.setdefault(label.rpartition(" ")[0], {})[label] = mean
    nearest = [min(each, key=lambda label: each[label]) for each in kinds.values()]
    ends = [label for label in nearest if label.endswith(f" {min(STRENGTHS):g}")]
    if not ends:
        return ""
    return (
        f"Nearest is the smallest strength tried for {len(ends)} of {len(kinds)} kinds of penalty: a smaller one may "
        "be nearer."
    )


def regrowth(rows: Table) -> Finding:
    """Zeros after retraining against what lay in dead neurons before it."""
    labels = (*GLOBAL, *LOCAL)
    dead = {label: at_end(rows, label, "dead", scale=100) for label in labels}
    left = {label: zeros(rows, f"{label} retrained") for label in labels}
    rest = {label: minus(left[label], dead[label]) for label in labels}
    shares = {label: over(each, left[label]) for label, each in each_as(dead, _hundredfold).items()}
    explained = ", ".join(f"{label} {number(summed_up(share), 0)}" for label, share in shares.items() if share)
    kept = summed_up(zeros(rows, "M retrained"))
    said = count(" retrained networks", each_as(rest, _unexplained),
                 f"more than {UNEXPLAINED:g} points away from what dead neurons explain", "not")  # fmt: skip
    return finding(
        "Retrained, pruned networks tend to stay sparse (section 5.3)",
        f"No gradient reaches a dead neuron: its weights stay 0. The zeros of {said}" if said else "",
        sentence("Zeros after retraining minus dead before, points", rest, "more", "fewer"),
        f"Dead before in % of zeros after: {explained}." if explained else "",
        f"M, which has hardly any dead neuron, is left with {number(kept, 2)} % zeros." if kept else "",
    )


def _accuracies(rows: Table, pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Test accuracy of the first minus that of the second."""
    return {_named(one, other): minus(accuracy(rows, one), accuracy(rows, other)) for one, other in pairs}


def _zeros(rows: Table, pairs: Iterable[tuple[str, str]]) -> Pairs:
    return {_named(one, other): minus(zeros(rows, one), zeros(rows, other)) for one, other in pairs}


def _named(one: str, other: str) -> str:
    return one if other == "S" or other.startswith(f"{one} PCA") else f"{one} against {other}"


def _below(rank: float) -> float:
    return rank - FULL


def _hundredfold(value: float) -> float:
    return 100 * value


def _unexplained(points: float) -> float:
    return abs(points) - UNEXPLAINED
