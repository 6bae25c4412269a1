"""Archive: results as two small CSV files that go into git, without weights, and folders of results made of it again.

trials.csv   a line for each trial that is over: what it is, what it took, what it was made with
rows.csv     what it found, a number a line: whole numbers in full, others to 7 significant digits
digests.txt  what the bytes of both were, and of the study's other files (`trials.digests`)

rows.csv omits two kinds of numbers: values equal to the previous epoch's, which `restore` fills in; and, for seeds
above 0, the singular values at all prunes but the first and the last, which are lost.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sapwood import disk, schema
from sapwood.errors import InputError
from sapwood.training import checkpoint
from sapwood.trials import digests
from sapwood.trials.execution import Busy, alone, make_folder, over, read_trial, sums
from sapwood.trials.folder import check_about, check_sums, ending, forget, in_json, rows_of
from sapwood.trials.rows import Row, in_lines
from sapwood.trials.trial import Trial

S = TypeVar("S")
T = TypeVar("T")
Line = Mapping[str, str]

LIFE = ("sapwood", "commit", "python", "torch", "numpy", "device", "threads", "started")  # of several lives: a | b
SUMS: dict[str, Callable[[str], float]] = {"seconds": float, "steps": int, "epochs": int}
TRIALS = ("trial", "arm", "method", "task", "seed", *SUMS, "numbers", *LIFE, "data", "identity", "options")
ARM = {"row": "arm"}  # the name of a column in the last release
FILES = ("trials.csv", "rows.csv")
ROWS = ("trial", *("phase", "step", "epoch", "split", "metric", "value"))
AND = " | "
MOST = 5_000_000  # rows of a trial
SPECTRA = ("before prune", "after prune")  # thousands of numbers a trial
AT_EPOCH = ("train", "valid", "network")  # the splits seen at the end of each epoch


class Archived(NamedTuple):
    """A trial as an archive has it: what its folder's trial.json, `kept` and rows.jsonl say."""

    about: dict[str, Any]
    sums: dict[str, float]
    rows: list[Row]


def add(folder: Path, target: Path, trials: Sequence[Trial], files: Iterable[str] = ()) -> int:
    """Write the finished ones of `trials` in `folder` to trials.csv and rows.csv in `target`; returns how many.

    `files` are the study's other files; missing ones are skipped. Digests are written last. Trials that were there
    before are dropped, except those of `trials`: InputError asks to restore them first.
    """
    found = [_found(folder / trial.id) for trial in trials if over(folder / trial.id)]
    if not found:
        raise InputError(f"no trial in {folder} is finished, so there is nothing for an archive; run some first")
    make_folder(target)
    _refuse_to_lose(target, {trial.id for trial in trials} - {each.about["id"] for each in found}, folder)
    _write(target / "rows.csv", ROWS, (_row_line(each.about["id"], row) for each in found for row in each.rows))
    _write(target / "trials.csv", TRIALS, map(_trial_line, found))
    more = list(files)
    copied(more, folder, target)
    digests.write(target, (*FILES, *more))
    return len(found)


def restore(target: Path, folder: Path) -> int:
    """Recreate in `folder` the folders of the trials in the archive `target`; returns how many.

    A trial that is over there, has anything saved to go on from, or is being run is left alone. Everything is read
    and checked before the first file is written.
    """
    return sum(_put(each, folder / each.about["id"]) for each in read_archive(target))


def copied(names: Iterable[str], source: Path, target: Path) -> None:
    """Copy a study's own files (not its trials'); missing ones are skipped."""
    for path in (source / name for name in names):
        if disk.there(path):
            checkpoint.replace(target / path.name, disk.read(path))


def read_archive(target: Path) -> list[Archived]:
    """The trials of the archive `target`, in order. Refused when a file is not what its digest says."""
    rows: dict[str, list[Row]] = {}
    trials: dict[str, tuple[int, Line, Archived]] = {}
    for number, line in _lines(target / "trials.csv", TRIALS):
        read = _checked(target / "trials.csv", number, _trial, line)
        if read.about["id"] in trials:
            raise _damaged(target / "trials.csv", number, f"trial {read.about['id']} is there twice")
        trials[read.about["id"]] = number, line, read
    for number, line in _lines(target / "rows.csv", ROWS):
        if line["trial"] not in trials:
            raise _damaged(target / "rows.csv", number, f"trial {line['trial']!r} is not in trials.csv")
        rows.setdefault(line["trial"], []).append(_checked(target / "rows.csv", number, _row, line))
    for trial, (number, line, _) in trials.items():
        if line["numbers"] != str(len(rows.get(trial, ()))):
            there = f"rows.csv has {len(rows.get(trial, ()))} lines of trial {trial}, not {line['numbers']}"
            raise _damaged(target / "trials.csv", number, there)
    digests.check(target, FILES)  # last, since what was said so far names the line
    return [
        read._replace(rows=_checked(target / "trials.csv", number, _filled, rows.get(trial, [])))
        for trial, (number, _, read) in trials.items()
    ]


def read_trials(target: Path) -> list[Archived]:
    """The trials of the archive `target` without rows, in order. Refused unless trials.csv is as digested."""
    path = target / "trials.csv"
    read = [_checked(path, number, _trial, line) for number, line in _lines(path, TRIALS)]
    digests.check(target, ("trials.csv",))
    return read


def _found(folder: Path) -> Archived:
    about = read_trial(folder)
    return Archived(about, sums(folder), _shortened(rows_of(folder), about["seed"]))


def _shortened(rows: Iterable[Row], seed: int) -> list[Row]:
    """The rows without repeated values between first and last and, for seeds above 0, with fewer singular values."""
    every = list(rows)
    prunes = sorted({row.step for row in every if row.split in SPECTRA})
    shown = [row for row in every if seed == 0 or row.split not in SPECTRA or row.step in (prunes[0], prunes[-1])]
    last = {row.metric: at for at, row in enumerate(shown) if _stands(row)}
    standing: dict[str, str] = {}
    kept = []
    for at, row in enumerate(shown):
        if not _stands(row):
            kept.append(row)
        elif standing.get(row.metric) != _text(row.value) or last[row.metric] == at:
            standing[row.metric] = _text(row.value)
            kept.append(row)
    return kept


def _filled(rows: Sequence[Row]) -> list[Row]:
    """The rows with unchanged values filled in, at each epoch's end between a metric's first and last row."""
    left = Counter(row.metric for row in rows if _stands(row))
    standing: dict[str, Row] = {}
    filled: list[Row] = []
    for place, group in groupby(rows, key=_epoch_end):
        here = list(group)
        filled += [row for row in here if not _stands(row)]
        if place is not None:
            changed = {row.metric: row for row in here if _stands(row)}
            standing |= changed
            left.subtract(changed.keys())
            filled += [row._replace(phase=place[0], step=place[1], epoch=place[2]) for row in standing.values()]
            standing = {metric: row for metric, row in standing.items() if left[metric] > 0}
        if len(filled) > MOST:  # no trial's, and more than fit into memory in the end
            raise ValueError(f"with the numbers that stayed it has more than {MOST:,} rows")
    return filled


def _stands(row: Row) -> bool:
    """Whether the row describes the network at the end of an epoch: such values often repeat."""
    return row.split == "network" and row.phase is not None


def _epoch_end(row: Row) -> tuple[int, int, int] | None:
    return None if row.phase is None or row.split not in AT_EPOCH else (row.phase, row.step, row.epoch)


def _refuse_to_lose(target: Path, absent: set[str], folder: Path) -> None:
    path = target / "trials.csv"
    before = [line["trial"] for _, line in _lines(path, TRIALS)] if disk.there(path) else []
    if lost := absent.intersection(before):
        raise InputError(
            f"{len(lost)} of the trials kept in {target} are not finished in {folder}, so that they would be lost; "
            "restore them first with --from, or keep to another folder"
        )


def _trial_line(kept: Archived) -> dict[str, Any]:
    about = kept.about
    lives: dict[tuple[Any, ...], dict[str, Any]] = {}
    for life in about["provenance"]:  # those that differ in more than their start
        lives.setdefault(tuple(life[name] for name in LIFE[:-1]), life)
    made = {name: AND.join(_word(life[name]) for life in lives.values()) for name in LIFE}
    plain = {"arm": about["row"], **{name: about[name] for name in ("method", "task", "seed", "data")}}
    packed = {name: json.dumps(about[name], separators=(",", ":")) for name in ("identity", "options")}
    return {
        "trial": about["id"],
        **plain,
        **{n: kept.sums[n] for n in SUMS},
        "numbers": len(kept.rows),
        **made,
        **packed,
    }


def _row_line(trial: str, row: Row) -> dict[str, Any]:
    return {"trial": trial, **row._asdict(), "phase": _word(row.phase), "value": _text(row.value)}


def _word(value: object) -> str:
    return "" if value is None else str(value)


def _text(value: float | None) -> str:
    """A number as it is kept; whole ones, which are counts, lose nothing."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else f"{value:.7g}"


def _write(path: Path, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    checkpoint.replace(path, text.getvalue().encode())


def _lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Line]]:
    """The lines of a kept file below its first, each with its number in the file."""
    reader = csv.reader(io.StringIO(_text_of(path), newline=""), strict=True)
    try:
        if tuple(ARM.get(name, name) for name in next(reader)) != tuple(columns):
            raise _damaged(path, 1, f"the columns should be {','.join(columns)}")
        for cells in reader:
            if len(cells) != len(columns):
                raise _damaged(path, reader.line_num, f"it has {len(cells)} cells, not {len(columns)}")
            yield reader.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise _damaged(path, reader.line_num, str(error)) from error


def _text_of(path: Path) -> str:
    try:
        content = disk.read(path, advice="was anything kept there?")
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _damaged(path, 1 + content[: error.start].count(b"\n"), "it is not UTF-8") from error
    if not text.endswith("\n"):
        raise _damaged(path, 1 + text.count("\n"), "its end is missing")
    return text


def _checked(path: Path, number: int, parse: Callable[[S], T], line: S) -> T:
    try:
        return parse(line)
    except ValueError as error:
        raise _damaged(path, number, str(error)) from error


def _damaged(path: Path, number: int, why: str) -> InputError:
    return InputError(f"line {number} of {path} cannot be used ({schema.brief(why)}); take the file from git again")


def _trial(line: Line) -> Archived:
    about = {
        "id": line["trial"], "row": line["arm"], "method": line["method"], "task": line["task"],
        "seed": schema.read_whole(line["seed"]), "options": schema.parse(line["options"]),
        "identity": schema.parse(line["identity"]), "data": line["data"], "provenance": _lives(line),
    }  # fmt: skip
    check_about(about)
    took = {
        name: schema.read_whole(line[name]) if kind is int else schema.read_number(line[name])
        for name, kind in SUMS.items()
    }
    check_sums(took)
    return Archived(about, took, [])


def _lives(line: Line) -> list[dict[str, Any]]:
    columns = [line[name].split(AND) for name in LIFE]
    lives: list[dict[str, Any]] = [dict(zip(LIFE, values, strict=True)) for values in zip(*columns, strict=True)]
    return [life | {"commit": life["commit"] or None, "threads": schema.read_whole(life["threads"])} for life in lives]


def _row(line: Line) -> Row:
    phase = schema.read_whole(line["phase"]) if line["phase"] else None
    value = schema.read_number(line["value"]) if line["value"] else None
    return Row(
        schema.read_whole(line["step"]), schema.read_whole(line["epoch"]), phase, line["split"], line["metric"], value
    )


def _put(kept: Archived, folder: Path) -> bool:
    """Write the folder, unless it holds a finished or resumable run. `kept` is written last: it marks it complete."""
    make_folder(folder)
    try:
        with alone(folder):
            if over(folder) or disk.there(folder / "state.safetensors"):
                return False
            rows = in_lines(*kept.rows)
            checkpoint.replace(folder / "rows.jsonl", rows)
            checkpoint.replace(folder / "trial.json", in_json(kept.about))
            forget([folder / "failed"])
            checkpoint.replace(folder / "kept", in_json(ending(kept.sums, rows)))
    except Busy:
        return False
    return True
