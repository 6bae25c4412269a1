"""Variational dropout, the method: its loss and learning rate step by step, what it removes, how many, and when."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam

from sapwood import checkpoint, masks
from sapwood.checks import broken, check_method, tiny_task
from sapwood.errors import InputError
from sapwood.gates import WeightGated, decided
from sapwood.gates.variational_dropout import log_alpha
from sapwood.methods import METHODS
from sapwood.training.loop import evaluate
from sapwood.training.run import start
from sapwood.trials.execution import run_trial
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

QUICK = {"log_sigma2": -2.0, "begin": 0.0, "end": 1.0, "lr": 0.05, "epochs": 2}  # 6 steps an epoch, 48 samples
method = METHODS["variational_dropout"]


def lived(task=None, **options):
    """A run after all of the method, and its moments."""
    run = start(task or tiny_task())
    return run, list(method(run, **QUICK | options))


def watched(task, seen):
    """The task; `seen` gets, before each step of training, the loss without penalty and the network's penalty."""

    def loss(model, batch, outputs):
        value = task.loss(model, batch, outputs)
        if model.training and isinstance(model, WeightGated):
            seen.append((value.item(), model.penalty().item()))
        return value

    return replace(task, loss=loss)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_the_loss_is_the_mean_and_the_penalty_over_all_samples_warmed_up(strength):
    """0 through epoch 1, then 0, 1/12, ... of `strength` up to epoch 3, where it stays; by the 48 samples."""
    seen = []
    _, moments = lived(watched(tiny_task(), seen), begin=1.0, end=3.0, epochs=4, strength=strength)
    assert len(seen) == len(moments) == 24
    for step, ((plain, penalty), now) in enumerate(zip(seen, moments, strict=True)):
        risen = [0, (step - 6) / 12, 1][(step >= 6) + (step >= 18)]
        assert now.loss == pytest.approx(plain + strength * risen * penalty / 48, rel=1e-12)
    assert penalty > 1


def test_a_warm_up_of_no_length_begins_with_all_of_it():
    seen = []
    _, moments = lived(watched(tiny_task(), seen), begin=0.0, end=0.0, epochs=1)
    for (plain, penalty), now in zip(seen, moments, strict=True):
        assert now.loss == pytest.approx(plain + penalty / 48, rel=1e-12)


def test_the_learning_rate_is_level_and_then_falls_to_nothing():
    run, rates = start(tiny_task()), []
    for _ in method(run, **QUICK | {"decay": 0.5}):
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.05] * 6 + [0.05 * left / 6 for left in (5, 4, 3, 2, 1, 0)])


@pytest.mark.parametrize(("decay", "expected"), [(1.0, 0.05), (0.0, 0.05 * 6 / 12)])
def test_the_learning_rate_may_never_fall_or_always(decay, expected):
    run = start(tiny_task())
    for now in method(run, **QUICK | {"decay": decay}):
        if now.step == 6:
            assert run.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_one_adam_trains_weights_biases_and_variances():
    run = start(tiny_task())
    moments = method(run, **QUICK)
    next(moments)
    trained = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    assert isinstance(run.optimizer, Adam)
    assert trained == {id(p) for p in run.model.parameters()}
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    assert len(before) == 9
    next(moments)
    assert all((p != before[name]).any() for name, p in run.model.named_parameters())
    moments.close()


@pytest.mark.parametrize("clipped", [True, False])
def test_the_pruned_network_is_the_one_that_was_evaluated_last(clipped):
    run, moments = lived(clipped=clipped, output=True)
    assert 0.02 < run.sparsity() < 1
    assert run.round == 1
    assert not isinstance(run.model, WeightGated)
    assert run.loss is run.task.loss
    found = evaluate(run)
    assert {f"valid_{name}": value for name, value in found.items()}.items() <= moments[-1].metrics.items()
    assert run.notes["sparsity_by_threshold"] == pytest.approx(run.sparsity())


def test_what_goes_is_what_drowns():
    """The masks are those of log α >= threshold in the network that the last step left."""
    run = start(tiny_task())
    for _ in method(run, **QUICK):
        network = run.model
        alphas = {
            f"{name}.weight": log_alpha(network.model.get_submodule(name).weight, gate.log_sigma2.view(shape)).detach()
            for (name, gate), shape in zip(network.gates.items(), [(8, 6), (8, 8), (3, 8)], strict=True)
        }
    assert list(run.masks) == list(alphas)
    assert all(torch.equal(keep, alphas[name] < 3) for name, keep in run.masks.items())
    keep = torch.cat([k.flatten() for k in run.masks.values()])
    assert keep.any()
    assert not keep.all()
    removed, _ = lived(threshold=1.0)
    assert removed.sparsity() > run.sparsity()


@pytest.mark.parametrize("fold", [2, 10, 50])
def test_so_many_weights_are_left_as_asked_for_those_of_the_lowest_alpha(fold):
    run = start(tiny_task())
    for _ in method(run, **QUICK | {"sparsity": 1 - 1 / fold}):
        scores = run.model.scores()
    kept = sum(int(keep.sum()) for keep in run.masks.values())
    assert kept == 136 - round((1 - 1 / fold) * 136)
    assert run.sparsity() == 1 - kept / 136
    stay = torch.cat([scores[name][keep] for name, keep in run.masks.items()])
    go = torch.cat([scores[name][~keep] for name, keep in run.masks.items()])
    assert stay.min() >= go.max()
    by_threshold, _ = lived()
    assert run.notes["sparsity_by_threshold"] == by_threshold.notes["sparsity_by_threshold"]


def test_tuning_is_by_the_tasks_recipe_under_the_masks():
    run, moments = lived(sparsity=0.5, tune=2)
    assert isinstance(run.optimizer, SGD)
    assert len(moments) == 24
    assert run.masks
    assert run.sparsity() == 0.5
    untuned, _ = lived(sparsity=0.5)
    assert all(torch.equal(run.masks[name], keep) for name, keep in untuned.masks.items())
    for name, p in untuned.model.named_parameters():
        assert not torch.equal(p, run.model.get_parameter(name))


def test_the_output_layer_can_be_spared():
    run, _ = lived(output=False, sparsity=0.5)
    assert list(run.masks) == ["0.weight", "2.weight"]
    assert sum(int(keep.sum()) for keep in run.masks.values()) == 56


@pytest.mark.parametrize(
    "options", [{"begin": 0.5}, {"sparsity": 0.7, "decay": 0.0, "clipped": False}], ids=["threshold", "so many"]
)
def test_the_laws_hold_without_tuning_too(options):
    assert broken(check_method("untuned", partial(method, **QUICK), **options)) == []


def test_a_checkpoint_holds_the_variances():
    run = start(tiny_task())
    moments = method(run, **QUICK)
    for _ in range(3):
        next(moments)
    saved = checkpoint.decode(checkpoint.encode(run.state()))
    moments.close()
    assert saved["model"]["gates.2.log_sigma2"].shape == (64,)
    assert not (saved["model"]["gates.2.log_sigma2"] == -2).all()
    assert len(saved["optimizer"]["state"]) == 9


def test_strength_removes_more():
    weak, strong = (lived(strength=s, epochs=6, end=1.0)[0].sparsity() for s in (0.0, 1.0))
    assert strong > weak + 0.1


def test_a_trial_of_it_ends_with_an_ordinary_network(tmp_path):
    trial = Trial.make("variational_dropout", "mlp_digits", 0, epochs=1, begin=0.0, end=0.5, sparsity=0.9)
    run_trial(trial, tmp_path / "trial")
    rows = {(row.split, row.metric): row.value for row in read_rows(tmp_path / "trial" / "rows.jsonl")}
    weights = 64 * 100 + 100 * 80 + 80 * 60 + 60 * 40 + 40 * 10
    assert rows["network", "weights"] == weights
    assert rows["network", "zeros"] == round(0.9 * weights)
    assert rows["prune", "round"] == 1
    assert 0 <= rows["note", "sparsity_by_threshold"] < 1
    saved = checkpoint.read(tmp_path / "trial" / "weights.safetensors")
    assert not any("sigma" in name or name.startswith("model.") for name in saved["model"])


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"begin": 2.0}, "begin=2.0, end=1.0, epochs=2, decay=0.5: need 0 <= begin <= end <= epochs"),
        ({"end": 3.0}, "end=3.0"),
        ({"decay": 1.5}, "decay=1.5"),
        ({"strength": -1.0}, "strength=-1.0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"sparsity": 1.0}, "sparsity=1.0"),
        ({"log_sigma2": 99.0}, "log_sigma2 is 99.0"),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(bad, says):
    run = start(tiny_task())
    before = {name: p.clone() for name, p in run.model.state_dict().items()}
    with pytest.raises(InputError, match=says):
        list(method(run, **QUICK | bad))
    assert run.step == 0
    assert all(torch.equal(p, before[name]) for name, p in run.model.state_dict().items())


def test_nan_is_no_option():
    for name in ("begin", "end", "decay", "strength", "lr", "sparsity"):
        with pytest.raises(InputError, match=f"{name}=nan"):
            lived(**{name: math.nan})


def test_the_sparsity_on_the_way_is_what_the_gates_would_remove():
    run, found = start(tiny_task()), []
    for _ in method(run, **QUICK):
        found.append((run.sparsity(), masks.sparsity(decided(run.model))))
    assert [a for a, _ in found] == pytest.approx([b for _, b in found], abs=1e-12)
    assert 0 < found[0][0] < found[-1][0] == run.sparsity()
