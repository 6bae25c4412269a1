"""Lean: graphs are what torch makes of them, only sooner. Reads: what code looks at is seen, and only that is tried."""

import gc
from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from shrinking.zoo import Written, built, decoder, flat, residual, settled
from torch import fx, nn

from sapwood import shrink, sites
from sapwood.shrinking import fit
from sapwood.shrinking.tracing import graph
from sapwood.shrinking.tracing.lines import line
from sapwood.shrinking.tracing.reads import seeing_reads


def choosing():
    def run(of, x):
        h = of["a"](x).relu()
        return of["b"](torch.cond(x.sum() > 0, lambda h: h * 2, lambda h: h - 1, (h,)))

    return settled(Written(run, a=nn.Linear(6, 8), b=nn.Linear(8, 3))), flat(6)


MADE = {"residual": lambda: built(residual), "decoder": lambda: built(decoder), "a choice": choosing}


def told(found):
    """Operators, what they are given and give, and their lines."""
    return [
        (node.op, str(node.target), str(node.args), str(node.kwargs), str(node.meta.get("val")), line(node))
        for node in found.module.graph.nodes
    ]


@pytest.mark.parametrize("make", MADE.values(), ids=list(MADE))
def test_the_graph_and_its_lines_are_those_of_torchs_own_export(make, monkeypatch):
    model, example = make()
    quick = told(graph.exported(model, example))
    monkeypatch.setattr(graph, "lean", nullcontext)
    assert quick == told(graph.exported(model, example))
    assert any("zoo.py" in each[-1] or "test_lean.py" in each[-1] for each in quick)


def test_graphs_made_meanwhile_still_run_and_afterwards_all_is_as_it_was():
    before = fx.GraphModule.recompile
    model, example = built(residual)
    found = graph.exported(model, example)
    assert fx.GraphModule.recompile is before
    assert gc.isenabled()
    with torch.no_grad():
        (given,) = found.module(*found.placeholders(example))
        assert torch.equal(given, model(example))
    assert "relu" in found.module.code or "add" in found.module.code


def test_who_collects_no_garbage_goes_on_to_do_so():
    gc.disable()
    try:
        graph.exported(*built(residual))
        assert not gc.isenabled()
    finally:
        gc.enable()


class Sized(nn.Module):
    """Heads by a number that its code reads; another of the same size that nobody reads."""

    kinds = 4  # a class may say so for all of its modules

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.unread, self.heads, self.also_unread = 4, 4, 8

    def forward(self, x):
        q, k, v = (part(x).view(*x.shape[:-1], self.heads, 2).transpose(-2, -3) for part in (self.q, self.k, self.v))
        return self.out(((q @ k.mT).softmax(-1) @ v).transpose(-2, -3).flatten(-2))


def test_numbers_that_are_read_are_seen_and_modules_hold_what_they_held():
    model = Sized()
    held = dict(vars(model))
    watched = [(Sized, name) for name in ("heads", "unread", "kinds")]
    with seeing_reads(watched) as read:
        assert model.heads == 4
        model.heads = 3
        assert (model.heads, vars(model)["heads"]) == (3, 3)
        del model.heads
        with pytest.raises(AttributeError, match="heads"):
            _ = model.heads
        model.heads = 4
    assert read == {(Sized, "heads")}
    assert dict(vars(model)) == held
    assert {"heads", "unread"}.isdisjoint(vars(Sized))
    assert Sized.kinds == 4


def test_what_is_watched_is_left_alone_again_after_an_error():
    with pytest.raises(RuntimeError), seeing_reads([(Sized, "heads")]):
        raise RuntimeError
    assert "heads" not in vars(Sized)


def test_only_what_the_code_looks_at_is_tried(monkeypatch):
    tried, original = [], fit._Stage.run

    def run(stage, attributes, places):
        if stage.keep:
            tried.append((id(stage), attributes.get("", {}).get("heads")))
        return original(stage, attributes, places)

    monkeypatch.setattr(fit._Stage, "run", run)
    model = settled(Sized())
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = sites(model, x)
    (heads,) = (site for site in found if site.units == 4)
    small = shrink(model, {heads.name: torch.tensor([True, False, True, True])}, found, example=x).model
    assert (small.heads, small.q.out_features) == (3, 6)
    assert {heads for _, heads in tried} >= {None, 2, 3}
    for (stage, one), (next_stage, other) in pairwise(tried):  # that another number changes is no other trial
        assert stage != next_stage or one != other
