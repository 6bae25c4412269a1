"""Terminal: a study's overview as a table to print."""

from sapwood.extras import optional
from sapwood.study.grid import short
from sapwood.study.study import Study
from sapwood.study.table import Table

with optional("the table of a study"):
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Printed


def terminal_table(study: Study, rows: Table) -> Printed:
    """Each arm's seeds, sparsity, cycles, test accuracy and epochs, in the order the rows come."""
    found = short(rows)
    note = (
        "mean [95 % interval over n seeds]; sparsity: of all weights, and of hidden layers; "
        "zeros alone make nothing faster"
    )
    printed = Printed(
        title=study.title,
        caption=note,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for at, title in enumerate(found.columns):
        printed.add_column(title, justify="left" if at == 0 else "right")
    for line in found.lines:
        printed.add_row(*line)
    return printed
