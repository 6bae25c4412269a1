"""What both adapters do, in a plain loop: the laws, amounts by epochs, what is refused, what is said."""

import subprocess
import sys

import pytest
import torch
from rehearsal import EPOCHS, LARGEST_FIRST, Stage, X, adapter_laws, dense, train

from sapwood import CRITERIA, InputError, masks, schedule
from sapwood.adapters.noted import read
from sapwood.adapters.pruner import Pruner

LAWS = adapter_laws()


@pytest.mark.parametrize("law", LAWS)
def test_the_laws_hold(law):
    LAWS[law]()


@pytest.mark.parametrize(
    ("given", "amounts"),
    [
        ({"sparsity": 0.75}, {1: 0.75}),
        ({"sparsity": 0.75, "at": [4, 2]}, {2: 0.5, 4: 0.75}),
        ({"sparsity": {0: 0.2, 3: 0.5}}, {0: 0.2, 3: 0.5}),
        ({"sparsity": schedule.linear(1, 3, 1, 0.8)}, {1: 0.0, 2: 0.4, 3: 0.8}),
        ({"macs": 0.25, "at": [1, 2], "example": X[0]}, {1: 0.5, 2: 0.25}),
        ({"parameters": 100, "at": 2, "example": X[0]}, {2: 100.0}),
    ],
)
def test_amounts_come_when_they_are_due(given, amounts):
    assert Pruner(**given).due.amounts(0, 4) == pytest.approx(amounts)


def test_the_sparsity_is_exact_in_every_scope_and_names_in_keep_stay_whole():
    for scope in ("per_layer", "everywhere"):
        pruner = Pruner(0.75, scope=scope)
        train(pruner, dense())
        assert list(pruner.masks) == ["0.weight", "2.weight"]
        assert masks.sparsity(pruner.masks) == 0.75
    pruner = Pruner(0.5, keep=["0"])
    train(pruner, dense())
    assert list(pruner.masks) == ["2.weight"]


def test_zero_weights_that_leave_dead_units_are_cut_out_in_the_end():
    pruner = Pruner(0.8, at=EPOCHS, by="random_neuron", scope="everywhere", shrink=True, example=X[0])
    stage = train(pruner, dense())
    assert stage.model[2].weight.numel() < 64
    assert pruner.masks == {}


def test_a_second_training_holds_what_the_first_has_removed():
    pruner, stage = Pruner(0.5), dense()
    train(pruner, stage)
    first = dict(pruner.masks)
    train(pruner, stage, every_step=lambda *_: check(stage.model, first))
    check(stage.model, first)
    other = dense()
    train(pruner, other, stop=(0, 1))
    assert pruner.masks == {}
    pruner.release()


def check(model, kept):
    assert all(not model.get_parameter(name)[~keep].any() for name, keep in kept.items())


def test_two_pruners_of_one_training_are_refused_and_one_that_was_broken_off_makes_way():
    first, second, stage = Pruner(0.5, at=0), Pruner(0.5, at=0), dense()
    train(first, stage, stop=(2, 0))
    with pytest.raises(InputError, match="two callbacks prune one Sequential"):
        train(second, stage)
    first.release()
    train(first, stage, stop=(2, 0))
    later = Stage(stage.model, stage.optimizer)
    with second:
        train(second, later, stop=(1, 0))
        assert first._held is None
    stage.model[0].weight.data.fill_(1)
    stage.model(X[0])
    assert (stage.model[0].weight == 1).all()


def test_a_pruner_that_nobody_has_any_more_holds_nothing():
    stage = dense()
    train(Pruner(0.5, at=0), stage, stop=(1, 0))
    assert not any(module._forward_pre_hooks for module in stage.model.modules())


def test_training_that_ends_before_the_pruning_says_so():
    pruner, stage = Pruner(0.5, at=3), dense()
    pruner.begin(stage.model, [stage.optimizer], stage, 0, None, None)
    with pytest.warns(UserWarning, match=r"sparsity=0.5 was not done: training ended after 2 epochs"):
        pruner.finish(2)
    assert all(p.all() for p in stage.model.parameters())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no amount was given; give one of sparsity="),
        ({"sparsity": 0.5, "macs": 0.5}, "sparsity=0.5 and macs=0.5 was given"),
        ({"sparsity": 1.0}, "sparsity is 1.0; give the fraction of weights that is removed"),
        ({"sparsity": {1: 0.5, 2: 0.4}}, "what was removed stays removed, so let it rise"),
        ({"sparsity": {1: 0.5}, "at": 1}, "at is 1, and sparsity says itself"),
        ({"sparsity": 0.5, "at": -1}, "at is -1; give how many epochs"),
        ({"sparsity": 0.5, "at": []}, r"at is \[\]; give how many epochs"),
        ({"sparsity": 0.5, "by": "magnitud"}, "did you mean 'magnitude'"),
        ({"sparsity": 0.5, "by": "snip"}, "by='snip' needs weight_grad, which passes of training do not show"),
        ({"sparsity": 0.5, "by": "activity", "at": 0}, "needs to see an epoch of training first; set at=1"),
        ({"sparsity": 0.5, "scope": "global"}, "unknown scope 'global'"),
        ({"macs": 0.5}, "macs= removes whole units.*give example="),
        ({"macs": 0, "example": X[0]}, "macs is 0; give the share"),
        ({"macs": 100, "at": [1, 2], "example": X[0]}, "macs is 100 for several epochs"),
        ({"sparsity": 0.5, "shrink": True}, "shrink=True proves.*give example="),
    ],
)
def test_what_cannot_be_done_is_refused_when_it_is_asked_for(given, says):
    with pytest.raises(InputError, match=says):
        Pruner(**given)


@pytest.mark.parametrize(
    ("given", "over", "says"),
    [
        ({"sparsity": 0.5, "at": 5}, 0, "due after 5 epochs, and training ends after 4"),
        ({"sparsity": 0.5, "at": 1}, 2, "training goes on after 2, from a checkpoint that knows of no pruning"),
        ({"sparsity": schedule.once(9, 0.5)}, 0, "has nothing to do in 4 epochs"),
        ({"sparsity": 0.5, "keep": ["first"]}, 0, "unknown name in keep 'first'"),
        ({"sparsity": 0.5, "keep": ["0", "2"]}, 0, "keep names every layer of Sequential"),
        ({"sparsity": 0.5, "only": ["7"]}, 0, "'7'"),
        ({"macs": 0.01, "multiple": 1, "example": X[0]}, 0, "macs=0.01 cannot be met"),
    ],
)
def test_what_cannot_be_done_is_refused_when_training_begins(given, over, says):
    stage = dense()
    with pytest.raises(InputError, match=says):
        Pruner(**given).begin(stage.model, [stage.optimizer], stage, over, EPOCHS, None)
    assert not any(module._forward_pre_hooks for module in stage.model.modules())


def test_notes_are_read_back_and_damaged_ones_are_refused():
    pruner = Pruner(0.5, at=[1, 2], by="activity")
    train(pruner, dense(), stop=(1, 1))
    text = pruner.notes(everybody=True)
    noted = read(text)
    assert (noted.last, noted.watched) == (1, 1)
    assert all(torch.equal(noted.masks[name], keep) for name, keep in pruner.masks.items())
    assert {layer: set(sums) for layer, sums in noted.evidence.items()} == {"0": {"active"}, "2": {"active"}}
    pruner.release()
    with pytest.raises(InputError, match="by one of several processes"):
        _ = noted._replace(everybody=False).mine
    for wrong in (text[:-9], text.replace(" ", "", 2), "2 " + text[2:], None, 7):
        with pytest.raises(InputError, match=r"checkpoint notes"):
            read(wrong)


def test_a_trainer_that_is_not_installed_is_named_with_the_line_that_installs_it():
    code = """
import sys
for package, adapter in {"lightning": "in_lightning", "transformers": "in_transformers"}.items():
    sys.modules[package] = sys.modules[f"pytorch_{package}"] = None
    try:
        __import__(f"sapwood.adapters.{adapter}")
    except ImportError as error:
        print(isinstance(error, ValueError), error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = 'run: pip install "sapwood[trainers]"'
    assert done.stdout.splitlines() == [
        f"True sapwood.adapters.in_lightning needs lightning; {line}",
        f"True sapwood.adapters.in_transformers needs transformers; {line}",
    ]


def test_criteria_of_ones_own_are_taken_as_they_are():
    assert Pruner(0.5, by=LARGEST_FIRST).wish.by is LARGEST_FIRST
    assert Pruner(0.5, by=CRITERIA["lamp"]).wish.by is CRITERIA["lamp"]
