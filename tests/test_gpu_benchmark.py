"""The benchmark for a GPU runs where there is none, too: every section, at small sizes. Nothing is timed."""

import runpy
from math import isfinite
from pathlib import Path

import pytest

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
        assert any(each.ratio for each in figures) or name == "proof"


def test_what_is_missed_is_said_and_what_is_asked_for_runs(gpu, capsys):
    assert str(gpu["Figure"]("a", 3.2, most=3)).endswith("MISSED")
    assert str(gpu["Figure"]("a", 0.5, least=1)).endswith("MISSED")
    assert "MISSED" not in str(gpu["Figure"]("a", 3, most=3)) + str(gpu["Figure"]("a", most=3))
    gpu["main"](["selection", "--device", "cpu"])
    assert "selection of 1e+05 scores / torch.sort" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        gpu["main"](["everything"])
