"""One process of several fails: all are over at once, none waits for the one that is gone, and its message is there."""

import os
import signal
from contextlib import closing
from dataclasses import replace

import pytest
from training.ranks import begin, end
from training.test_sharded import sharded

from sapwood.checks import tiny_model, tiny_task
from sapwood.errors import InputError
from sapwood.processes import rank
from sapwood.training.loop import train
from sapwood.training.run import start

pytestmark = pytest.mark.slow  # starting interpreters takes seconds
SHARD = {"DDP": lambda model: model, "FSDP2": sharded}
CASES = [("FSDP2", "killed"), ("DDP", "raised")]
CASES += [("DDP", "killed"), ("FSDP2", "raised")] if "SAPWOOD_RANKS" in os.environ else []


def failing(folder, way, how):
    """Training in which process 1 fails at step 3, while the other is about to wait for its gradients."""
    run = start(replace(tiny_task(), model=lambda: SHARD[way](tiny_model())))
    run.prune({"0.weight": run.model.get_parameter("0.weight").detach().new_ones(8, 6).bool()} if way == "DDP" else {})
    with closing(train(run, epochs=50)) as moments:
        for now in moments:
            if now.step == 3 and rank() == 1:
                if how == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise InputError("node 1 has no space left")


@pytest.mark.parametrize(("way", "how"), CASES)
def test_when_one_process_fails_all_end_within_a_minute(tmp_path, way, how):
    codes = end(begin(failing, 2, tmp_path, way, how), within=60)
    assert None not in codes, "a process was still waiting"
    assert codes[1] == (-signal.SIGKILL if how == "killed" else 1)
    assert codes[0] == 1
    assert "RuntimeError" in (tmp_path / "died 0").read_text()
    if how == "raised":
        assert "InputError: node 1 has no space left" in (tmp_path / "died 1").read_text()
