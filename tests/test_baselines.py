"""The recorded baselines: one for all that is measured, and what is slower is told from noise. Nothing is timed."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def baselines(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return runpy.run_path(str(FOLDER / "baselines.py"))


def test_everything_that_is_measured_has_a_recorded_ratio(baselines):
    assert baselines["MEASURED"].keys() <= baselines["recorded"]().keys() <= {*baselines["MEASURED"], baselines["CI"]}
    assert all(ratio > 0 for ratio in baselines["recorded"]().values())


def test_what_is_slower_is_said(baselines):
    before = {"step": 1.2, "sites": 2.0, "import": 1.1}
    today = {"step": 1.2 * 1.3, "sites": 2.0 * 1.2, "import": 0.5, "new": 9.0}
    found = baselines["lines"](today, before)
    assert [slow for _, slow in found] == [True, False, False, False]
    assert [float(line.split()[-1]) for line, _ in found] == [1.3, 1.2, 0.45, 1.0]
