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
    recorded = baselines["recorded"]().keys()
    assert baselines["MEASURED"].keys() <= recorded
    assert all(name.startswith(baselines["CI"]) for name in recorded - baselines["MEASURED"].keys())
    assert baselines["ci_name"](2, True) in recorded
    assert all(ratio > 0 for ratio in baselines["recorded"]().values())


def test_what_is_slower_is_said(baselines):
    before = {"step": 1.2, "sites": 2.0, "import": 1.1}
    today = {"step": 1.2 * 1.3, "sites": 2.0 * 1.2, "import": 0.5, "new": 9.0}
    found = baselines["lines"](today, before)
    assert [slow for _, slow in found] == [True, False, False, False]
    assert [line.split()[-1] for line, _ in found] == ["1.30", "1.20", "0.45", "yet"]


def test_where_nothing_was_recorded_the_line_says_so(baselines):
    [(line, slow)] = baselines["lines"]({"new": 9.0}, {})
    assert (line.split(), slow) == (["new", "9.000", "none", "yet"], False)


def test_cis_time_is_compared_with_that_of_the_same_tests_on_as_many_cores(baselines):
    names = {baselines["ci_name"](cores, data) for cores in (1, 2, 16) for data in (False, True)}
    assert len(names) == 6
    [(line, _)] = baselines["lines"]({baselines["ci_name"](16, True): 80.0}, baselines["recorded"]())
    assert line.endswith("none yet")
