"""The paper's study at scale smoke, all of it: every row trained, every table and figure made, kept and made again."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sapwood.study.speed import FILE as SPEED
from sapwood.study.study import find
from sapwood.tasks import TASKS
from sapwood.trials.archive import add

STUDY = find("activation_pruning")


def sapwood(*words: str) -> str:
    """What the command says, on both streams; it must end well."""
    done = subprocess.run([sys.executable, "-c", "from sapwood.cli import main; main()", *words], capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout + done.stderr


def shape(page: str) -> tuple[list[str], int]:
    """The headings of a report, and how many drawings it has."""
    return re.findall(r"<h[23]>(.*?)</h[23]>", page), page.count("<svg")


@pytest.mark.slow
@pytest.mark.data
def test_every_row_table_and_figure_is_made_and_made_again_from_what_is_kept(tmp_path: Path, real_data):
    real_data(TASKS["mlp_fashion_smoke"])
    there, again = (str(tmp_path / name) for name in ("there", "again"))
    said = sapwood("run", "activation_pruning", "--scale", "smoke", "--results", there)
    trials = STUDY.at("smoke")
    assert f"{len(trials)} trials" in said
    folder = tmp_path / "there" / "activation_pruning"
    assert not list(folder.glob("*/failed"))
    page = (folder / "report.html").read_text("utf-8")
    headings, drawings = shape(page)
    assert drawings == len(STUDY.figures) == 19
    assert len(STUDY.tables) == 31
    assert {each.title for each in (*STUDY.figures, *STUDY.tables)} <= {h.replace("&amp;", "&") for h in headings}
    assert "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert len(page) < 5_000_000

    # What `sapwood report --keep` does after it has drawn the report once more.
    assert add(folder, tmp_path / "kept" / "activation_pruning", trials, (*STUDY.files, SPEED)) == len(trials)
    sapwood("report", "activation_pruning", "--results", again, "--from", str(tmp_path / "kept"))
    other = (tmp_path / "again" / "activation_pruning" / "report.html").read_text("utf-8")
    assert shape(other) == (headings, drawings)
