"""Updates: what happens between a batch and the optimiser's step is the method's own; all else stays the loop's."""

from dataclasses import replace

import pytest
import torch
from torch.optim import SGD
from updating import METHODS, alternating, in_parts, two_objectives

from sapwood.checks.law import demand
from sapwood.checks.method import laws
from sapwood.checks.tiny import tiny_model, tiny_task
from sapwood.errors import InputError
from sapwood.training.loop import descend, train
from sapwood.training.run import start

LAWS = {law: body for name, method in METHODS.items() for law, body in laws(name, method).items()}


@pytest.mark.parametrize("law", LAWS)
def test_a_method_with_its_own_update_keeps_the_laws(law):
    LAWS[law]()


@pytest.fixture
def task():
    return replace(tiny_task(), model=tiny_model)  # without dropout, so that parts of a batch see what it sees


def ends(task, **options):
    run = start(task)
    moments = list(train(run, epochs=2, **options))
    return run.model.state_dict(), [now.loss for now in moments], dict(moments[-1].metrics)


def test_the_update_that_is_not_named_is_descend(task):
    one, other = ends(task), ends(task, update=descend)
    assert one[1:] == other[1:]
    assert all(torch.equal(one[0][name], value) for name, value in other[0].items())


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_gradients_of_parts_add_up_to_the_batchs(task, parts):
    (weights, losses, metrics), (whole, of_whole, of_metrics) = ends(task, update=in_parts(parts)), ends(task)
    torch.testing.assert_close(losses, of_whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(metrics, of_metrics, rtol=1e-12, atol=0)
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-11, atol=1e-13)


def test_who_has_no_turn_does_not_move(task):
    run = start(task)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    for now in alternating(run):
        moved = {name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])}
        first = (now.step - 1) // 3 % 2 == 0
        demand(moved == {name for name in before if name.startswith("0.") == first}, f"step {now.step}: {moved}")
        before = {name: value.clone() for name, value in run.model.state_dict().items()}


def test_each_objective_reaches_its_own_parameters(task):
    """By finite differences of either objective, in float64, before the first step."""
    run = start(task)
    batch = next(iter(run.task.batches(0, 0)))
    network = {name: value.clone() for name, value in run.model.state_dict().items()}

    def objective(name, model):
        given = model[:2](batch.inputs)
        loss = run.loss(model, batch, model[2:](given))
        return loss + given.square().mean() if name.startswith("0.") else loss

    with torch.no_grad():
        wanted = {}
        for name, value in run.model.named_parameters():
            at = (0,) * value.dim()
            ends = []
            for by in (1e-6, -1e-6):
                value[at] += by
                ends.append(float(objective(name, run.model)))
                value[at] -= by
            wanted[name] = (ends[0] - ends[1]) / 2e-6
            value.copy_(network[name])
    next(iter(two_objectives(run)))
    for name, value in run.model.named_parameters():
        assert float(value.grad[(0,) * value.dim()]) == pytest.approx(wanted[name], rel=1e-6, abs=1e-9)


def test_a_loss_that_is_no_number_changes_no_weight(task):
    run = start(replace(task, loss=lambda model, batch, outputs: outputs.sum() * float("nan")))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    with pytest.raises(InputError, match="the loss is nan at step 0; lower the learning rate"):
        list(train(run, epochs=1))
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert run.optimizer.state_dict()["state"] == SGD(run.model.parameters(), lr=1.0).state_dict()["state"]
