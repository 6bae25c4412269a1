"""Sparse low rank: which inputs and outputs lose their tails, its control, and truncated SVD as its limit."""

import pytest
import torch
from recurrent import recurrent_task

from sapwood import METHODS, InputError, start
from sapwood.checks.tiny import tiny_task
from sapwood.methods.parts.components import components
from sapwood.methods.parts.significance import significance

SHORT = {"sparsity": 0.5, "epochs": 1, "tune": 1}


@pytest.mark.parametrize("nothing", [{"reduced": 0.0}, {"lower": 1.0}])
def test_with_nothing_reduced_it_is_truncated_svd(nothing):
    one = start(recurrent_task(length=1))
    losses = [now.loss for now in METHODS["sparse_low_rank"](one, **nothing, **SHORT)]
    other = start(recurrent_task(length=1))
    svd = {"sparsity": 0.5, "by": "svd", "epochs": 1, "gate_epochs": 1, "tune": 0}
    assert losses == [now.loss for now in METHODS["flop"](other, **svd)]
    assert all(torch.equal(p, q) for p, q in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_rare_symbols_lose_the_tail_of_their_features_and_stay_without_it():
    run = start(recurrent_task(length=1))
    list(METHODS["sparse_low_rank"](run, by="activations", **SHORT))
    train = run.task.data.train
    read = torch.bincount(train.take(torch.arange(len(train))).inputs.flatten(), minlength=128)
    kept, weight = run.masks["tokens.weight"], run.model.tokens.weight
    features = kept.shape[1]
    assert kept[:, : features // 2].all()
    assert (~kept[:, features // 2 :]).all(1).sum() == (~kept[:, features // 2 :]).any(1).sum() == 64
    assert read[~kept.all(1)].max() <= read[kept.all(1)].min()
    assert not weight[~kept].any()
    assert run.notes["truncated"] < 0.5 <= run.notes["sparsity_of_components"]


def test_luck_is_the_same_for_a_seed_only():
    runs = [start(recurrent_task(), seed=seed) for seed in (0, 0, 1)]
    drawn = [significance(run, components(run.apart.several), "luck", 1)["tokens"] for run in runs]
    assert [len(each) for each in drawn[0]] == [128, 32]
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))


@pytest.mark.parametrize(
    "wrong",
    [{"sparsity": 1.0}, {"by": "hope"}, {"reduced": 1.5}, {"lower": -0.1}, {"samples": 0}, {"rank": -1}],
)
def test_bad_options_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        list(METHODS["sparse_low_rank"](start(tiny_task()), **wrong))
