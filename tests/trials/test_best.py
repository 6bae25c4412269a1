"""Best: the network of the epoch with the best validation accuracy, sought anew after a prune and in every phase."""

from dataclasses import replace

import pytest
import torch
from toy import Interrupted, dying_after

from sapwood import checkpoint
from sapwood.checks import tiny_task
from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.tasks import TASKS
from sapwood.training.loop import Moment, evaluate, train
from sapwood.training.run import start
from sapwood.trials.best import Best
from sapwood.trials.execution import run_trial
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

STEPS = 73  # an epoch of mlp_digits


@pytest.fixture(scope="module")
def task():
    return TASKS["mlp_digits"]()


@pytest.fixture
def run(task):
    return start(task, 0)


def moment(epoch, accuracy, phase=0):
    metrics = {"train_loss": 1.0} | ({} if accuracy is None else {"valid_accuracy": accuracy})
    return Moment(STEPS * epoch, epoch, True, 1.0, metrics, phase)


def mark(run, value):
    """Makes the network one that can be told from others."""
    with torch.no_grad():
        run.model.hidden1.bias.fill_(value)


def of(best):
    return float(best.weights["hidden1.bias"][0])


def follow(run, *epochs, best=None):
    """The best after epochs of (accuracy, phase, round); each leaves its number in the network."""
    best = best or Best()
    for epoch, (accuracy, phase, run.round) in enumerate(epochs, start=1):
        mark(run, epoch)
        best = best.after(run, moment(epoch, accuracy, phase))
    return best


@pytest.mark.parametrize(
    ("epochs", "epoch"),
    [
        ([(0.5, 0, 0), (0.7, 0, 0), (0.6, 0, 0)], 2),
        ([(0.5, 0, 0), (0.7, 0, 0), (0.7, 0, 0)], 2),  # the first of equals
        ([(0.9, 0, 0), (0.5, 0, 1), (0.4, 0, 1)], 2),  # anew after a prune
        ([(0.9, 0, 1), (0.5, 1, 1), (0.6, 1, 1)], 3),  # anew in every phase
        ([(0.0, 0, 0), (0.0, 0, 0)], 1),
        ([(0.5, 0, 0), (None, 0, 0)], 1),
    ],
)
def test_the_best_epoch_of_what_was_pruned_last(run, epochs, epoch):
    best = follow(run, *epochs)
    assert (best.epoch, of(best), best.valid) == (epoch, epoch, epochs[epoch - 1][0])
    restored = Best.restored(best.state())
    assert (restored.epoch, restored.stage, of(restored)) == (best.epoch, best.stage, of(best))


def test_without_an_accuracy_there_is_nothing(run):
    best = follow(run, (None, 0, 0), (None, 0, 0))
    assert best == Best()
    assert best.state() == {}
    assert Best.restored({}) == Best()
    assert list(best.measures(run)) == []


def test_a_network_that_learns_densely_behind_masks_has_none(run):
    run.dense = True
    assert follow(run, (0.5, 0, 0)) == Best()


def test_a_network_pruned_at_the_epochs_end_is_judged_as_it_is_then(run, task):
    best = follow(run, (0.2, 0, 0))
    moments = train(run, epochs=1)
    now = next(now for now in moments if now.ends_epoch)
    before = now.metrics["valid_accuracy"]
    run.prune({"hidden1.weight": torch.zeros(100, 64, dtype=torch.bool)})
    random, gradients = torch.get_rng_state(), [p.grad for p in run.model.parameters()]
    best = best.after(run, now)
    assert best.valid == evaluate(run, "valid")["accuracy"] == now.metrics["valid_accuracy"] < before
    assert torch.equal(torch.get_rng_state(), random)
    assert [p.grad for p in run.model.parameters()] == gradients
    assert not best.weights["hidden1.weight"].any()
    assert follow(run, (0.5, 0, 1), best=best).epoch == 1, "0.5 is better than what the pruned network got right"


def test_it_is_measured_with_its_own_weights_and_the_run_is_left_alone(run):
    best = follow(run, (0.5, 0, 0))
    of_then = {split: evaluate(run, split) for split in ("valid", "test")}
    with torch.no_grad():
        run.model.hidden1.weight.zero_()
    now = {name: value.clone() for name, value in run.model.state_dict().items()}
    found = {(split, metric): value for split, metric, value in best.measures(run)}
    assert found == {("best network", "epoch"): 1.0} | {
        (f"best {split}", metric): value for split, values in of_then.items() for metric, value in values.items()
    }
    assert found["best test", "accuracy"] != evaluate(run, "test")["accuracy"]
    assert all(torch.equal(value, now[name]) for name, value in run.model.state_dict().items())


def up_and_down(run, *, epochs: int = 4):
    """The first epoch and the last but one end with a prune; the second takes more than an epoch to get over."""
    for now in train(run, epochs=epochs):
        if now.ends_epoch and now.epoch in (1, epochs - 1):
            keep = torch.ones(100, 64, dtype=torch.bool)
            keep[: 80 if run.round else 10] = False
            run.prune({"hidden1.weight": keep})
        yield now


@pytest.fixture
def trial(monkeypatch):
    monkeypatch.setitem(METHODS, "up_and_down", up_and_down)
    monkeypatch.setitem(METHOD_VERSIONS, "up_and_down", 1)
    return Trial.make("up_and_down", "mlp_digits", 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of that trial, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "up_and_down", up_and_down)
        patch.setitem(METHOD_VERSIONS, "up_and_down", 1)
        run_trial(Trial.make("up_and_down", "mlp_digits", 0), folder)
    return read_rows(folder / "rows.jsonl")


@pytest.mark.parametrize("moments", [STEPS, STEPS + 1, 2 * STEPS, 3 * STEPS, 3 * STEPS + 1, 4 * STEPS])
def test_it_survives_an_interruption(whole, trial, tmp_path, monkeypatch, moments):
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "up_and_down", dying_after(up_and_down, moments))
        with pytest.raises(Interrupted):
            run_trial(trial, tmp_path / "two", save_every=0.0)
    if moments > STEPS:
        assert checkpoint.read(tmp_path / "two" / "state.safetensors")["best"]["weights"]
    run_trial(trial, tmp_path / "two")
    two = read_rows(tmp_path / "two" / "rows.jsonl")
    assert (
        [row for row in two if row.split.startswith("best")]
        == [row for row in whole if row.split.startswith("best") and row.phase is None]
        != []
    )
    assert whole == two


def test_an_accuracy_from_before_a_prune_is_not_the_pruned_networks(trial, tmp_path):
    run_trial(Trial.make("up_and_down", "mlp_digits", 0, epochs=12), tmp_path)
    rows = read_rows(tmp_path / "rows.jsonl")
    ours = {(row.split, row.metric): row.value for row in rows if row.phase is None}
    each = {row.epoch: row.value for row in rows if (row.split, row.metric, row.phase) == ("valid", "accuracy", 0)}
    assert each[11] < each[10], "this is about a prune that hurts"
    assert ours["best network", "epoch"] == 12
    assert ours["best valid", "accuracy"] == each[12]
    assert ours["best test", "accuracy"] == ours["test", "accuracy"]


def test_a_network_from_before_the_last_prune_is_not_the_best():
    run = start(tiny_task())
    run.round = 1
    before = Best(0.9, 3, "0/0", dict(run.model.state_dict()))
    assert list(before.measures(run)) == []
    assert next(replace(before, stage="0/1").measures(run)).metric == "epoch"
