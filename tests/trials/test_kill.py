"""A trial whose process is killed with SIGKILL at random moments ends with the bits of an undisturbed one.

SAPWOOD_KILLS=20 kills it that often instead of once or twice.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sapwood import checkpoint
from sapwood.tasks import TASKS
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

KILLS = int(os.environ.get("SAPWOOD_KILLS", "0"))
OPTIONS = {"criterion": "active_magnitude", "first": 0.7, "target": 0.9, "stop": "epochs", "plateau": 4}
EPOCHS = {"mlp_digits": 24, "mlp_fashion_smoke": 12} if KILLS else {"mlp_digits": 12, "mlp_fashion_smoke": 6}

LIFE = """
import sys
from pathlib import Path
import torch
from sapwood.trials.execution import run_trial
from sapwood.trials.trial import Trial
torch.set_num_threads(1)
trial = Trial.make("global_activation", sys.argv[1], 0, "G3", **eval(sys.argv[3]))
run_trial(trial, Path(sys.argv[2]) / trial.id, save_every=0.02, tell=lambda told: print(told.text, flush=True))
"""


def live(task: str, results: Path) -> subprocess.Popen[str]:
    """A process that starts the trial, or goes on with it."""
    command = [sys.executable, "-c", LIFE, task, str(results), repr(OPTIONS | {"epochs": EPOCHS[task]})]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def trial_folder(task: str, results: Path) -> Path:
    return results / Trial.make("global_activation", task, 0, "G3", epochs=EPOCHS[task], **OPTIONS).id


def undisturbed(task: str, results: Path) -> float:
    """Runs the trial to its end; the seconds from its first word to its last."""
    with live(task, results) as process:
        process.stdout.readline()
        began = time.monotonic()
        process.communicate()
        assert process.returncode == 0
        return time.monotonic() - began


def killed(task: str, results: Path, wait: float, *, while_starting: bool) -> None:
    """One life, ended by SIGKILL `wait` seconds after it began, or after its first word."""
    with live(task, results) as process:
        if not while_starting:
            assert process.stdout.readline().startswith(("starting", "resumed"))
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the trial was over before it could be killed"


def assert_nothing_half_written(folder: Path) -> None:
    """What is there can be read; rows may lack their end, never be wrong."""
    state = folder / "state.safetensors"
    if state.exists():
        assert checkpoint.read(state)["step"] >= 0
    if (folder / "rows.jsonl").exists():
        steps = [row.step for row in read_rows(folder / "rows.jsonl")]
        assert steps == sorted(steps)
    assert not (folder / "weights.safetensors").exists()
    assert not (folder / "done").exists()


def torn_off_and_compared(task: str, tmp_path: Path, kills: int) -> None:
    luck = random.Random(7)
    whole = undisturbed(task, tmp_path / "whole")
    for kill in range(kills):
        starting = kill % 5 == 4
        wait = luck.uniform(0.2, 2.0) if starting else luck.uniform(0, whole / (kills + 1))
        killed(task, tmp_path / "torn", wait, while_starting=starting)
        assert_nothing_half_written(trial_folder(task, tmp_path / "torn"))
    undisturbed(task, tmp_path / "torn")
    one, other = (trial_folder(task, tmp_path / name) for name in ("whole", "torn"))
    weights, again = (checkpoint.read(folder / "weights.safetensors") for folder in (one, other))
    assert checkpoint.fingerprint(weights) == checkpoint.fingerprint(again)
    assert all(torch.equal(weights["model"][name], value) for name, value in again["model"].items())
    assert read_rows(one / "rows.jsonl") == read_rows(other / "rows.jsonl")
    assert {path.name for path in other.iterdir()} == {"trial.json", "rows.jsonl", "weights.safetensors", "done"}


@pytest.mark.slow
def test_killed_on_digits(tmp_path):
    torn_off_and_compared("mlp_digits", tmp_path, KILLS or 1)


@pytest.mark.slow
@pytest.mark.data
def test_killed_on_fashion_mnist(tmp_path, real_data):
    real_data(TASKS["mlp_fashion_smoke"])
    torn_off_and_compared("mlp_fashion_smoke", tmp_path, KILLS or 2)
