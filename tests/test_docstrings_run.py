"""The examples in docstrings run as they stand, with PyTorch and sapwood's public names at hand."""

import doctest
import inspect

import pytest
import torch
from torch import nn

import sapwood
from sapwood import export, measure, select

MOST_USED = {
    "prune": sapwood.prune,
    "sites": sapwood.sites,
    "shrink": sapwood.shrink,
    "compact": sapwood.compact,
    "score": sapwood.score,
    "observe": sapwood.observe,
    "hold": sapwood.hold,
    "hidden": sapwood.hidden,
    "observing": sapwood.observing,
    "macs_of": sapwood.macs_of,
    "fewest": sapwood.fewest,
    "per_unit": sapwood.per_unit,
    "evaluate": sapwood.evaluate,
    "start": sapwood.start,
    "train": sapwood.train,
    "export.save": export.save,
    "export.load": export.load,
    **{f"measure.{name}": getattr(measure, name)
       for name in ("accuracy", "flops", "latency", "spectrum", "compression")},
    **{f"select.{name}": function for name, function in vars(select).items()
       if inspect.isfunction(function) and function.__module__ == select.__name__ and not name.startswith("_")},
}  # fmt: skip


@pytest.fixture
def space(tmp_path):
    return {name: getattr(sapwood, name) for name in sapwood.__all__} | {"torch": torch, "nn": nn, "folder": tmp_path}


def failures(function, space):
    """What came instead of what the example says; and how many lines there are."""
    finder = doctest.DocTestFinder(recurse=False)
    tests = [test for test in finder.find(function, globs=dict(space)) if test.examples]
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in tests:
        runner.run(test, out=said.append)
    return said, sum(len(test.examples) for test in tests)


@pytest.mark.parametrize("name", MOST_USED)
def test_the_most_used_functions_have_an_example_that_runs(name, space):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        said, lines = failures(MOST_USED[name], space)
    assert said == []
    assert lines > 0, f"{name} has no example in its docstring"


def test_a_wrong_example_is_found(space):
    def wrong():
        """Adds.

        >>> 1 + 1
        3
        """

    said, lines = failures(wrong, space)
    assert lines == 1
    assert "Got:\n    2" in "".join(said)
