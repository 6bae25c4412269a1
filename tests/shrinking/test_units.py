"""Units: scores of weights summed onto units; units that stay, as masks of weights."""

import pytest
import torch
from test_shrink import half
from torch import nn
from zoo import ZOO, built, flat, mlp, plain, separable, shared

from sapwood import masks as mask
from sapwood.criteria import CRITERIA
from sapwood.errors import InputError
from sapwood.scoring.criterion import score
from sapwood.shrinking.cutting.units import per_unit, spread
from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.site import Site, Slot

TOUCHING = ("makes", "reads", "holds", "both")


def scored(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(p.shape, generator=generator, dtype=torch.float64) for name, p in model.named_parameters()}


def test_two_hidden_units_worked_by_hand():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    found = sites(model, flat(3).float())
    scores = {
        "0.weight": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "0.bias": torch.tensor([10.0, 20.0]),
        "2.weight": torch.tensor([[0.5, 0.25], [0.5, 0.75]]),
        "2.bias": torch.tensor([7.0, 8.0]),
    }
    for touching, by_hand in (("makes", [6, 15]), ("reads", [1, 1]), ("holds", [10, 20]), ("both", [17, 36])):
        assert per_unit(scores, found, touching=touching)["0"].tolist() == by_hand
    assert per_unit(scores, found, reduce=torch.mean)["0"].tolist() == [2, 5]
    assert per_unit(scores, found, touching="both", reduce=torch.amax)["0"].tolist() == [10, 20]


@pytest.mark.parametrize("touching", TOUCHING)
@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_sums_over_units_are_additive_and_leave_nothing_out(make, touching):
    model, example = built(make)
    found = [site for site in sites(model, example) if touching == "both" or any(site.at(touching))]
    a, b = scored(model, 1), scored(model, 2)
    if not any(slot.tensor in a for site in found for slot in site.slots if touching in ("both", slot.role)):
        return
    units = {site.name: site.units for site in found}
    one, two = per_unit(a, found, touching=touching), per_unit(b, found, touching=touching)
    both = per_unit({name: a[name] + b[name] for name in a}, found, touching=touching)
    for name, values in both.items():
        assert values.shape == (units[name],)
        torch.testing.assert_close(values, one[name] + two[name], rtol=1e-14, atol=0)
    for site in found:
        slots = [slot for slot in site.slots if slot.tensor in a and touching in ("both", slot.role)]
        total = sum(float(a[slot.tensor].movedim(slot.dim, 0)[slot.unit_of >= 0].sum()) for slot in slots)
        assert float(one[site.name].sum() if slots else 0) == pytest.approx(total, rel=1e-13)


def test_units_with_unequal_numbers_of_positions():
    unit_of = torch.tensor([0, 1, -1, 0])
    site = Site("odd", 2, (Slot("w", 1, unit_of, "reads"),), torch.ones(2, dtype=torch.bool))
    scores = {"w": torch.tensor([[1.0, 2.0, 50.0, 3.0], [10.0, 20.0, 50.0, 30.0]])}
    assert per_unit(scores, [site], touching="reads")["odd"].tolist() == [44, 22]
    assert per_unit(scores, [site], touching="reads", reduce=torch.mean)["odd"].tolist() == [11, 11]


def test_scores_of_layers_reach_every_site_that_they_make():
    model, example = built(separable)
    found = sites(model, example)
    assert set(per_unit(score(model, CRITERIA["magnitude"]), found)) == {site.name for site in found}
    only = score(model, CRITERIA["magnitude"], only=["layers.point"])
    assert set(per_unit(only, found)) == {"layers.point"}
    assert set(per_unit(only, found, touching="reads")) == {"layers.a"}


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_a_masked_network_is_the_gated_one(make, unchanged):
    model, example = built(make)
    masked, _ = built(make)
    unchanged(model)
    found = sites(model, example)
    for seed in range(3):
        keep = half(found, seed)
        masks = spread(model, keep, found)
        masked.load_state_dict(model.state_dict())
        mask.apply_(dict(masked.named_parameters()), masks)
        small = shrink(model, keep, found, example=example).model
        with torch.no_grad():
            torch.testing.assert_close(masked(example), small(example), rtol=0, atol=1e-12)
        smaller = dict(small.named_parameters())
        assert set(masks) == {s.tensor for site in found for s in site.slots} & set(smaller)
        assert {name: int(kept.sum()) for name, kept in masks.items()} == {n: smaller[n].numel() for n in masks}


def test_a_shared_layer_loses_rows_and_columns():
    model, example = built(shared)
    keep = {"layers.a": torch.arange(6) < 4}
    found = spread(model, keep, sites(model, example))["layers.same.weight"]
    assert torch.equal(found, keep["layers.a"][:, None] & keep["layers.a"])


def test_what_all_stays_is_not_masked():
    model, example = built(plain)
    found = sites(model, example)
    assert spread(model, {}, found) == {}
    assert mask.sparsity(spread(model, {site.name: torch.ones(site.units).bool() for site in found}, found)) == 0


def test_refusals():
    model, example = built(mlp)
    found = sites(model, example)
    with pytest.raises(InputError, match="unknown touching 'writes'"):
        per_unit(scored(model), found, touching="writes")
    with pytest.raises(InputError, match=r"scores are for '4\.weight'; give"):
        per_unit({"4.weight": torch.ones(4, 6)}, found)
    with pytest.raises(InputError, match=r"'2.weight' have shape \(5, 8\).* sits on 6 positions of its dimension 0"):
        per_unit({"0.weight": torch.ones(8), "2.weight": torch.ones(5, 8)}, found)
    with pytest.raises(InputError, match="'1'"):
        spread(model, {"1": torch.ones(8).bool()}, found)
    for wrong in (torch.ones(7).bool(), torch.ones(8)):
        with pytest.raises(InputError, match="keep for site '0'"):
            spread(model, {"0": wrong}, found)
