"""The benchmark for a GPU runs where there is none, too: every section, at small sizes. Nothing is timed."""

import runpy
from itertools import count
from math import isfinite
from pathlib import Path
from types import SimpleNamespace

import pytest

from sapwood import InputError
from sapwood.data import fashion_mnist

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return runpy.run_path(str(FOLDER / "gpu.py"))


def test_every_section_runs_on_a_cpu(gpu):
    card = gpu["Card"]("cpu")
    for name, section in gpu["SECTIONS"].items():
        figures = list(section(card, gpu["SMALL"]))
        assert figures, name
        assert all(each.ratio is None or (isfinite(each.ratio) and each.ratio >= 0) for each in figures), name
        assert any(each.ratio for each in figures) or name in ("proof", "analysis")  # which need transformers


def test_what_is_missed_is_said_and_what_is_asked_for_runs(gpu, capsys):
    assert str(gpu["Figure"]("a", 3.2, most=3)).endswith("MISSED")
    assert str(gpu["Figure"]("a", 0.5, least=1)).endswith("MISSED")
    assert "MISSED" not in str(gpu["Figure"]("a", 3, most=3)) + str(gpu["Figure"]("a", most=3))
    gpu["main"](["selection", "--device", "cpu"])
    said = capsys.readouterr().out
    assert "selection of 1e+05 scores / torch.sort" in said
    assert said.endswith("nothing is wanted of a CPU\n")
    with pytest.raises(SystemExit):
        gpu["main"](["everything"])


def test_every_bound_is_looked_at_and_what_misses_it_is_named_at_the_end(gpu, capsys, monkeypatch):
    """As on a card whose every figure is too bad."""
    bad = [
        gpu["Figure"]("too slow", 9.0, most=3),
        gpu["Figure"]("  too few", 1.0, least=80_000),
        gpu["Figure"]("good", 1),
    ]
    card = gpu["Card"]("cpu")
    card.cuda = True
    main = gpu["main"].__globals__
    monkeypatch.setitem(main, "Card", lambda device: card)
    monkeypatch.setitem(main, "SECTIONS", {"all": lambda *_: iter(bad)})
    gpu["main"](["--device", "cpu"])
    said = capsys.readouterr().out.splitlines()
    assert [line.endswith("MISSED") for line in said[2:5]] == [True, True, False]
    assert said[-1] == "missed: too slow; too few"


def test_a_tenth_of_the_papers_trials_needs_no_others(gpu, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER.parent)
    tenth = gpu["tenth"]()
    assert len(tenth) == len({trial.id for trial in tenth}) == 48
    assert not any(trial.uses for trial in tenth)
    assert len({trial.method for trial in tenth}) > 3
    assert gpu["steps_kept"]() > 10**7


def test_trials_whose_data_is_missing_are_left_out_and_late_ones_are_stopped(gpu, monkeypatch, tmp_path):
    monkeypatch.delenv("SAPWOOD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fashion_mnist.load.cache_clear()  # what other tests have read
    card = gpu["Card"]("cpu")
    card.cuda = True
    (figure,) = gpu["trials"](card, gpu["SMALL"])
    assert figure.ratio is None
    assert figure.more.startswith("left out: ")
    with pytest.raises(InputError, match="no trial came to the end of an epoch in time"):
        gpu["seen"](gpu["SHORT"], "cpu", 2, 0.0)
    seconds = count()
    monkeypatch.setitem(gpu["seen"].__globals__, "time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))
    found = gpu["seen"](gpu["SHORT"], "cpu", 2, 2.5)  # both begin, and the first end of an epoch is too late
    assert (found.over, found.trials, found.seconds) == (0, 2, 5.0)
    assert found.steps == 2 * 73
