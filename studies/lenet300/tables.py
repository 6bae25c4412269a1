"""Tables: errors at every compression, what was reached, what the test images say about limits, and Table 10."""

from sapwood.study import several
from sapwood.study.folds import label
from sapwood.study.grid import NOTHING, Grid, sizes
from sapwood.study.printed import of_points
from sapwood.study.questions import families
from sapwood.study.study import Tabled
from sapwood.study.table import Table

from .arms import CURVES, EVERY, FOLDS, ORIGINALS
from .claims import CLAIMS
from .printed import TABLE_10
from .rates import BY_DECAY, BY_RATE, DECAYS, POINTS, rate

CONTROL = {  # method: what it is compared with, seed by seed
    "lottery ticket": ("ticket, reinitialised", "ticket, mask shuffled"),
    **dict.fromkeys(("RigL", "SET"), ("random mask, ERK",)),
    **dict.fromkeys(("SNIP", "GraSP", "SynFlow"), ("random mask", "random mask, ERK")),
    "gradual magnitude": ("one-shot magnitude", "narrow dense", "random mask, ERK"),
    **dict.fromkeys(("variational dropout", "gradual LAMP", "dynamic surgery"), ("gradual magnitude",)),
    "global activation, N": ("narrow dense", "random mask"),
    "global activation, N & W": ("gradual magnitude", "global activation, N"),
    "local activation, N": ("narrow dense", "random mask"),
    "local activation, N & W": ("gradual magnitude", "local activation, N"),
}
ALL_METHODS = {f"against gradual magnitude, {fold}-fold": CURVES.gaps("gradual magnitude", fold) for fold in FOLDS}


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


TABLES = (
    Tabled(
        "Test error (%)",
        "Mean over seeds [95 % interval], last weights. Columns: compression asked for; where less than 95 % or more "
        "than 105 % of it was reached, what was. A point that fell short counts nowhere else. One that went further "
        "does, which favours what it is compared with: at 94 and 200-fold the narrow dense network is smaller than "
        "asked for.",
        CURVES.error_table,
    ),
    Tabled(
        "Compression reached",
        "Weights of LeNet-300-100 / weights that are not 0. Neurons come in whole numbers, one of each layer stays; "
        "activation-based pruning leaves the output layer's 1,000 weights alone.",
        CURVES.reached_table,
    ),
    Tabled(
        "How far",
        "The largest compression measured until which the mean test error stays within a limit. Mean excess: error "
        "above the dense network's of the same seed, averaged over log2 of the compression asked for.",
        CURVES.limits_table,
    ),
    Tabled(
        "Against controls",
        "Test error minus the control's, seed by seed, points; below 0: better. At 94 and 200-fold the narrow dense "
        "network is smaller than what it is a control of (table Test error).",
        CURVES.against(CONTROL),
    ),
    Tabled(
        "Corrected for the number of comparisons",
        "Every method against gradual magnitude, Holm's correction within each compression, over paired t tests. Last "
        "column, in points: the true difference that so many seeds with this spread find in four of five cases, the "
        "smallest and the largest of the comparisons.",
        several.table(families(ALL_METHODS)),
    ),
    Tabled("The originals' points", "✓ reproduced, ✗ not reproduced, ? cannot be judged.", of_points(CLAIMS)),
    Tabled("Table 10, audited", "As printed in 2024, and what the papers quoted there report themselves.", audit),
    Tabled("Every sense of compression", "At 94-fold, and of the originals' points; before / after.", every_sense),
    Tabled(
        "Tuning",
        "Validation error (%) for each learning rate, one seed that no arm has; the lowest is used, "
        "at every compression that of the nearer one.",
        BY_RATE.table("method, fold", {arm: rate(*at) for arm, at in POINTS.items()}),
    ),
    Tabled(
        "Tuning of weight decay",
        "Validation error (%) of the originals that were trained with it, the same seed; a paper's other arm has the "
        "same. No other arm has any.",
        BY_DECAY.table("arm", DECAYS),
    ),
)  # fmt: skip
