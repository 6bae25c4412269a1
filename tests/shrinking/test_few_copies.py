"""Few copies: how often a model is copied in a whole flow, and that what is used again is as it was."""

from collections import deque

import pytest
import torch
from shrinking.zoo import Written, built, flat, residual, settled
from torch import nn

from sapwood import compact, fewest, macs_of, per_unit, shrink, sites
from sapwood.shrinking.tracing import duplicate as copying
from sapwood.shrinking.tracing import training
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.bare import Copies, Meeting, ghost, meeting
from sapwood.shrinking.tracing.computed import copied
from sapwood.shrinking.tracing.reused import Reused


@pytest.fixture
def copies(monkeypatch):
    """The kinds of what was copied deeply, one for each time."""
    found, original = [], copying.deepcopy

    def deepcopy(thing, memo=None):
        found.append(type(thing).__name__)
        return original(thing, memo)

    monkeypatch.setattr(copying, "deepcopy", deepcopy)
    return found


def heads():
    """A block with heads, whose sizes are written into its code, so that it has to be tried."""

    def run(of, x):
        q, k, v = (of[name](x).view(len(x), 1, -1, 4).transpose(1, 2) for name in "qkv")
        return of["out"](((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2).flatten(1))

    return Written(run, **{name: nn.Linear(8, 8) for name in "qkv"}, out=nn.Linear(8, 3))


def flowed(model, example):
    anatomy = Anatomy(model, example)
    cost = macs_of(anatomy)
    scores = per_unit({name: p.detach().abs() for name, p in model.named_parameters()}, sites(anatomy))
    return shrink(anatomy, fewest(scores, cost, 0.75 * float(cost({}))))


@pytest.mark.parametrize("make", [lambda: built(residual), lambda: (settled(heads()), flat(8))])
def test_a_whole_flow_with_its_proof_takes_three_copies(make, copies):
    model, example = make()
    assert flowed(model, example).difference <= 1e-12
    assert 2 <= len(copies) <= 3


def test_compact_exports_once_a_round(monkeypatch):
    exports, original = [], torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *given, **more: exports.append(1) or original(*given, **more))
    model = settled(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)))
    rounds, once = [], training.exported
    monkeypatch.setattr(training, "exported", lambda *given, **more: rounds.append(1) or once(*given, **more))
    with torch.no_grad():
        model[0].weight[:3] = 0
    assert compact(model, example=flat(5)).model[0].out_features == 5
    assert len(exports) == len(rounds) == 2  # the second round finds that nothing more can go


class Config:
    def __init__(self):
        self.width, self.parts = 4, {"a": [1]}


class Changing(nn.Module):
    """A forward that changes whatever it holds."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls, self.seen = nn.Linear(4, 4), 0, [{"n": 0}]
        self.config, self.last = Config(), deque(maxlen=3)
        self.register_buffer("mean", torch.zeros(4))
        self.scale = torch.ones(4)

    def forward(self, x):
        self.calls += 1
        self.seen[0]["n"] += 1
        self.config.parts["a"].append(self.calls)
        self.config.width = self.new = self.calls
        self.last.append(self.calls)
        self.mean += 1
        self.scale *= 2
        self.layer.extra = nn.Linear(2, 2)
        return self.layer(x) * self.scale


def state(model):
    plain = (model.calls, model.seen, model.config.width, model.config.parts, list(model.last), hasattr(model, "new"))
    return repr((*plain, model.mean, model.scale, [*dict(model.named_modules())], model.training))


def test_a_copy_that_is_used_again_is_as_it_was_whatever_a_run_has_changed():
    model, x = Changing(), torch.rand(2, 4)
    reused, before = Reused(lambda: copied(model)), state(model)
    with reused.fresh() as first:
        first(x)
        first.layer.weight.data = torch.zeros(1, 1)
        first.__class__ = nn.Identity
    with reused.fresh() as second:
        assert second is first
        assert state(second) == before == state(model)
        assert torch.equal(second.layer.weight, model.layer.weight)


def test_what_cannot_be_looked_into_is_copied_for_each_run():
    class Hidden:
        __slots__ = ("n",)

    model = Changing()
    model.hidden = Hidden()
    reused = Reused(lambda: copied(model))
    with reused.fresh() as first, reused.fresh() as inner:
        assert inner is not first
    with reused.fresh() as second:
        assert second is not first


def test_inside_of_a_use_there_is_another_copy():
    reused = Reused(lambda: copied(Changing()))
    with reused.fresh() as first, reused.fresh() as inner:
        assert inner is not first


def test_what_is_noted_of_operators_is_what_they_give():
    def run(of, x):
        h = of["norm"](of["a"](x)).transpose(0, 1).softmax(-1).unsqueeze(0)
        return h.mean(1, keepdim=True) + h.to(torch.float32), h.max(-1), h.long() / 2

    model = ghost(Written(run, a=nn.Linear(8, 6), norm=nn.LayerNorm(6)))
    known, x = Copies(model), torch.rand(5, 8, device="meta")
    wanted, outputs = model(x), []
    for _ in range(2):
        with meeting("inputs", known):
            outputs.append(model(x))
    assert known.known
    for found in outputs:
        for a, b in zip(torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(wanted), strict=True):
            assert (a.shape, a.stride(), a.dtype, a.device) == (b.shape, b.stride(), b.dtype, b.device)


def test_numbers_of_another_type_are_another_question():
    x = torch.ones(3, dtype=torch.int64, device="meta")
    with torch.no_grad(), Meeting():
        assert [(x * n).dtype for n in (1, 1.0, True, 1.0)] == [
            torch.int64, torch.float32, torch.int64, torch.float32,
        ]  # fmt: skip
