"""Kept: the rows behind README's numbers, and numbers as README writes them."""

import csv
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sapwood.study.grid import number
from sapwood.study.seeds import Seeds, summed_up
from sapwood.study.study import find
from sapwood.study.table import Summary, Table
from sapwood.trials import digests

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "studies" / "results"
STUDIES = {  # name: its file
    "quickstart": "quickstart.py",
    "activation_pruning": "activation_pruning/__init__.py",
    "lenet300": "lenet300/__init__.py",
    "lenet300_record": "lenet300_record.py",
}
COURSES = ("nuclear_", "effective_rank_", "stable_rank_")  # of rows V, at the end of each epoch


@cache
def kept(name: str) -> Table:
    """The rows of a study that README needs: those of the end, training accuracies, courses of singular values."""
    folder = KEPT / name
    assert digests.there(folder), f"{folder} has no digests; write them with report --keep"
    digests.check(folder, ("trials.csv", "rows.csv"))
    with (folder / "trials.csv").open(newline="") as file:
        trials = {line["trial"]: line for line in csv.DictReader(file)}
    courses = {trial for trial, line in trials.items() if line["row"].startswith("V ")}
    with (folder / "rows.csv").open(newline="") as file:
        head, *lines = file.read().splitlines()
    wanted = csv.DictReader([head, *(line for line in lines if _wanted(line, courses))])
    return [_row(trials[line["trial"]], line) for line in wanted]


def _wanted(line: str, courses: set[str]) -> bool:
    """Looked at before it is taken apart, since there are a million lines."""
    trial, _, rest = line.partition(",")
    at_end, trained = rest.startswith(","), ",train,accuracy," in rest
    return at_end or trained or (trial in courses and any(f",network,{each}" in rest for each in COURSES))


def _row(trial: dict[str, str], line: dict[str, str]) -> dict[str, object]:
    value, phase = (float(line[name]) if line[name] else None for name in ("value", "phase"))
    about = {"trial": trial["trial"], "row": trial["row"], "task": trial["task"], "seed": int(trial["seed"])}
    where = {name: line[name] for name in ("split", "metric")} | {name: int(line[name]) for name in ("step", "epoch")}
    return about | where | {"phase": phase, "value": value}


@cache
def part(study: str, module: str):
    """A file of a study that is a folder."""
    _load(study)
    return sys.modules[f"sapwood_study_{study}" + (f".{module}" if module else "")]


@cache
def _load(study: str) -> None:
    find(str(ROOT / "studies" / STUDIES[study]))


def told(found: Summary | None, decimals: int) -> str:
    """Mean and interval."""
    return number(found, decimals).replace("\u00a0", " ")


def mean(seeds: Seeds, decimals: int) -> str:
    """The mean alone."""
    return f"{sum(seeds.values()) / len(seeds):,.{decimals}f}"


def above(pairs: Mapping[Any, Seeds]) -> int:
    """Of how many comparisons the whole interval lies above 0."""
    return sum(found.low is not None and found.low > 0 for found in map(summed_up, pairs.values()))


def below(pairs: Mapping[Any, Seeds]) -> int:
    """Of how many it lies below."""
    return sum(found.high is not None and found.high < 0 for found in map(summed_up, pairs.values()))
