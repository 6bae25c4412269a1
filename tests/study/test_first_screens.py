"""First screens: whatever rows a study has, its report is written, and says five things first at most."""

import pytest

from sapwood.study.report import LINES, first_lines
from sapwood.study.study import found

NUMBERS = ("accuracy", "bits", "macs", "parameters", "sparsity", "pgd")


def every_row(trials):
    """Last rows of all these trials, as if everything had been run, with numbers that differ a little."""
    for at, trial in enumerate(trials):
        about = {"trial": trial.id, "row": trial.arm, "method": trial.method, "task": trial.task, "seed": trial.seed,
                 "step": 10, "epoch": 1, "phase": None}  # fmt: skip
        for split in ("train", "valid", "test", "network", "note"):
            for metric in NUMBERS:
                yield about | {"split": split, "metric": metric, "value": 0.5 + at % 7 / 100 + trial.seed / 1000}


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", sorted(found()))
def test_a_study_that_has_all_its_rows_says_five_things_first_at_most(name, scale):
    study = found()[name]
    rows = list(every_row(study.at(scale)))
    lines = list(study.verdict(rows)) if study.verdict else first_lines(study, rows)
    assert 1 <= len(lines) <= LINES, lines
