"""Attached: numbers that a page carries with it, as links that a browser saves as a file."""

import base64
import csv
import gzip
import io
from typing import NamedTuple

from sapwood.study.grid import Grid
from sapwood.study.table import Table, final

COLUMNS = ("trial", "arm", "method", "task", "seed", "step", "epoch", "split", "metric", "value")
LARGE = 500_000  # bytes of CSV; what is larger is packed


class File(NamedTuple):
    """A file's name, what it is in words, and its bytes as an address."""

    name: str
    words: str
    address: str


def rows_file(study: str, rows: Table) -> File:
    """The numbers measured when each trial was over, from which nearly all tables are made."""
    ended = final(rows)
    named = ({"arm": row["row"]} | row for row in ended)
    text = _csv([COLUMNS, *([row.get(name, "") for name in COLUMNS] for row in named)])
    words = f"{len(ended):,} numbers, measured when a trial was over, as CSV"
    if len(text) <= LARGE:
        return File(f"{study}.csv", words, _address("text/csv;charset=utf-8", text))
    packed = gzip.compress(text, mtime=0)  # no time in it: the same rows give the same page
    return File(f"{study}.csv.gz", f"{words}, packed by gzip", _address("application/gzip", packed))


def table_file(study: str, number: int, grid: Grid) -> File:
    """A table as it is shown."""
    return File(
        f"{study}-table-{number}.csv", "as CSV", _address("text/csv;charset=utf-8", _csv([grid.columns, *grid.lines]))
    )


def _csv(lines: list[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)  # type: ignore[arg-type]
    return text.getvalue().encode()


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
