"""Recalibrate: statistics of what batch norms see, worked by hand; everything else as it was."""

import pytest
import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.measure.norms import recalibrate
from sapwood.training.task import Batch


def network():
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, momentum=0.3), nn.Dropout(0.5), nn.ReLU()).double()


def batches(*seeds):
    return [torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds]


def test_one_batch_worked_by_hand():
    model = nn.Sequential(nn.BatchNorm1d(2))
    recalibrate(model, [torch.tensor([[1.0, 10.0], [2.0, 10.0], [6.0, 40.0]])])
    assert model[0].running_mean.tolist() == [3, 20]
    assert model[0].running_var.tolist() == [7, 300]  # (4 + 1 + 9) / 2 and (100 + 100 + 400) / 2


def test_all_batches_count_alike_whatever_was_there():
    model, given = network(), batches(1, 2, 3)
    model[1].running_mean.fill_(7)
    model[1].running_var.fill_(9)
    recalibrate(model, iter(given))
    with torch.no_grad():
        seen = [model[0](x).movedim(1, 0).flatten(1) for x in given]
    torch.testing.assert_close(model[1].running_mean, torch.stack([y.mean(1) for y in seen]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([y.var(1) for y in seen]).mean(0))


def test_a_second_norm_sees_what_the_first_sends_now_and_dropout_adds_no_noise():
    model = nn.Sequential(network(), nn.BatchNorm2d(3).double())
    (x,) = batches(1)
    recalibrate(model, [x])
    first = nn.BatchNorm2d(3).double().train()
    with torch.no_grad():
        y = torch.relu(first(model[0][0](x)))
    torch.testing.assert_close(model[1].running_mean, y.mean((0, 2, 3)))
    torch.testing.assert_close(model[1].running_var, y.movedim(1, 0).flatten(1).var(1))


@pytest.mark.parametrize("training", [False, True])
def test_only_statistics_change(training):
    model = network().train(training)
    model[2].train(not training)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    random = torch.get_rng_state()
    recalibrate(model, batches(1))
    assert model[1].momentum == 0.3
    assert [m.training for m in model] == [training, training, not training, training]
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("wrong", [[], iter(()), [batches(1)[0], torch.ones(1, 5)], [batches(1)[0], None]])
def test_on_an_error_the_statistics_are_as_they_were(wrong):
    model = network()
    recalibrate(model, batches(5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises((InputError, RuntimeError)):
        recalibrate(model, wrong)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[1].momentum == 0.3
    assert model.training


def test_batches_in_every_form():
    (x,) = batches(1)
    found = []
    for batch in (x, (x,), Batch(x, torch.zeros(4))):
        model = network()
        model.load_state_dict({name: torch.ones_like(value) for name, value in model.state_dict().items()})
        recalibrate(model, [batch])
        found.append(model[1].running_mean)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_refusals():
    with pytest.raises(InputError, match="no batches"):
        recalibrate(network(), [])
    with pytest.raises(InputError, match="no batch norm with running statistics"):
        recalibrate(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)), [torch.ones(2, 2)])
    with pytest.raises(InputError, match="a batch is a str"):
        recalibrate(network(), ["abc"])
    with pytest.raises(InputError, match=r"shape \(0, 2\)"):
        recalibrate(nn.BatchNorm1d(2), [torch.ones(0, 2)])
