"""Verdicts: what the rows say, in sentences that follow from the numbers."""

from sapwood.study.folds import MISSING, label
from sapwood.study.grid import number
from sapwood.study.printed import tallied
from sapwood.study.seeds import errors, summed_up
from sapwood.study.study import Finding
from sapwood.study.table import Table

from .arms import CONTROLS, CURVES
from .claims import CLAIMS
from .rates import DENSE

PRINTED = 94  # what Table 10 gives as activation-based pruning's compression, without an accuracy


def summary_of(rows: Table) -> list[str | Finding]:
    """The dense network, the originals, the headline of Table 10, who goes farthest, and whether tickets matter."""
    return [dense(rows), originals(rows), headline(rows), farthest(rows), tickets(rows)]


def dense(rows: Table) -> str:
    """The reference."""
    found = summed_up(errors(rows).get(DENSE))
    return f"The dense network's test error: {number(found, 2)} % (n = {found.n})." if found else MISSING


def originals(rows: Table) -> str:
    """How many of the points in print came out."""
    return f"Of {len(CLAIMS)} numbers that papers report or a harness must give: {tallied(CLAIMS, rows)}."


def headline(rows: Table) -> Finding:
    """Activation-based pruning at the compression that is printed for it."""
    claim = f"Activation-based pruning compresses LeNet-300-100 {PRINTED}-fold (Table 10), printed without an accuracy"
    found = errors(rows)
    names = [f"{scope} activation, {score}" for scope in ("global", "local") for score in ("N", "N & W")]
    said = {name: summed_up(found.get(label(name, PRINTED))) for name in names}
    if not all(said.values()):
        return Finding(claim, MISSING)
    reached = {name: CURVES.short(rows, name, PRINTED) for name in names}
    less = {name: f" (at {fold:.1f}-fold only)" for name, fold in reached.items() if fold}
    parts = ", ".join(f"{name} {number(each, 2)} %{less.get(name, '')}" for name, each in said.items())
    magnitude = summed_up(found.get(label("gradual magnitude", PRINTED)))
    return Finding(
        claim, f"At that compression its test error is: {parts}.", f"Gradual magnitude: {number(magnitude, 2)} %."
    )


def farthest(rows: Table) -> Finding:
    """The largest compression within half a point of the dense network."""
    return CURVES.farthest(rows, "How far can one go within half a point of the dense network's mean error?", 0.5)


def tickets(rows: Table) -> Finding:
    """Tickets against their controls: at how many compressions the interval of the paired difference leaves out 0."""
    claim = "Do a ticket's initial values matter, and its mask? (Frankle & Carbin 2019)"
    controls = (control for control in CONTROLS if control.startswith("ticket, "))
    sentences = [CURVES.wins(rows, "lottery ticket", each, each.removeprefix("ticket, ")) for each in controls]
    said = [each for each in sentences if each]
    return Finding(claim, " ".join(said) or MISSING)
