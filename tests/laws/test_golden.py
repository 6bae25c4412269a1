"""What was worked out by hand, and what each method once did: numbers that must come out again."""

import pytest
import torch
from golden import answers, criteria, evidence, trajectories

from sapwood.checks import tiny_task
from sapwood.criteria import CRITERIA
from sapwood.methods import METHODS
from sapwood.scoring.statistics import STATISTICS

LAWS = criteria.laws() | evidence.laws() | answers.laws()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_golden(law):
    law()


def test_golden_numbers_are_of_things_that_exist():
    assert set(criteria.GOLDEN) == set(CRITERIA)
    assert set(evidence.GOLDEN) == set(STATISTICS)
    assert set(trajectories.GOLDEN) == set(trajectories.OPTIONS) == set(METHODS)


def test_a_criterion_without_a_worked_number_fails(monkeypatch):
    monkeypatch.delitem(criteria.GOLDEN, "apoz")
    with pytest.raises(AssertionError, match="work out the scores of 'apoz' by hand"):
        criteria.laws()["criterion apoz: the scores worked out by hand"]()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("moved", [0.0, 1e-6, -1e-6])
def test_trajectory(method, moved):
    """Moved by a thousand million times the rounding error, the weights still lead to the same masks."""
    assert trajectories.life(method, moved) == trajectories.GOLDEN[method]


def test_the_order_of_the_data_is_a_function_of_seed_and_epoch():
    """If this fails alone, it is torch that shuffles in another way: results are still right, but not the same bits."""
    task = tiny_task()
    places = {tuple(row.tolist()): i for i, row in enumerate(task.data.train.inputs)}
    torch.manual_seed(17)  # what others draw must not matter
    order = [[places[tuple(row.tolist())] for row in batch.inputs] for batch in task.batches(seed=3, epoch=2)]
    assert order[0] == [42, 7, 1, 32, 24, 28, 18, 45]
    assert sorted(place for batch in order for place in batch) == list(range(48))
    later = [[places[tuple(row.tolist())] for row in batch.inputs] for batch in task.batches(seed=3, epoch=2, first=4)]
    assert later == order[4:]
