"""Choices of widths: how often each is drawn, what is expected, what an interpolated pass computes, what is baked."""

import math
from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sapwood import InputError, macs_of, shrink, sites
from sapwood.checks.tiny import seeded
from sapwood.gates import Clamp, Interpolated, WidthChoice
from sapwood.gates.interpolated import interpolated
from sapwood.gates.width_choice import usual_sizes
from sapwood.shrinking.scaling import points

DRAWS = 4_000
SURE = 4 * 0.5 / math.sqrt(DRAWS)  # four standard deviations, of the widest there is


def choice(preferences, units=16, **options):
    with seeded(0):
        gate = WidthChoice(units, **options).double()
    gate.preference.data = torch.tensor(preferences, dtype=torch.float64)
    return gate


def firsts(gate):
    """How often each size was drawn first."""
    with seeded(0):
        drawn = [gate.choose()[0][0] for _ in range(DRAWS)]
    return torch.bincount(torch.tensor(drawn), minlength=len(gate.sizes)) / DRAWS


# ---- the gate ----


def test_sizes_are_those_of_the_paper():
    assert usual_sizes(16) == (4, 6, 8, 9, 11, 12, 14, 16)
    assert usual_sizes(2) == (1, 2)
    assert [WidthChoice(64).sizes[i] for i in (0, -1)] == [19, 64]


def test_near_temperature_0_sizes_are_drawn_as_often_as_they_are_probable():
    gate = choice([0.0, 1.0, -1.0, 0.5], sizes=(1, 2, 3, 4), units=4, temperature=1e-3)
    assert firsts(gate).tolist() == pytest.approx(gate.preference.softmax(0).tolist(), abs=SURE)


@pytest.mark.parametrize("odds", [2.0, 5.0])
def test_at_temperature_1_they_are_drawn_as_often_as_the_mean_of_noisy_probabilities(odds):
    """Of two sizes E[1 / (1 + c E1 / E2)], E1 and E2 exponential: (c log c - c + 1) / (c - 1)², c the odds against."""
    gate = choice([math.log(odds), 0.0], sizes=(8, 16), several=1, temperature=1.0)
    less = (odds * math.log(odds) - odds + 1) / (odds - 1) ** 2
    assert firsts(gate).tolist() == pytest.approx([1 - less, less], abs=SURE)
    assert abs(less - 1 / (1 + odds)) > SURE  # which is not the probability itself


def test_two_different_sizes_are_drawn_and_their_weights_add_up_to_1():
    gate = choice([0.0] * 8)
    for _ in range(50):
        index, weights = gate.choose()
        assert len({*index}) == 2
        assert float(weights.detach().sum()) == pytest.approx(1, rel=1e-12)
        assert gate.draw(None)[:4].tolist() == pytest.approx([1] * 4)  # which every size has


def test_what_is_drawn_is_a_mean_of_two_widths():
    gate = choice([0.0, 0.0, 0.0], sizes=(1, 3, 4), units=4)
    with seeded(3):
        (one, other), weights = gate.choose()
    with seeded(3):
        drawn = gate.draw(None)
    wide, narrow = max(one, other), min(one, other)
    heavier = weights[[one, other].index(wide)]
    by_hand = [1.0 if u < gate.sizes[narrow] else heavier.item() if u < gate.sizes[wide] else 0.0 for u in range(4)]
    assert drawn.tolist() == pytest.approx(by_hand)


def test_over_many_draws_every_preference_gets_a_gradient():
    gate = choice([0.1 * n for n in range(8)], temperature=1.0)
    seen = torch.zeros(8, dtype=torch.bool)
    for _ in range(60):
        gate.preference.grad = None
        (gate.draw(None) @ torch.arange(16.0).double()).backward()
        seen |= gate.preference.grad != 0
    assert seen.all()


def test_the_expected_width_is_the_mean_of_the_sizes():
    gate = choice([0.0, math.log(2), math.log(5)], sizes=(4, 8, 16))  # 1/8, 2/8, 5/8
    assert gate.open().sum().item() == pytest.approx((4 + 2 * 8 + 5 * 16) / 8)
    assert gate.open()[[3, 4, 7, 8, 15]].tolist() == pytest.approx([1, 7 / 8, 7 / 8, 5 / 8, 5 / 8])
    assert gate.keep().all()
    assert choice([1.0, 0.0, 1.0], sizes=(4, 8, 16)).keep().sum() == 4  # of equals the first


def test_its_spread_is_entropy_as_a_share():
    assert choice([0.3] * 8).spread() == pytest.approx(1)
    assert choice([0.0, math.log(3)], sizes=(8, 16)).spread() == pytest.approx(2 - 0.75 * math.log2(3))
    assert choice([0.0, 800.0], sizes=(8, 16)).spread() == 0
    assert choice([0.0], sizes=(16,)).spread() == 0


@pytest.mark.parametrize(
    "options", [{"sizes": (4, 4)}, {"sizes": (0, 3)}, {"sizes": (8, 17)}, {"several": -1}, {"temperature": 0.0}]
)
def test_bad_choices_are_refused(options):
    with pytest.raises(InputError, match="|".join(options)):
        WidthChoice(16, **options)


# ---- interpolation ----


@pytest.mark.parametrize(("size", "to"), [(1, 4), (3, 4), (4, 6), (6, 16), (9, 16), (5, 5)])
def test_channels_are_interpolated_as_adaptive_pooling_does_it(size, to):
    with seeded(0):
        x = torch.randn(2, size, 3, 5).double()
    pooled = F.adaptive_avg_pool3d(x, (to, 3, 5))
    assert torch.allclose(interpolated(x, to, 1), pooled, rtol=0, atol=1e-12)
    assert torch.allclose(interpolated(x[:, :, 0], to, 1), pooled[:, :, 0], rtol=0, atol=1e-12)
    assert torch.allclose(interpolated(x[:, :, 0, 0], to, 1), pooled[:, :, 0, 0], rtol=0, atol=1e-12)
    assert torch.allclose(interpolated(x.movedim(1, -1), to, 3), pooled.movedim(1, -1), rtol=0, atol=1e-12)
    assert size != to or interpolated(x, to, 1) is x


def test_interpolation_by_hand():
    assert interpolated(torch.tensor([[1.0, 2.0, 4.0]]), 4, 1).tolist() == [[1.0, 1.5, 3.0, 4.0]]


# ---- the network ----


class Network(nn.Module):
    """A stream that two layers make, units within, and a layer without a norm."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.a, self.bn_a = nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.b, self.bn_b = nn.Conv2d(5, 6, 1), nn.BatchNorm2d(6)
        self.c, self.head = nn.Linear(6, 7), nn.Linear(7, 3)

    def forward(self, x):
        x = self.bn(self.stem(x)).relu()
        x = (x + self.bn_b(self.b(self.bn_a(self.a(x)).relu()))).relu()
        return self.head(self.c(x.mean((2, 3))).relu())


def images(seed=0):
    with seeded(seed):
        return torch.randn(4, 3, 5, 5).double()


@cache
def taken_apart():
    with seeded(1):
        model = Network().double()
    found = sites(model, images())
    return model, found, points(model, found, images())


def searched(moved=True):
    model, found, places = taken_apart()
    with seeded(1):
        gates = {site.name: WidthChoice(site.units, temperature=1.0).double() for site in found}
        gated = Interpolated(deepcopy(model), gates, places)
        for tensor in (*gated.norms.parameters(), *gated.norms.buffers()) if moved else ():
            tensor.data = torch.rand_like(tensor) + 0.3 if tensor.is_floating_point() else tensor
        for gate in gates.values():
            gate.preference.data = torch.randn_like(gate.preference)
    return gated, found


def test_layers_of_one_stream_share_a_choice_and_each_norm_has_its_own_for_each_size():
    gated, _ = searched()
    assert sorted(gated.widths) == sorted(gated.by_site())
    assert sorted(gated.norms) == ["bn", "bn_a", "bn_b"]
    assert [norm.num_features for norm in gated.norms["bn_b"]] == [norm.num_features for norm in gated.norms["bn"]]
    assert [norm.num_features for norm in gated.norms["bn_a"]] == [1, 2, 3, 4, 5]


def test_norms_begin_as_the_networks_own():
    gated, _ = searched(moved=False)
    for name in gated.norms:
        for own in gated.norms[name]:
            for which, value in gated.model.get_submodule(name).state_dict().items():
                assert torch.equal(own.state_dict()[which], value[: own.num_features] if value.dim() else value)


def by_hand(gated, x):
    """The pass by the paper's formula, its draws made in the order in which the sites are."""
    picked = {name: (gate, *gate.choose()) for name, gate in gated.by_site().items()}
    stream, inner, last = (next(v for v in picked.values() if v[0].units == units) for units in (6, 5, 7))
    model = gated.model

    def mixed(which, y, norms=None):
        gate, index, weights = which
        wide = max(gate.sizes[i] for i in index)
        parts = []
        for i, w in zip(index, weights, strict=True):
            part = y[:, : gate.sizes[i]]
            part = part if norms is None else gated.norms[norms][i](part)
            flat = F.adaptive_avg_pool1d(part.flatten(2).movedim(1, -1) if part.dim() > 2 else part[:, None], wide)
            parts.append(w * (flat.movedim(-1, 1).view(len(y), wide, *y.shape[2:])))
        return torch.cat([sum(parts), torch.zeros(len(y), gate.units - wide, *y.shape[2:]).double()], 1)

    x = mixed(stream, model.stem(x), "bn").relu()
    inside = mixed(inner, model.a(x), "bn_a").relu()
    x = (x + mixed(stream, model.b(inside), "bn_b")).relu()
    return model.head(mixed(last, model.c(x.mean((2, 3)))).relu())


@pytest.mark.parametrize("seed", range(4))
def test_a_pass_is_the_papers_formula(seed):
    gated, _ = searched()
    with torch.no_grad():
        with seeded(seed):
            expected = by_hand(gated, images())
        with seeded(seed):
            assert torch.allclose(gated(images()), expected, rtol=0, atol=1e-12)


def test_only_the_norms_of_sizes_that_were_drawn_see_the_batch():
    gated, _ = searched()
    gated(images())
    for norms in gated.norms.values():
        assert sum(int(norm.num_batches_tracked > 0) for norm in norms) == 2


def test_in_evaluation_it_is_the_smaller_network_of_the_sizes_that_are_preferred():
    gated, found = searched()
    gated.eval()
    baked, keep = gated.bake()
    assert any(not kept.all() for kept in keep.values())
    assert {name: int(kept.sum()) for name, kept in keep.items()} == {
        name: gate.sizes[gate.preferred()] for name, gate in gated.by_site().items()
    }
    small = shrink(baked, keep, found, example=images()).model.eval()
    with torch.no_grad():
        for x in (images(), images(5)):
            assert torch.allclose(gated(x), baked.eval()(x), rtol=0, atol=1e-10)
            assert torch.allclose(gated(x), small(x), rtol=0, atol=1e-10)


def test_sure_of_its_sizes_the_expected_cost_is_that_of_the_smaller_network():
    gated, found = searched()
    for gate in gated.by_site().values():
        gate.preference.data.mul_(1e6)
    cost = macs_of(gated.model, found, images())
    small = shrink(gated.bake()[0], gated.keep(), found, example=images()).model
    assert cost(gated.open()).item() == macs_of(small, (), images())({}).item()


def test_passes_inside_of_drawn_try_the_same_widths_and_nothing_stays_on_the_network():
    gated, _ = searched()
    for norm in gated.norms.modules():
        norm.eval() if isinstance(norm, nn.BatchNorm2d) else None
    with torch.no_grad(), gated.drawn():
        assert torch.equal(gated(images()), gated(images()))
    with torch.no_grad():
        assert not torch.equal(gated(images()), gated(images()))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in gated.model.modules())


def test_units_behind_another_gate_are_multiplied_as_ever():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    x = torch.rand(3, 4).double()
    found = sites(model, x)
    gates = {"0": WidthChoice(6).double(), "2": Clamp(5).double()}
    gated = Interpolated(model, gates, points(model, found, x)).eval()
    assert gated.widths == ()  # behind a sigmoid what reads the units is scaled
    gated.by_site()["2"].value.data[1] = 0.25
    baked, _ = gated.bake()
    assert torch.allclose(gated(x), baked(x), rtol=0, atol=1e-12)
    assert torch.equal(baked[2].bias[1], model[2].bias[1] * 0.25)
