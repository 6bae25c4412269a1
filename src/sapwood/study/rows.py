"""Rows: what a trial found, one line of JSON each, in a file that is only ever appended to."""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from sapwood import checkpoint
from sapwood.errors import InputError


class Row(NamedTuple):
    """One number. `phase` says which call of train it was seen in; None: measured once, when the trial was over."""

    step: int
    epoch: int
    phase: int | None
    split: str  # "train", "valid", "test"; "network"; "prune": when a prune was made; "note": what a method noted
    metric: str
    value: float | None  # None: not a finite number


class RowFile:
    """An open rows.jsonl. Every row is handed to the system at once; `settle` waits until the disk has them all."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, *rows: Row) -> None:
        """Append rows."""
        self._file.write("".join(f"{json.dumps(_finite(row)._asdict(), allow_nan=False)}\n" for row in rows))
        self._file.flush()

    def settle(self) -> None:
        """Nothing written so far is lost when the machine stops."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, none if there is no file; a torn last line, left by a killed process, is passed over."""
    if not path.exists():
        return []
    *lines, _torn = path.read_bytes().split(b"\n")
    return [_parsed(path, number, line) for number, line in enumerate(lines, start=1)]


def cut(path: Path, step: int) -> list[Row]:
    """Forget the rows of steps after `step` and those of the trial's end; what is left, is in the file and returned."""
    kept = [row for row in read_rows(path) if row.step <= step and row.phase is not None]
    checkpoint.replace(path, "".join(f"{json.dumps(row._asdict())}\n" for row in kept).encode())
    return kept


def _parsed(path: Path, number: int, line: bytes) -> Row:
    try:
        return Row(**json.loads(line))
    except (ValueError, TypeError) as error:
        message = f"line {number} of {path} is not a row ({error}); delete the trial's folder and run it again"
        raise InputError(message) from error


def _finite(row: Row) -> Row:
    value: Any = row.value
    return row if value is None or math.isfinite(value) else row._replace(value=None)
