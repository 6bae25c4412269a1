"""torchrun: the program on the page runs by it, and when one process fails it ends the others and shows the message."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif("SAPWOOD_RANKS" not in os.environ, reason="takes half a minute; make nightly runs it")
PAGE = Path(__file__).parents[2] / "docs" / "trainers.md"
HOW = {"raised": 'raise ValueError("no space left on node 1")', "killed": "os.kill(os.getpid(), 9)"}


def program():
    """The last one on the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[-1]


def torchrun(code, folder, world=2):
    (folder / "train.py").write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={world}", "train.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_program_on_the_page_runs(tmp_path, world):
    ended = torchrun(program(), tmp_path, world)
    assert ended.returncode == 0, ended.stderr
    assert "80% of the hidden weights are 0" in ended.stdout
    assert len([*(tmp_path / "checkpoint").glob("*.distcp")]) == world


@pytest.mark.parametrize("how", HOW)
def test_when_one_process_fails_torchrun_ends_within_a_minute(tmp_path, how):
    fails = f"    train(5)\n    if dist.get_rank() == 1:\n        {HOW[how]}\n    train(10)\n"
    before = "    train(10)\n"
    assert program().count(before) == 1
    ended = torchrun(program().replace(before, fails), tmp_path)
    assert ended.returncode != 0
    assert ("no space left on node 1" if how == "raised" else "Signal 9 (SIGKILL)") in ended.stderr
    assert "rank      : 1 " in ended.stderr
