"""Accuracy: hand-worked rankings, ties, the class-0 columns, and that measuring leaves no trace."""

import pytest
import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.measure.correct import accuracy, class0_top1, class0_top5, top_k_correct
from sapwood.training.task import Batch

SCORES = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.5, 0.5], [3.0, 1.0, 2.0], [-1.0, float("-inf"), -2.0]])
LABELS = torch.tensor([1, 2, 2, 1])


def test_counts_worked_by_hand():
    # places of the labels: 0, 2 (a tie: lower classes first), 1, 2
    assert [int(top_k_correct(SCORES, LABELS, k)) for k in (1, 2, 3)] == [1, 2, 4]


def test_ties_go_to_the_lowest_class():
    scores = torch.zeros(4, 4)
    labels = torch.arange(4)
    assert [int(top_k_correct(scores, labels, k)) for k in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert int(top_k_correct(scores, torch.zeros(4, dtype=torch.long), 1)) == 4


def test_agrees_with_topk_where_there_are_no_ties():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(500, 10, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (500,), generator=generator, dtype=torch.uint8)
    for k in (1, 3, 5):
        expected = (scores.topk(k, 1).indices == labels[:, None]).any(1).sum()
        assert int(top_k_correct(scores, labels, k)) == int(expected)


def test_class0_columns_ignore_the_labels():
    scores = torch.eye(10, dtype=torch.float64)  # a perfect classifier of the labels 0..9; ties favour low classes
    assert class0_top1(scores) == 0.1
    assert class0_top5(scores) == 1.0
    assert class0_top5(-torch.arange(9, -1, -1.0).repeat(3, 1)) == 0.0  # class 0 ranks last


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_accuracy_of_a_split_whatever_the_batch_size(batch_size):
    split = Batch(SCORES, LABELS)
    assert accuracy(nn.Identity(), split, (1, 2), batch_size=batch_size) == {"top1": 0.25, "top2": 0.5}


def test_accuracy_adds_the_class0_columns_from_the_same_pass():
    found = accuracy(nn.Identity(), Batch(SCORES, LABELS), class0=True)
    assert found == {"top1": 0.25, "top5": 1.0, "class0_top1": 0.75, "class0_top5": 1.0}
    assert found["class0_top1"] == class0_top1(SCORES)


class Restless(nn.Module):
    """Draws random numbers, and has one part that is frozen in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.last = nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3)
        self.norm.eval()

    def forward(self, x):
        return self.last(self.drop(self.norm(x))) + 0 * torch.rand(())


def test_measuring_leaves_no_trace():
    model = Restless()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before, modes = torch.get_rng_state(), [module.training for module in model.modules()]
    split = Batch(torch.randn(7, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    assert accuracy(model, split) == accuracy(model, split, batch_size=2)  # dropout is off
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes == [True, False, True, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_modes_return_after_a_failure():
    model = Restless()
    with pytest.raises(RuntimeError):
        accuracy(model, Batch(torch.ones(2, 5), torch.tensor([0, 1])))
    assert model.training
    assert not model.norm.training


@pytest.mark.parametrize(
    ("scores", "labels", "k", "says"),
    [
        (torch.tensor([[1.0, float("nan")]]), torch.tensor([0]), 1, "1 of 1 samples hold NaN"),
        (torch.eye(3), torch.eye(3, dtype=torch.long), 1, r"labels have shape \(3, 3\)"),
        (torch.eye(3), torch.tensor([0.0, 1.0, 2.0]), 1, "float32"),
        (torch.eye(3), torch.tensor([0, 1]), 1, r"shape \(3,\)"),
        (torch.eye(3), torch.tensor([0, 1, 3]), 1, "from 0 to 3"),
        (torch.eye(3), torch.tensor([0, 1, -1]), 1, "from -1 to 1"),
        (torch.eye(3), torch.tensor([0, 1, 2]), 0, "k = 0"),
        (torch.ones(3), torch.tensor([0, 1, 2]), 1, r"\[samples, classes\]"),
    ],
)
def test_refusals(scores, labels, k, says):
    with pytest.raises(InputError, match=says):
        top_k_correct(scores, labels, k)


def test_refuses_nothing_to_measure():
    with pytest.raises(InputError, match="0 samples"):
        accuracy(nn.Identity(), Batch(torch.ones(0, 3), torch.ones(0, dtype=torch.long)))
    with pytest.raises(InputError, match="batches of 0"):
        accuracy(nn.Identity(), Batch(SCORES, LABELS), batch_size=0)
