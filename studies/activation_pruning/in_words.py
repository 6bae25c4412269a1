"""In words: what takes more than counting comparisons: the nearest penalty, zeros, orders, printed numbers."""

from collections.abc import Mapping

from sapwood.study.finals import beyond, less, share
from sapwood.study.grid import number
from sapwood.study.printed import judged
from sapwood.study.questions import Question, against, counted, each, listed
from sapwood.study.seeds import Seeds, minus, summed_up
from sapwood.study.spectra_tables import distance_from
from sapwood.study.standing import as_said, stands
from sapwood.study.study import Finding, Standing
from sapwood.study.table import Table
from sapwood.study.words import difference, finding, told

from .arms import GLOBAL, LIKE, LOCAL, PENALTIES, RANDOM, STRENGTHS
from .claims import CLAIMS, THRICE
from .columns import LAYERS, average
from .controls import dead, left
from .printed import AVERAGED, in_print

NETWORKS = (*GLOBAL, *LOCAL)
MORE_CYCLES = against({"G5": "G1", "G6": "G2", "G7": "G3", "G8": "G4"}.items())  # ten cycles against five
UNEXPLAINED = 5.0  # points of zeros: the tolerance of the share of zeros after retraining
NUCLEAR_CLAIM = "Pruning by activity is equivalent to a (weighted) nuclear-norm penalty (section 5.6)"
NUCLEAR = {"closer": "By this measure it is like one", "further": "By this measure it is not like one"}


def numbers(rows: Table) -> str:
    """How many printed numbers agree, each once."""
    if judged(rows):
        return THRICE.in_one_line(rows)
    return f"Printed numbers: the paper's tables have {len(CLAIMS)}; none is judged at scale smoke."


def nuclear(rows: Table) -> Finding:
    """Whether any penalty's course comes closer to that of pruning by activity than random neurons' does."""
    distance = distance_from(LIKE, LAYERS)
    penalties = {arm: distance(rows, arm) for arm in PENALTIES}
    means = {arm: found.mean for arm, values in penalties.items() if (found := summed_up(values))}
    random = distance(rows, RANDOM)
    if not means or not random:
        return finding(NUCLEAR_CLAIM, "")._replace(standing="cannot be told")
    nearest = min(means, key=lambda arm: means[arm])
    away = minus(penalties[nearest], random)
    gap = summed_up(away)
    yardstick, least = (number(summed_up(each), 3) for each in (random, penalties[nearest]))
    return finding(
        NUCLEAR_CLAIM,
        f"{NUCLEAR.get(told(gap, 'further', 'closer'), 'By this measure that cannot be told')}: the nearest of "
        f"{len(means)} penalties, {nearest}, ends up {least} away from it, random neurons {yardstick}.",
        "Distances are between the courses of nuclear norm, effective and stable rank (table Closeness). Pruning "
        f"random neurons shrinks singular values too. Difference {difference(gap, 3)}. The nearest penalty was chosen "
        f"afterwards, which favours the claim. {_at_the_edge(means)}",
    )._replace(standing=stands("lower", [{nearest: away}]))


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


def _unexplained(rows: Table, arm: str) -> Seeds:
    """How far the zeros after retraining are from what lay in dead neurons before it, less what is tolerated."""
    return {seed: abs(points) - UNEXPLAINED for seed, points in less(left, dead)(rows, arm).items()}


def _dead_ones(rows: Table) -> str:
    words = (f"more than {UNEXPLAINED:g} points away from what dead neurons explain", "not")
    said = counted(" retrained networks", each(_unexplained, NETWORKS), *words)(rows)
    return f"No gradient reaches a dead neuron: its weights stay 0. The zeros of {said}" if said else ""


def _explained(rows: Table) -> str:
    shares = {arm: summed_up(share(dead, left)(rows, arm)) for arm in NETWORKS}
    said = ", ".join(f"{arm} {number(found, 0)}" for arm, found in shares.items() if found)
    return f"Dead before in % of zeros after: {said}." if said else ""


def _of_m(rows: Table) -> str:
    found = summed_up(left(rows, "M"))
    return f"M, which has hardly any dead neuron, is left with {number(found, 2)} % zeros." if found else ""


regrowth = Question(
    "Retrained, pruned networks tend to stay sparse (section 5.3)",
    [
        counted(" retrained networks", each(beyond(left, UNEXPLAINED), NETWORKS),
                f"left with more than {UNEXPLAINED:g} % zeros", "left with fewer", claimed="higher"),
        _dead_ones,
    ],
    [
        listed("Zeros after retraining minus dead before, points", each(less(left, dead), NETWORKS), "more", "fewer"),
        _explained,
        _of_m,
    ],
)  # fmt: skip


def _orders(rows: Table, table: int, column: str) -> str:
    ours = {label: average(rows, table, label, column) for label in AVERAGED[table]}
    if any(each is None or each.n == 0 for each in ours.values()):
        return ""
    printed = sorted(ours, key=lambda label: -in_print(table, label, column))
    here = sorted(ours, key=lambda label: -(ours[label].mean if ours[label] else 0))  # type: ignore[union-attr]
    return "as printed" if here == printed else f"printed {' > '.join(printed)}, here {' > '.join(here)}"


def _every_order(rows: Table) -> dict[str, str]:
    columns = {"zeros": "zeros", "class0_top5 test": "class 0 among the five best"}
    return {
        f"Table {table} by {words}": order
        for table in AVERAGED
        for column, words in columns.items()
        if (order := _orders(rows, table, column))
    }


def _orders_said(rows: Table) -> str:
    return "".join(f"{which}: {order}. " for which, order in _every_order(rows).items()).strip()


def _orders_stand(rows: Table) -> Standing:
    return as_said([order == "as printed" for order in _every_order(rows).values()])


rankings = Question(
    "The order of the averages of Tables 8 and 9",
    [_orders_said],
    ["Class 0 among the five best (printed as Top 5 %) says nothing about quality, and swings from run to run."],
    _orders_stand,
)
