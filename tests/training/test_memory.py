"""What a run keeps for its method: typed ways to it, all saved with the run and under the names of earlier versions."""

import pytest
from torch.optim import SGD

from sapwood import checkpoint
from sapwood.checks.tiny import tiny_task
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.methods.parts import cycles
from sapwood.training.loop import Moment
from sapwood.training.run import start


def test_notes_are_added_and_the_last_value_counts():
    run = start(tiny_task())
    assert run.notes == {}
    run.note(a=1, b=2.5)
    run.note(b=3)
    assert run.notes == {"a": 1, "b": 3}
    again = start(tiny_task(), saved=checkpoint.decode(checkpoint.encode(run.state())))
    assert again.notes == {"a": 1, "b": 3}


def test_a_store_is_one_dict_in_all_of_a_life():
    run = start(tiny_task())
    run.store("seen")["x"] = 1
    again = start(tiny_task(), saved=run.state())
    mine = again.store("seen")
    again.enter()  # loads the saved state, as train does
    assert mine is again.store("seen") == {"x": 1}


def test_the_names_in_checkpoints_are_those_of_earlier_versions():
    """So their checkpoints load: local_activation, which keeps most, and a retraining that notes."""
    run = start(tiny_task(SGD, lr=1e-6))
    options = {"first": 0.99, "target": 1.0, "plateau": 3, "wait": 5, "epochs": 2, "retrain": 1}
    for now in METHODS["local_activation"](run, **options):
        if now.step == 9:
            assert run.memory.keys() == {"notes", "mark", "stop 0", "waited", "plateau"}
            assert run.memory["waited"] == 1
    assert run.memory.keys() == {"notes", "mark", "stop 0", "stop 1", "waited", "plateau", "remembered"}
    assert "before_retraining_sparsity" in run.notes


def due(pace, *accuracies, mark=0.9):
    """What the pace says at the ends of epochs with these training accuracies."""
    return [pace.due(Moment(6 * n, n, True, 1.0, {"train_accuracy": a}, 0), mark) for n, a in enumerate(accuracies)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, [False, False, False, False, True]),
        ({"plateau": 2}, [False, False, False, True, True]),
        ({"wait": 3}, [False, False, True, True, True]),
    ],
)
def test_a_cycle_falls_at_its_mark_or_when_it_is_time(options, said):
    assert due(cycles.Pace(start(tiny_task()), **options), 0.5, 0.6, 0.6, 0.55, 0.9) == said


def test_after_a_cycle_it_is_counted_anew():
    pace = cycles.Pace(start(tiny_task()), plateau=2, wait=4)
    assert due(pace, 0.5, 0.5, 0.5) == [False, False, True]
    pace.begin()
    assert due(pace, 0.4, 0.4, 0.4) == [False, False, True]
    pace.begin()
    assert due(pace, 0.1, 0.2, 0.3, 0.4) == [False, False, False, True]


@pytest.mark.parametrize("wrong", ["plateau", "wait"])
def test_times_below_0_are_refused(wrong):
    with pytest.raises(InputError, match=f"{wrong} is -1; give the epochs"):
        cycles.Pace(start(tiny_task()), **{wrong: -1})
