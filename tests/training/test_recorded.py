"""Captured steps: recorded on a tape where there is no GPU; the same as steps one by one, resumed, stopped by NaN."""

import warnings
from dataclasses import replace

import pytest
import torch
from planted.recording import OPTIMIZERS, Tape, near, record_laws, taped
from planted.stepping_together import undropped

from sapwood import InputError
from sapwood.checks.tiny import tiny_task
from sapwood.training import recorded
from sapwood.training.loop import descend, train
from sapwood.training.run import start


@pytest.mark.parametrize("law", record_laws().values(), ids=record_laws())
def test_law(law):
    law()


def test_a_cpu_makes_steps_one_by_one_and_says_so():
    with pytest.warns(UserWarning, match="steps are not captured: the run is on 'cpu', and only 'cuda' has graphs"):
        said = [now.loss for now in train(start(tiny_task()), epochs=1, captured=True)]
    assert said == [now.loss for now in train(start(tiny_task()), epochs=1)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda run: setattr(run, "dense", True), "run.dense"),
        (
            lambda run: setattr(run, "optimizer", torch.optim.Adagrad(run.model.parameters())),
            "the optimiser is Adagrad",
        ),
        (lambda run: run.model[0].register_forward_hook(lambda *_: None), "a Linear has a hook that is not sapwood's"),
        (lambda run: setattr(run, "task", replace(run.task, count=lambda batch: 1.0)), "counts something else"),
        (lambda run: setattr(run, "stepping", lambda run, update: 0.0), "trials are stepping together"),
    ],
)
def test_what_cannot_be_captured_is_named(change, why):
    run = start(tiny_task())
    run.device = torch.device("cuda")
    assert recorded.unrecordable(run, descend, descend) == ""
    change(run)
    assert why in recorded.unrecordable(run, descend, descend)


def test_an_update_of_ones_own_is_not_captured():
    run = start(tiny_task())
    run.device = torch.device("cuda")
    assert "update= is a function of your own" in recorded.unrecordable(run, lambda run, batch: None, descend)


def test_a_layer_that_reads_a_number_is_named_as_such():
    run = start(tiny_task())
    run.loss = lambda model, batch, outputs: outputs.sum() * outputs.detach().sum().item()
    with taped(), pytest.raises(InputError, match=r"the step cannot be captured \(a number was read .*; train without"):
        list(train(run, steps=9, captured=True))


def test_a_hook_that_comes_later_is_refused():
    run = start(tiny_task())
    with taped():
        moments = train(run, steps=9, captured=True)
        for _ in range(6):
            next(moments)
        run.model[0].register_forward_hook(lambda *_: None)
        with pytest.raises(InputError, match="a Linear has a hook that is not sapwood's"):
            next(moments)


def test_a_moments_loss_may_be_read_later():
    optimizer = OPTIMIZERS["SGD"]
    with taped():
        moments = list(train(start(replace(tiny_task(), optimizer=optimizer)), epochs=2, captured=True))
        late = [now.loss for now in moments]
    plain = [now.loss for now in train(start(replace(tiny_task(), optimizer=optimizer)), epochs=2)]
    near(plain, late, "losses")


def test_the_tape_is_a_recording():
    """What it replays is read from where it was read, and written to where it was written."""
    x, total = torch.ones(3), torch.zeros(3)
    tape = Tape()
    tape.record(lambda: total.add_(x * 2))
    tape.replay()
    x.fill_(5.0)
    tape.replay()
    assert total.tolist() == [12.0] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_captures_what_it_does_one_by_one():
    task = replace(tiny_task(), optimizer=OPTIMIZERS["Adam"])
    runs = [start(task, device="cuda") for _ in range(2)]
    for run, captured in zip(runs, (False, True), strict=True):
        undropped(run.model)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            list(train(run, epochs=3, captured=captured))
    for one, other in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)
