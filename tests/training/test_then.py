"""Then: a phase that follows a method, as an option of the method."""

import inspect

import pytest

from sapwood.checks.method import laws
from sapwood.checks.tiny import tiny_task
from sapwood.methods.parts.phases import retrain, then
from sapwood.training.loop import train
from sapwood.training.run import start
from sapwood.trials.trial import defaults


def short(run, *, epochs: int = 1, target: float = 0.9, stop: str = "epochs"):
    """Trains."""
    yield from train(run, epochs=epochs)


def late(run, *, wait: int = 2, epochs: int):
    """Trains for `wait` epochs more than the method did."""
    yield from train(run, epochs=epochs + wait)


both = then(late)(short)
LAWS = laws("then", both, wait=1)


@pytest.mark.parametrize("law", LAWS)
def test_a_method_and_what_follows_keep_the_laws(law):
    LAWS[law]()


def epochs(**options):
    return [now.phase for now in both(start(tiny_task()), **options) if now.ends_epoch]


def test_options_of_the_same_name_go_to_both_at_the_methods_default():
    assert epochs() == [0] + 3 * [1]
    assert epochs(epochs=2) == 2 * [0] + 4 * [1]
    assert epochs(wait=0) == [0, 1]


def test_the_options_are_the_methods_and_then_the_phases():
    assert list(inspect.signature(both).parameters) == ["run", "epochs", "target", "stop", "wait"]
    assert both.__doc__ == short.__doc__
    assert both.__name__ == "short"
    assert inspect.signature(both, eval_str=True).parameters["wait"].annotation is int
    assert list(defaults("gradual_magnitude"))[-3:] == ["target", "stop", "retrain"]


def test_an_option_that_neither_has_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epohcs'"):
        epochs(epohcs=1)


def test_no_retraining_is_none():
    run = start(tiny_task())
    assert {now.phase for now in then(retrain)(short)(run)} == {0}
    assert run.notes == {}
