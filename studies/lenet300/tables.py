"""Tables: errors at every compression, what was reached, what the test images say about limits, and Table 10."""

from collections.abc import Callable, Sequence

from sapwood.study import several
from sapwood.study.claim import MARKS, verdict
from sapwood.study.grid import NOTHING, Grid, number, sizes
from sapwood.study.seeds import errors, excess, summed_up
from sapwood.study.study import Tabled
from sapwood.study.table import Table, summary

from . import rates
from .assumptions import families
from .claims import CLAIMS
from .found import area, at_folds, beyond, folds, largest, run, short
from .printed import TABLE_10
from .rates import DENSE
from .rows import EVERY, FOLDS, ORIGINALS, label

CONTROL = {  # method: what it is compared with, seed by seed
    "lottery ticket": ("ticket, reinitialised", "ticket, mask shuffled"),
    "RigL": ("random mask, ERK",),
    "SET": ("random mask, ERK",),
    "SNIP": ("random mask", "random mask, ERK"),
    "GraSP": ("random mask", "random mask, ERK"),
    "SynFlow": ("random mask", "random mask, ERK"),
    "gradual magnitude": ("one-shot magnitude", "narrow dense", "random mask, ERK"),
    "variational dropout": ("gradual magnitude",),
    "gradual LAMP": ("gradual magnitude",),
    "dynamic surgery": ("gradual magnitude",),
    "global activation, N": ("narrow dense", "random mask"),
    "global activation, N & W": ("gradual magnitude", "global activation, N"),
    "local activation, N": ("narrow dense", "random mask"),
    "local activation, N & W": ("gradual magnitude", "local activation, N"),
}


def _by_fold(rows: Table, cell: Callable[[str, int], str], first: tuple[str, ...] = ()) -> Grid:
    lines = [(method, *(cell(method, fold) for fold in FOLDS)) for method in run(rows)]
    return Grid(("method", *(f"{fold}-fold" for fold in FOLDS)), ((first,) if first else ()) + tuple(lines))


def curve(rows: Table) -> Grid:
    """Test error, percent."""
    found = errors(rows)
    dense = (f"dense: {number(summed_up(found.get(DENSE)), 2)}", *[""] * len(FOLDS))

    def cell(method: str, fold: int) -> str:
        reached = short(rows, method, fold) or beyond(rows, method, fold)
        return number(summed_up(found.get(label(method, fold))), 2) + (f" at {reached:.1f}-fold" if reached else "")

    return _by_fold(rows, cell, dense)


def reached(rows: Table) -> Grid:
    """Weights before / weights not 0."""
    found = folds(rows)
    return _by_fold(rows, lambda method, fold: number(summed_up(found.get(label(method, fold))), 1))


def limits(rows: Table) -> Grid:
    """How far each method goes until its mean error exceeds a limit, at the compressions measured."""
    dense = errors(rows).get(DENSE, {})
    mean = summary(dense.values()).mean if dense else float("nan")
    lines = [
        (method, *(_far(rows, method, limit) for limit in (mean, mean + 0.5, 2.0)), number(area(rows, method), 2))
        for method in run(rows)
    ]
    titles = ("dense mean", "dense mean + 0.5 points", "2.0 %")
    return Grid(("method", *(f"until {title}" for title in titles), "mean excess error (points)"), tuple(lines))


def _far(rows: Table, method: str, limit: float) -> str:
    found = largest(rows, method, limit)
    return NOTHING if found is None else f"{found[0]}-fold ({found[1]:.2f} %)"


def controls(rows: Table) -> Grid:
    """Error of a method minus that of its control, seed by seed, points."""

    def cell(one: str, other: str, fold: int) -> str:
        if fold not in there[one] or fold not in there[other]:
            return NOTHING
        return number(excess(rows, label(one, fold), label(other, fold)), 2)

    there = {method: at_folds(rows, method) for method in run(rows)}
    pairs = [(one, other) for one, others in CONTROL.items() for other in others if {one, other} <= there.keys()]
    lines = [(f"{one} minus {other}", *(cell(one, other, fold) for fold in FOLDS)) for one, other in pairs]
    return Grid(("difference", *(f"{fold}-fold" for fold in FOLDS)), tuple(lines))


def originals(rows: Table) -> Grid:
    """What the papers report, and what came out."""
    lines = []
    for claim in CLAIMS:
        found = claim.found(rows)
        band = _band(claim.value - claim.tolerance, claim.value + claim.tolerance)
        lines.append((claim.where, claim.text, band, number(found, 2), MARKS[verdict(claim, found)]))
    return Grid(("source", "what", "band", "here", ""), tuple(lines))


def _band(low: float, high: float) -> str:
    if high > 1e6:
        return f"at least {low:g}"
    return f"at most {high:g}" if low < -1e6 else f"{low:.4g} to {high:.4g}"


def audit(rows: Table) -> Grid:
    """Table 10 as printed, and as the papers have it."""
    show = lambda value: NOTHING if value is None else f"{value:g}"  # noqa: E731
    lines = [
        (each.method, f"{each.fold:g}-fold, {each.left:g} %", show(each.own_fold), show(each.own_left),
         f"{show(each.dense)} to {show(each.error)}", each.remark)
        for each in TABLE_10
    ]  # fmt: skip
    columns = ("line", "printed", "own fold", "own weights left (%)", "own error (%)", "remark")
    return Grid(columns, tuple(lines))


def every_sense(rows: Table) -> Grid:
    """All meanings of compression, at 94-fold; a narrow network has no zeros to count."""
    wanted = {label(method, 94) for method in EVERY if method != "narrow dense"} | set(ORIGINALS)
    return sizes([row for row in rows if row["row"] in wanted])


def tuning(rows: Table) -> Grid:
    """Validation error at each candidate rate."""
    tried = [(method, fold) for method in (DENSE, *EVERY) for fold in rates.tuned_at(method)]
    lines = [
        _tried(
            rows,
            method if method == DENSE else label(method, fold),
            [rates.tuning(method, fold, each) for each in rates.CANDIDATES],
            rates.rate(method, fold),
        )
        for method, fold in tried
    ]
    return Grid(("method, fold", *(f"{each:g}" for each in rates.CANDIDATES), "used"), tuple(lines))


def decay(rows: Table) -> Grid:
    """Validation error at each candidate decay."""
    lines = [
        _tried(rows, row, [rates.decay_tuning(row, each) for each in rates.DECAY_CANDIDATES], used)
        for row, used in rates.DECAYS.items()
    ]
    return Grid(("row", *(f"{each:g}" for each in rates.DECAY_CANDIDATES), "used"), tuple(lines))


def _tried(rows: Table, title: str, names: Sequence[str], used: float | None) -> tuple[str, ...]:
    """The validation errors of rows that differ in one number, and the number in use."""
    found = errors(rows, "valid")
    seen = [number(summed_up(found.get(name)), 2) for name in names]
    return (title, *seen, NOTHING if used is None else f"{used:g}")


TABLES = (
    Tabled(
        "Test error (%)",
        "Mean over seeds [95 % interval], last weights. Columns: compression asked for; where less than 95 % or more "
        "than 105 % of it was reached, what was. A point that fell short counts nowhere else. One that went further "
        "does, which favours what it is compared with: at 94 and 200-fold the narrow dense network is smaller than "
        "asked for.",
        curve,
    ),
    Tabled(
        "Compression reached",
        "Weights of LeNet-300-100 / weights that are not 0. Neurons come in whole numbers, one of each layer stays; "
        "activation-based pruning leaves the output layer's 1,000 weights alone.",
        reached,
    ),
    Tabled(
        "How far",
        "The largest compression measured until which the mean test error stays within a limit. Mean excess: error "
        "above the dense network's of the same seed, averaged over log2 of the compression asked for.",
        limits,
    ),
    Tabled(
        "Against controls",
        "Test error minus the control's, seed by seed, points; below 0: better. At 94 and 200-fold the narrow dense "
        "network is smaller than what it is a control of (table Test error).",
        controls,
    ),
    Tabled(
        "Corrected for the number of comparisons",
        "Every method against gradual magnitude, Holm's correction within each compression, over paired t tests. Last "
        "column, in points: the true difference that so many seeds with this spread find in four of five cases, the "
        "smallest and the largest of the comparisons.",
        several.table(families),
    ),
    Tabled("The originals' points", "✓ reproduced, ✗ not reproduced, ? cannot be judged.", originals),
    Tabled("Table 10, audited", "As printed in 2024, and what the papers quoted there report themselves.", audit),
    Tabled("Every sense of compression", "At 94-fold, and of the originals' points; before / after.", every_sense),
    Tabled(
        "Tuning",
        "Validation error (%) for each learning rate, one seed that no row has; the lowest is used, "
        "at every compression that of the nearer one.",
        tuning,
    ),
    Tabled(
        "Tuning of weight decay",
        "Validation error (%) of the originals that were trained with it, the same seed; a paper's other row has the "
        "same. No other row has any.",
        decay,
    ),
)  # fmt: skip
