"""Cycles: when one is due that accuracy alone would not let fall."""

import pytest
from torch.optim import SGD

from sapwood.checks import tiny_task
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.training.run import start

NEVER = {"first": 0.99, "target": 1.0, "stop": "epochs", "sparsity": 0.5}  # no accuracy that the task reaches


def rounds(method, **options):
    """How often has been pruned, at the end of each of seven epochs that teach next to nothing."""
    run = start(tiny_task(SGD, lr=1e-6))
    return [run.round for now in METHODS[method](run, epochs=7, **NEVER, **options) if now.ends_epoch]


@pytest.mark.parametrize("method", ["global_activation", "local_activation"])
def test_no_mark_is_reached(method):
    assert rounds(method) == [0] * 7


def test_a_cycle_falls_so_many_epochs_after_the_last_one():
    assert rounds("global_activation", cycles=2, wait=1) == [1, 2, 2, 2, 2, 2, 2]
    assert rounds("global_activation", cycles=2, wait=3) == [0, 0, 1, 1, 1, 2, 2]


def test_locally_too_unless_the_accuracy_is_back_before():
    """It is: pruned or not, this network guesses."""
    assert rounds("local_activation", wait=3) == [0, 0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(("source", "most"), [("fresh", 48), ("held out", 16)])
def test_a_set_is_not_larger_than_what_it_is_drawn_from(source, most):
    """All of it may be counted; what is more is refused before anything is trained."""
    assert rounds("global_activation", cycles=1, wait=1, source=source, probe=most)[-1] == 1
    with pytest.raises(InputError, match=f"probe is {most + 1}, but source '{source}' has {most} samples"):
        rounds("global_activation", source=source, probe=most + 1)


def test_a_source_that_is_none_is_refused_by_name():
    with pytest.raises(InputError, match="source"):
        rounds("global_activation", source="fesh")
