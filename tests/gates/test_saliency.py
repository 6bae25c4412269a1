"""Saliency gates: the module worked out by hand, the floor, slopes straight through, costs of each sample, refusals."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from sapwood import InputError, macs_of, points, shrink, sites
from sapwood.gates import Gated, Saliency


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 20, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(20 * 16, 3)).double().eval()


def gated(start=0.0):
    """A gate on each site, with modules whose answers differ from sample to sample; and eight samples."""
    model, x = network(), torch.randn(8, 1, 8, 8, dtype=torch.float64)
    found = sites(model, x[:1])
    made = {s.name: Saliency(s.units, reads=model.get_submodule(s.name).in_channels, start=start) for s in found}
    for gate in made.values():
        gate.inner.data *= 5
        gate.outer.data *= 5
    return Gated(model, made, points(model, found, x[:1])).double(), found, x


def by_hand():
    """Two channels to three units; the first two inner units are the channels, the other six are 0."""
    gate = Saliency(3, reads=2, start=-1.0).double()
    inner, outer = torch.zeros(8, 2), torch.zeros(3, 8)
    inner[0, 0] = inner[1, 1] = 1.0
    outer[0, 0], outer[1, 1], outer[2, 0] = 2.0, 1.0, -1.0
    gate.variance -= 1e-5  # what a norm adds
    gate.inner.data, gate.outer.data = inner.flatten().double(), outer.flatten().double()
    return gate


def test_worked_by_hand():
    """u = (2, -3), relu gives (2, 0): a = (4 - 1, 0 - 1, -2 - 1)."""
    gate, x = by_hand().eval(), torch.empty(1, 2, 2, 2, dtype=torch.float64)
    x[0, 0], x[0, 1] = torch.tensor([[0.0, 4.0], [1.0, 3.0]]), torch.tensor([[-3.0, -3.0], [-6.0, 0.0]])
    assert gate.pooled(x).tolist() == [[2.0, -3.0]]
    assert gate.draw(x).tolist() == [[1.0, 0.0, 0.0]]
    torch.testing.assert_close(gate.scores, torch.tensor([[3.0, -1.0, -3.0]], dtype=torch.float64))
    torch.testing.assert_close(gate.open(), torch.sigmoid(gate.scores))
    assert gate.macs == 2 * 8 + 8 * 3


def test_the_module_is_a_quarter_as_wide_as_the_layer_and_never_below_eight():
    assert [Saliency(units, reads=1).hidden for units in (3, 32, 40)] == [8, 8, 10]


@pytest.mark.parametrize(("units", "least", "stay"), [(20, 0.1, 2), (21, 0.1, 3), (4, 0.0, 1), (4, 1.0, 4)])
def test_the_highest_stay_open_whatever_their_scores(units, least, stay):
    gate = Saliency(units, reads=1, least=least).eval()
    a = -1 - torch.arange(units).flip(0).float()[None]
    assert gate.decided(a).tolist() == [[False] * (units - stay) + [True] * stay]


def test_backwards_it_is_the_sigmoid():
    gate, x, c = by_hand(), torch.tensor([[1.0, 0.5]], dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double()
    gate.noise.zero_()
    (gate.draw(x) @ c).backward()
    soft = torch.sigmoid(torch.tensor([1.0, -0.5, -2.0], dtype=torch.float64) * 1.5)
    torch.testing.assert_close(gate.bias.grad, c * soft * (1 - soft) * 1.5)


def test_samples_are_told_from_each_other_and_not_channels():
    """In training the means of a batch are centred and scaled; in evaluation by what batches were like."""
    gate, u = by_hand(), torch.tensor([[5.0, 1.0], [7.0, 1.0], [6.0, 4.0]], dtype=torch.float64)
    highest = gate.score(u)[:, 0]  # 2 relu(z) - 1, z = -1.22, 1.22, 0 of the first channel
    torch.testing.assert_close(highest, 2 * torch.tensor([0.0, 1.5, 0.0]).double().sqrt() - 1, atol=1e-4, rtol=0)
    torch.testing.assert_close(gate.mean, torch.tensor([0.6, 0.2], dtype=torch.float64))
    gate.eval()
    assert torch.equal(gate.score(u)[:1], gate.score(u[:1]))


def test_in_training_units_are_open_as_often_as_is_said():
    gate = Saliency(4, reads=1)
    gate.outer.data.zero_()
    gate.bias.data = torch.tensor([9.0, -1.0, 0.0, 1.0])  # the first is the one that always is
    torch.manual_seed(0)
    drawn = gate.draw(torch.zeros(20_000, 1))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), gate.open()[0], atol=0.015, rtol=0)


def test_asleep_it_leaves_all_units_open():
    model, _, x = gated(start=-3.0)
    for gate in model.gates.values():
        gate.awake.fill_(False)
    assert torch.equal(model(x), model.model(x))
    assert all(bool((opened == 1).all()) for opened in model.open().values())


def test_it_is_shown_what_its_layer_is_given_and_not_what_its_norm_is_given():
    model, _, x = gated()
    model.eval()(x)
    first = model.by_site()["0"]
    torch.testing.assert_close(first.scores, first.score(x.mean((1, 2, 3))[:, None]))


def test_what_a_sample_costs_is_what_its_network_costs_and_the_mean_has_slopes():
    model, found, x = gated()
    cost = macs_of(model.model, found, x[:1])
    model.eval()(x)
    masks = {name: gate.passed for name, gate in model.by_site().items()}
    each = cost(masks)
    counted = each.tolist()
    for n in range(len(x)):
        keep = {name: mask[n] != 0 for name, mask in masks.items()}
        small = shrink(model.model, keep, found, example=x[:1]).model
        assert counted[n] == float(macs_of(small, (), x[:1])({}))
    assert each.unique().numel() > 1
    each.mean().backward()
    assert all(bool((p.grad != 0).any()) for gate in model.by_site().values() for p in gate.parameters())


def test_masks_are_put_in_by_force():
    model, _, x = gated()
    model.eval()
    own = model(x)
    masks = {name: gate.passed for name, gate in model.by_site().items()}
    others = {name: mask.roll(1, 0) for name, mask in masks.items()}
    with model.forced(masks):
        assert torch.equal(model(x), own)
    with model.forced(others):
        assert not torch.equal(model(x), own)
    assert torch.equal(model(x), own)


def test_it_cannot_be_baked_and_the_error_says_what_to_do():
    with pytest.raises(InputError, match=r"gate of site '0' is per sample.*export\.Skipping"):
        gated()[0].bake()


def test_it_is_copied_after_a_pass_that_has_a_graph():
    model, _, x = gated()
    model.train()(x)
    again = deepcopy(model).eval()
    assert torch.equal(again(x), model.eval()(x))


def test_bad_input():
    for bad in ({"reads": 0}, {"reads": 2, "tau": 0}, {"reads": 2, "least": 2}, {"reads": 2, "start": float("nan")}):
        with pytest.raises(InputError, match=r"reads=.*give the number of channels"):
            Saliency(3, **bad)
    with pytest.raises(InputError, match=r"reads \[samples, 2, ...\], and its layer is given \[4, 3\]"):
        Saliency(3, reads=2).draw(torch.zeros(4, 3))
    with pytest.raises(InputError, match="seen no sample yet"):
        Saliency(3, reads=2).open()
