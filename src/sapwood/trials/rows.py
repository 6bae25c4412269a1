"""Rows: what a trial found, one line of JSON each, in a file that is only ever appended to."""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from sapwood import disk, schema
from sapwood.errors import InputError
from sapwood.training import checkpoint


class Row(NamedTuple):
    """One number. `phase` says which call of train it was seen in; None: measured once, when the trial was over."""

    step: int
    epoch: int
    phase: int | None
    split: str  # "train", "valid", "test"; "network"; "prune": when a prune was made; "note": what a method noted
    metric: str
    value: float | None  # None: not a finite number


ROW = schema.record({
    "step": schema.whole(), "epoch": schema.whole(), "phase": schema.optional(schema.whole()),
    "split": schema.text, "metric": schema.text, "value": schema.optional(schema.number),
})  # fmt: skip


class RowFile:
    """An open rows.jsonl. Every row is handed to the system at once; `settle` waits until the disk has them all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab", buffering=0)  # nothing stays behind here when a disk is full
        except (OSError, ValueError) as error:
            raise disk.unwritten(f"write {path}", error) from error

    def write(self, *rows: Row) -> None:
        """Append rows."""
        left = memoryview(in_lines(*rows))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise disk.unwritten(f"write {self._path}", error) from error

    def settle(self) -> None:
        """Nothing written so far is lost when the machine stops."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise disk.unwritten(f"write {self._path}", error) from error

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()


def in_lines(*rows: Row) -> bytes:
    """The rows as they are in a file."""
    return "".join(f"{json.dumps(_finite(row)._asdict(), allow_nan=False)}\n" for row in rows).encode()


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, none if there is no file; a torn last line, left by a killed process, is passed over."""
    return rows_in(disk.read(path), path) if disk.there(path) else []


def rows_in(content: bytes, path: Path) -> list[Row]:
    """The rows in the bytes of a file, which errors call by its path."""
    *lines, _torn = content.split(b"\n")
    return [_parsed(path, number, line) for number, line in enumerate(lines, start=1)]


def cut(path: Path, step: int) -> list[Row]:
    """Forget the rows of steps after `step` and those of the trial's end; what is left, is in the file and returned."""
    kept = [row for row in read_rows(path) if row.step <= step and row.phase is not None]
    checkpoint.replace(path, in_lines(*kept))
    return kept


def _parsed(path: Path, number: int, line: bytes) -> Row:
    try:
        found = schema.parse(line)
        ROW(found, "it")
    except schema.Unexpected as error:
        message = f"line {number} of {path} is not a row ({error}); delete the trial's folder and run it again"
        raise InputError(message) from error
    return Row(**found)


def _finite(row: Row) -> Row:
    value: Any = row.value
    return row if value is None or math.isfinite(value) else row._replace(value=None)
