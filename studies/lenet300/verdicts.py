"""Verdicts: what the rows say, in sentences that follow from the numbers."""

from collections import Counter

from sapwood.study.claim import VERDICTS, verdict
from sapwood.study.grid import number
from sapwood.study.seeds import errors, minus, summed_up
from sapwood.study.study import Finding
from sapwood.study.table import Table, summary

from .claims import CLAIMS
from .found import at_folds, largest, run, short
from .rates import DENSE
from .rows import CONTROLS, label

PRINTED = 94  # what Table 10 gives as activation-based pruning's compression, without an accuracy
MISSING = "It cannot be said: the rows for it have not been run."


def summary_of(rows: Table) -> list[str | Finding]:
    """The dense network, the originals, the headline of Table 10, who goes farthest, and whether tickets matter."""
    return [dense(rows), originals(rows), headline(rows), farthest(rows), tickets(rows)]


def dense(rows: Table) -> str:
    """The reference."""
    found = summed_up(errors(rows).get(DENSE))
    return f"The dense network's test error: {number(found, 2)} % (n = {found.n})." if found else MISSING


def originals(rows: Table) -> str:
    """How many of the points in print came out."""
    counted = Counter(verdict(claim, claim.found(rows)) for claim in CLAIMS)
    said = ", ".join(f"{counted[each]} {each}" for each in VERDICTS)
    return f"Of {len(CLAIMS)} numbers that papers report or a harness must give: {said}."


def headline(rows: Table) -> Finding:
    """Activation-based pruning at the compression that is printed for it."""
    claim = f"Activation-based pruning compresses LeNet-300-100 {PRINTED}-fold (Table 10), printed without an accuracy"
    found = errors(rows)
    names = [f"{scope} activation, {score}" for scope in ("global", "local") for score in ("N", "N & W")]
    said = {name: summed_up(found.get(label(name, PRINTED))) for name in names}
    if not all(said.values()):
        return Finding(claim, MISSING)
    reached = {name: short(rows, name, PRINTED) for name in names}
    less = {name: f" (at {fold:.1f}-fold only)" for name, fold in reached.items() if fold}
    parts = ", ".join(f"{name} {number(each, 2)} %{less.get(name, '')}" for name, each in said.items())
    magnitude = summed_up(found.get(label("gradual magnitude", PRINTED)))
    return Finding(
        claim, f"At that compression its test error is: {parts}.", f"Gradual magnitude: {number(magnitude, 2)} %."
    )


def farthest(rows: Table) -> Finding:
    """The largest compression within half a point of the dense network."""
    reference = errors(rows).get(DENSE)
    claim = "How far can one go within half a point of the dense network's mean error?"
    if not reference:
        return Finding(claim, MISSING)
    limit = summary(reference.values()).mean + 0.5
    reach = {method: found for method in run(rows) if (found := largest(rows, method, limit)) is not None}
    if not reach:
        return Finding(claim, "No method stays within it at the compressions that have been run.")
    order = sorted(reach, key=lambda method: (-reach[method][0], reach[method][1]))  # of equals the lower error first
    fold, error = reach[order[0]]
    return Finding(
        claim,
        f"Farthest: {order[0]}, {fold}-fold at {error:.2f} %.",
        f"Of those measured: {', '.join(f'{method} {reach[method][0]}-fold' for method in order)}.",
    )


def tickets(rows: Table) -> Finding:
    """Tickets against their controls: at how many compressions the interval of the paired difference leaves out 0."""
    claim = "Do a ticket's initial values matter, and its mask? (Frankle & Carbin 2019)"
    sentences = [_told(rows, "lottery ticket", control) for control in CONTROLS if control.startswith("ticket, ")]
    said = [each for each in sentences if each]
    return Finding(claim, " ".join(said) or MISSING)


def _told(rows: Table, one: str, other: str) -> str:
    first, second = at_folds(rows, one), at_folds(rows, other)
    gaps = [summed_up(minus(first[fold], second[fold])) for fold in first if fold in second]
    known = [gap for gap in gaps if gap is not None and gap.low is not None and gap.high is not None]
    better = sum(gap.high < 0 for gap in known if gap.high is not None)
    worse = sum(gap.low > 0 for gap in known if gap.low is not None)
    if not known:
        return ""
    return (
        f"Against {other.removeprefix('ticket, ')}: better at {better} of {len(known)} compressions, worse at {worse}."
    )
