"""One process of several fails: all are over at once, none waits for the one that is gone, and its message is there.

What was saved before is whole, and what goes on from it ends as a run that nothing has happened to.
"""

import os
import resource
import signal
from contextlib import closing, contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from training.ranks import begin, end
from training.test_sharded import sharded

from sapwood import processes
from sapwood.checks import tiny_model, tiny_task
from sapwood.errors import InputError
from sapwood.processes import rank
from sapwood.training import parts
from sapwood.training.loop import train
from sapwood.training.run import start

pytestmark = pytest.mark.slow  # starting interpreters takes seconds
SHARD = {"DDP": lambda model: model, "FSDP2": sharded}
CASES = [("FSDP2", "killed"), ("DDP", "raised")]
CASES += [("DDP", "killed"), ("FSDP2", "raised")] if "SAPWOOD_RANKS" in os.environ else []
EPOCHS, SAVED = 3, 6  # the end of the first


def begun(shard, saved=None):
    """A run with a mask, or what is left of one."""
    run = start(replace(tiny_task(), model=lambda: shard(tiny_model())), saved=saved)
    run.prune({"0.weight": torch.arange(48).view(8, 6) % 3 > 0})
    return run


def failing(folder, way, how):
    """Training in which process 1 fails at step 9, while the other is about to wait for its gradients or its parts.

    Of a sharded model the second save fails for want of room in process 1, and in the third it is killed.
    """
    run = begun(SHARD[way])
    with closing(train(run, epochs=EPOCHS)) as moments:
        for now in moments:
            if now.step == SAVED and (way == "FSDP2" or rank() == 0):
                run.save(folder / "state")
            if now.step != SAVED + 3:
                continue
            if way == "FSDP2":
                full(run, folder)
            if rank() == 1:
                if how == "raised":
                    raise InputError("node 1 has no space left")
                if way == "DDP":
                    os.kill(os.getpid(), signal.SIGKILL)
                with patch.object(parts, "_sums", lambda files: os.kill(os.getpid(), signal.SIGKILL)):
                    run.save(folder / "state")  # its part is written, and the file that names all parts is not
            elif how == "killed" and way == "FSDP2":
                run.save(folder / "state")


def full(run, folder):
    """A save in which process 1 may write no file of any size; what each process says of it."""
    with pytest.raises(InputError) as said, no_room() if rank() == 1 else patch.object(parts, "REST", parts.REST):
        run.save(folder / "state")
    (folder / f"said {rank()}").write_text(str(said.value))
    (folder / f"there {rank()}").write_text(" ".join(sorted(each.name for each in (folder / "state").iterdir())))


@contextmanager
def no_room():
    """Writing fails, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def trained(saved=None):
    """By one process, to the end: its weights and metrics."""
    run = begun(SHARD["DDP"], saved)
    metrics = [dict(now.metrics) for now in train(run, epochs=EPOCHS) if now.ends_epoch]
    return run, metrics


@pytest.mark.parametrize(
    ("world", "words", "says"),
    [
        (2, "pair.cc:534] Connection closed by peer [127.0.0.1]", "process 0 has lost another, .*Connection closed by"),
        (2, "Expected to have finished reduction in the prior iteration", "have no part in a step's loss, .*; run one"),
        (1, "Connection closed by peer", "^Connection closed by peer"),
        (2, "shapes cannot be multiplied", "^shapes cannot be multiplied"),
    ],
)
def test_what_torch_says_of_several_processes_is_said_plainly(world, words, says):
    with (
        patch.multiple(processes, world=lambda: world, rank=lambda: 0),
        pytest.raises((InputError, RuntimeError), match=says),
        processes.connected(),
    ):
        raise RuntimeError(words)


@pytest.mark.parametrize(("way", "how"), CASES)
def test_when_one_process_fails_all_end_within_a_minute_and_one_goes_on(tmp_path, way, how):
    codes = end(begin(failing, 2, tmp_path, way, how), within=60)
    assert None not in codes, "a process was still waiting"
    assert codes[1] == (-signal.SIGKILL if how == "killed" else 1)
    assert codes[0] == 1
    assert "InputError: process 0 has lost another, which has ended or cannot be" in (tmp_path / "died 0").read_text()
    if how == "raised":
        assert "InputError: node 1 has no space left" in (tmp_path / "died 1").read_text()
    if way == "FSDP2":
        for number in (0, 1):
            says = f"cannot write the parts of a state to {tmp_path}/state/parts-"
            assert (tmp_path / f"said {number}").read_text().startswith(says)
            assert "(process 1): File too large; raise the limit" in (tmp_path / f"said {number}").read_text()
            left = (tmp_path / f"there {number}").read_text().split()
            assert [name.partition("-")[0] for name in left] == ["parts", parts.REST], "something is half written"
    (undisturbed, wanted), (run, found) = trained(), trained(tmp_path / "state")
    assert (run.step, found) == (undisturbed.step, [pytest.approx(each, abs=1e-12) for each in wanted[1:]])
    assert torch.equal(run.masks["0.weight"], undisturbed.masks["0.weight"])
    for name, value in undisturbed.model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=0, atol=1e-12)
