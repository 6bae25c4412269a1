"""Text read in order: in training a recurrent network begins where it ended, and an evaluation begins anew."""

from itertools import pairwise

import pytest
import torch
from recurrent import recurrent_task

from sapwood import InputError, processes, start, train
from sapwood.checks import broken, check_task
from sapwood.checks.life import saved_now
from sapwood.checks.task import _numbered
from sapwood.tasks import TASKS, goal_of
from sapwood.training.goal import BITS
from sapwood.training.loop import measured
from sapwood.training.windows import tokens

STILL = recurrent_task(lr=0.0)


def test_a_task_that_carries_a_state_obeys_the_laws_of_tasks():
    assert broken(check_task("recurrent", recurrent_task())) == []


def test_each_row_follows_on_itself():
    batches = [batch.inputs for batch in _numbered(STILL).batches(3, 1)]
    assert [len(rows) for rows in batches] == [16, 16, 16, 15]  # 63 windows
    assert all(torch.equal(after, (rows + 1)[: len(after)] % 63) for rows, after in pairwise(batches))


def test_training_sees_each_stretch_as_if_it_were_read_at_once():
    run, batches = start(STILL), [*STILL.batches(0, 0)]
    logits = run.model(torch.cat([batch.inputs[:15] for batch in batches], 1)).detach()
    last = [now.loss for now in train(run, epochs=1)][-1]  # the only batch of 15 rows
    assert last == pytest.approx(float(STILL.loss(run.model, batches[3], logits[:, 9:])), rel=1e-12)


def test_every_epoch_and_every_call_of_train_begins_without_a_state():
    run, fresh = start(STILL), start(STILL).model
    for steps, anew in ((6, (0, 4)), (3, (6, 8))):  # epochs begin at 0, 4, 8
        for now in train(run, steps=steps):
            batch = STILL.batch(0, now.step - 1)
            alone = float(STILL.loss(fresh, batch, fresh(batch.inputs)).detach())
            assert (now.loss == pytest.approx(alone, rel=1e-12)) is (now.step - 1 in anew)


def test_an_interrupted_epoch_goes_on_with_its_state():
    states, run = [], start(recurrent_task())
    run.between = lambda run: states.append(saved_now(run)) if run.step == 2 else None
    whole = [now.loss for now in train(run, epochs=2)]
    again = start(recurrent_task(), saved=states[0])
    assert [now.loss for now in train(again, epochs=2)] == whole[2:]


def test_an_evaluation_knows_no_state():
    run = start(STILL)
    before = measured(run.model, STILL, STILL.data.valid)
    list(train(run, epochs=1))
    assert measured(run.model, STILL, STILL.data.valid) == before


def test_several_processes_are_refused(monkeypatch):
    run = start(STILL)
    monkeypatch.setattr(processes, "world", lambda: 2)
    monkeypatch.setattr(processes, "share", lambda: slice(0, None, 2))
    monkeypatch.setattr(processes, "weight", lambda count: 1.0)
    with pytest.raises(InputError, match="task 'recurrent' carries a state"):
        next(train(run, epochs=1))


@pytest.mark.data
@pytest.mark.parametrize("name", ["text_sru", "text_sru_smoke"])
def test_the_tasks_fit_together(real_data, name):
    task = real_data(TASKS[name])
    whole = name == "text_sru"
    assert task.name == name == TASKS[name].__name__
    assert task.goal == goal_of(name) == BITS
    assert task.steps_per_epoch == (977 if whole else 40)
    assert sum(p.numel() for p in task.model().parameters()) == (495_872 if whole else 15_488)
    few = task.data.test.take(slice(-2, None))
    assert task.forward(task.model(), few).shape == (*few.inputs.shape, 256)
    assert tokens(task.data.train.take(slice(-1, None))) == (1_999_999 if whole else 4_999) % (64 if whole else 4)
