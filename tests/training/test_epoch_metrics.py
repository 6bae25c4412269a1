"""An epoch's metrics are those of the network that the method left, whoever read them before, and when."""

from dataclasses import replace

import pytest
import torch
from planted.measuring import metrics_laws
from torch import nn
from torch.optim import SGD

from sapwood.checks.tiny import tiny_model, tiny_task
from sapwood.methods import METHODS
from sapwood.training.epoch import EpochMetrics
from sapwood.training.loop import evaluate, train
from sapwood.training.run import start

LAWS = metrics_laws()


@pytest.mark.parametrize("law", LAWS)
def test_laws(law):
    LAWS[law]()


def test_nuclears_singular_values_have_been_shrunk_when_it_is_measured():
    """What was recorded used to be of the network before; without a shrinking in the epoch, that is plain training."""
    shrunk = start(tiny_task())
    *_, now = METHODS["nuclear"](shrunk, strength=0.3, every=10, epochs=1)
    plain = start(tiny_task())
    *_, other = train(plain, epochs=1)
    assert now.metrics["valid_loss"] == evaluate(shrunk)["loss"]
    assert other.metrics["valid_loss"] == evaluate(plain)["loss"]
    assert now.metrics["train_loss"] == other.metrics["train_loss"], "the weights before are the same"
    assert now.metrics["valid_loss"] != other.metrics["valid_loss"]


def moment(run, epochs=1):
    """The end of the first epoch, and the generator that goes on from it."""
    moments = train(run, epochs=epochs)
    return next(now for now in moments if now.ends_epoch), moments


def test_nothing_is_evaluated_before_it_is_read():
    """A method that prunes at an epoch's end and looks at the training metrics alone pays for one evaluation."""
    run = start(tiny_task())
    passes = counted(run)
    now, _ = moment(run)
    steps = len(passes)
    assert now.metrics["train_loss"] > 0
    assert len(passes) == steps
    assert now.metrics["valid_loss"] == now.metrics["valid_loss"]
    assert dict(now.metrics).keys() == {"train_loss", "train_accuracy", "valid_loss", "valid_accuracy"}
    assert len(passes) == steps + 1
    run.prune({"0.weight": torch.zeros(8, 6, dtype=torch.bool)})
    assert now.metrics["valid_loss"] == evaluate(run)["loss"]
    assert len(passes) == steps + 3


@pytest.mark.parametrize(("reads", "digests"), [(0, 0), (1, 2), (3, 4)])
def test_a_network_is_looked_at_only_where_something_may_have_changed_since(reads, digests):
    looks, evaluated = [], []
    found = EpochMetrics({}, lambda: evaluated.append(1) or {"loss": 0.5}, lambda: looks.append(1) or b"same")
    assert [found["valid_loss"] for _ in range(reads)] == [0.5] * reads
    found.settle()
    assert (len(looks), len(evaluated)) == (digests, 1)
    assert found["valid_loss"] == 0.5


def counted(run):
    """A list that grows by 1 with each pass of the run's model."""
    passes = []
    run.model.register_forward_hook(lambda *_: passes.append(1))
    return passes


CHANGES = {
    "weights in place": lambda run: run.model[0].weight.detach().mul_(2),
    "weights behind autograd's back": lambda run: run.model[0].weight.data.mul_(2),
    "a prune": lambda run: run.prune({"0.weight": torch.zeros(8, 6, dtype=torch.bool)}),
    "other weights": lambda run: run.rewind({n: v * 2 for n, v in run.model.state_dict().items()}),
    "another network": lambda run: run.become(tiny_model()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen_also_after_the_metrics_were_read(change):
    run = start(tiny_task())
    now, _ = moment(run)
    before = now.metrics["valid_loss"]
    CHANGES[change](run)
    assert before != now.metrics["valid_loss"] == evaluate(run)["loss"]


def test_masks_that_dense_weights_are_seen_through_count():
    run = start(tiny_task())
    run.dense = True
    now, _ = moment(run)
    before = now.metrics["valid_loss"]
    run.prune({"0.weight": torch.zeros(8, 6, dtype=torch.bool)})
    assert before != now.metrics["valid_loss"] == evaluate(run)["loss"]


@pytest.mark.parametrize("gone", [lambda moments: next(moments), lambda moments: moments.close()])
def test_once_the_next_step_is_asked_for_they_stay(gone):
    run = start(tiny_task())
    now, moments = moment(run, epochs=2)
    left = evaluate(run)["loss"]
    gone(moments)
    with torch.no_grad():
        run.model[0].weight.zero_()
    assert now.metrics["valid_loss"] == left != evaluate(run)["loss"]
    assert repr(now.metrics) == repr(dict(now.metrics))
    assert len(now.metrics) == 4


class Restless(nn.Module):
    """Draws random numbers whatever its mode."""

    def __init__(self):
        super().__init__()
        self.inner = tiny_model()

    def forward(self, x):
        return self.inner(x + 0.1 * torch.randn_like(x))


@pytest.mark.parametrize("reads", [0, 1, 5])
def test_how_often_they_are_read_changes_no_random_number(reads):
    def end(reads):
        run = start(replace(tiny_task(SGD, lr=0.1), model=Restless))
        for now in train(run, epochs=2):
            for _ in range(reads if now.ends_epoch else 0):
                now.metrics["valid_loss"]
                run.model.inner[0].bias.data.add_(0)
        return torch.get_rng_state(), run.model.state_dict()

    (random, weights), (other, others) = end(reads), end(2)
    assert torch.equal(random, other)
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
