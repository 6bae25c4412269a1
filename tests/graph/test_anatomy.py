"""Anatomy: everything is found out once, and is the same as when it was asked for by itself."""

from collections import Counter

import pytest
import torch
from graph.zoo import blocks, built, flat, mlp, residual
from torch import nn

from sapwood import InputError, bytes_of, compact, couplings, fewest, macs_of, parameters_of, per_unit, shrink, sites
from sapwood.shrinking import anatomy as finding
from sapwood.shrinking import graph, training
from sapwood.shrinking.anatomy import Anatomy
from sapwood.shrinking.bare import Meeting
from sapwood.shrinking.rules.union import Union


@pytest.fixture
def counts(monkeypatch):
    """How often a model was exported, and a graph run on ids."""
    found = Counter()

    def counting(name, function):
        return lambda *given, **more: found.update([name]) or function(*given, **more)

    monkeypatch.setattr(training, "exported", counting("exports", graph.exported))
    monkeypatch.setattr(finding, "traced", counting("runs", graph.traced))
    return found


def scores_of(model, found):
    return per_unit({name: p.detach().abs() for name, p in model.named_parameters()}, found)


def test_a_whole_flow_makes_one_export_and_runs_the_graph_once(counts):
    model, example = built(residual)
    anatomy = Anatomy(model, example)
    cost = macs_of(anatomy)
    keep = fewest(scores_of(model, sites(anatomy)), cost, 0.7 * float(cost({})))
    assert shrink(anatomy, keep).difference <= 1e-12
    assert counts == {"exports": 1, "runs": 1}


def test_folding_takes_the_same_graph(counts):
    model, example = built(mlp)
    with torch.no_grad():
        model[0].weight[:3] = 0
    anatomy = Anatomy(model, example)
    keep = {sites(anatomy)[0].name: torch.arange(8) >= 3}
    assert not shrink(anatomy, keep, removed="folded").staying
    assert counts["exports"] == 1


def test_compact_exports_once_a_round(counts):
    model, example = built(mlp)
    with torch.no_grad():
        model[0].weight[:3] = 0
    small = compact(Anatomy(model, example)).model
    assert small[0].out_features == 5
    assert counts["exports"] == 2  # the second finds that nothing more can go


@pytest.mark.parametrize("make", [mlp, residual, blocks])
def test_an_anatomy_gives_what_the_model_gives(make):
    model, example = built(make)
    anatomy, found = Anatomy(model, example), sites(model, example)
    assert [(s.name, s.units, s.asked) for s in sites(anatomy)] == [(s.name, s.units, s.asked) for s in found]
    assert couplings(anatomy).pinned == couplings(model, example).pinned
    keep = {site.name: torch.arange(site.units) % 3 > 0 for site in found}
    for one, other in (
        (macs_of(anatomy), macs_of(model, found, example)),
        (parameters_of(anatomy), parameters_of(model, found)),
        (bytes_of(anatomy), bytes_of(model, found)),
    ):
        assert float(one(keep)) == float(other(keep))
        assert float(one({})) == float(other({}))


def test_lossy_sites_are_kept_beside_the_others():
    model = nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    anatomy = Anatomy(model, flat(5).float())
    assert not sites(anatomy)
    assert [site.units for site in sites(anatomy, lossy=True)] == [6]
    assert not sites(anatomy)


def test_what_was_given_with_a_model_or_without_is_refused_in_words():
    model, example = built(mlp)
    with pytest.raises(InputError, match="a model was given without an example"):
        sites(model)
    with pytest.raises(InputError, match="a model was given without its sites"):
        parameters_of(model)
    with pytest.raises(InputError, match="a model was given without its sites"):
        shrink(model, {}, example=example)
    with pytest.raises(InputError, match="another example than its own"):
        sites(Anatomy(model, example), flat(5))


def test_a_long_chain_is_followed_to_its_end():
    union, ids = Union(), torch.arange(100)
    union.join(ids[:-1], ids[1:])
    assert union.find(ids.view(10, 10)).tolist() == torch.zeros(10, 10, dtype=torch.int64).tolist()


def test_numbers_that_meet_none_lose_theirs_and_the_codes_own_stay():
    bare = torch.ones(3, device="meta")
    with Meeting():
        assert (torch.ones(3) + bare).is_meta
        assert torch.arange(3, device=bare.device).tolist() == [0, 1, 2]


def test_the_former_word_for_zeroed_still_does_and_says_so():
    model, example = built(mlp)
    anatomy = Anatomy(model, example)
    keep = {sites(anatomy)[0].name: torch.arange(8) > 2}
    with pytest.warns(DeprecationWarning, match='"zeroed" now'):
        old = shrink(anatomy, keep, removed="gated").model
    new = shrink(anatomy, keep, removed="zeroed").model
    assert torch.equal(old(example), new(example))
