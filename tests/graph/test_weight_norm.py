"""Weight norm: what is left of the computed weight is as it was, in its older and its newer form."""

import warnings
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.optim import SGD
from zoo import Written, conv, flat, image, settled

from sapwood.errors import InputError
from sapwood.shrinking import cut
from sapwood.shrinking.computed import computed, owner
from sapwood.shrinking.rules import RULES
from sapwood.shrinking.rules import weight_norm as rule
from sapwood.shrinking.shrink import compact, shrink
from sapwood.shrinking.sites import sites


def older(module, name="weight", dim=0):
    """torch's first weight norm, which has computed a weight by the time it is asked for one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(module, name, dim)


def network(norm, **options):
    """Normed convolutions; plain ones between them read what they make."""

    def forward(of, x):
        x = F.relu(of["deep"](F.relu(of["a"](x))))
        return of["head"](F.relu(of["c"](F.relu(of["b"](x)))).mean((2, 3)))

    layers = {"a": norm(conv(3, 6, bias=False)), "deep": norm(conv(6, 6, groups=6)), "b": conv(6, 5),
              "c": nn.ConvTranspose2d(5, 4, 2, 2), "head": norm(nn.Linear(4, 3))}  # fmt: skip
    return Written(forward, **layers | options)


def between(**layers):
    """Layers in a row."""

    def forward(of, x):
        for layer in list(of.values())[:-1]:
            x = F.relu(layer(x))
        return list(of.values())[-1](x)

    return Written(forward, **layers)


def named(function):
    return function.__name__


def units(found):
    return [site.units for site in found]


@pytest.mark.parametrize("norm", [weight_norm, older], ids=named)
def test_units_go_and_what_is_left_computes_the_same(norm, unchanged):
    model = settled(network(norm))
    model(image())  # the older one computes its weights now
    unchanged(model)
    found = sites(model, image())
    assert units(found) == [6, 5, 4]
    keep = {found[0].name: torch.tensor([1, 0, 1, 1, 0, 0]).bool(), found[1].name: torch.arange(5) != 2,
            found[2].name: torch.arange(4) != 1}  # fmt: skip
    result = shrink(model, keep, found, example=image())
    assert result.difference < 1e-12
    small = result.model
    assert [name for name, _ in small.named_parameters()] == [name for name, _ in model.named_parameters()]
    of = small.layers
    assert (of["a"].out_channels, of["deep"].groups, of["deep"].in_channels, of["b"].in_channels) == (3, 3, 3, 3)
    assert of["a"].weight.shape == (3, 3, 3, 3)
    torch.testing.assert_close(of["a"].weight, model.layers["a"].weight[keep[found[0].name]], rtol=0, atol=1e-15)


@pytest.mark.parametrize("norm", [weight_norm, older], ids=named)
def test_the_scale_makes_units_and_the_rest_holds_them(norm):
    model = settled(network(norm))
    roles = {(slot.tensor, slot.dim): slot.role for slot in sites(model, image())[0].slots}
    g, v = ("parametrizations.weight.original0", "parametrizations.weight.original1")
    g, v = (g, v) if norm is weight_norm else ("weight_g", "weight_v")
    assert roles == {
        (f"layers.a.{g}", 0): "makes", (f"layers.a.{v}", 0): "holds", (f"layers.deep.{g}", 0): "holds",
        (f"layers.deep.{v}", 0): "holds", ("layers.deep.bias", 0): "holds", ("layers.b.weight", 1): "reads",
    }  # fmt: skip


@pytest.mark.parametrize("norm", [weight_norm, older], ids=named)
@pytest.mark.parametrize("dim", [0, 1, None], ids=str)
def test_what_is_part_of_a_norm_goes_and_the_scale_makes_up_for_it(dim, norm):
    model = settled(between(a=nn.Linear(5, 6), b=nn.Linear(6, 4), c=nn.Linear(4, 3)))
    norm(model.layers["b"], dim=dim)
    found = sites(model, flat(5))
    assert units(found) == [6, 4]
    keep_I, keep_O = torch.tensor([1, 0, 1, 1, 0, 1]).bool(), torch.arange(4) != 2
    result = shrink(model, {found[0].name: keep_I, found[1].name: keep_O}, found, example=flat(5))
    assert result.difference < 1e-12
    before, after = (net.layers["b"].weight for net in (model, result.model))
    torch.testing.assert_close(after, before[keep_O][:, keep_I], rtol=0, atol=1e-15)


def test_a_slice_of_which_nothing_but_zero_is_left_stays_zero():
    """0 / 0 otherwise: what was not 0 in this row read the units that go."""
    model = settled(between(a=nn.Linear(5, 6), b=nn.Linear(6, 3), c=nn.Linear(3, 3)))
    with torch.no_grad():
        model.layers["b"].weight[1, 2:] = 0.0
    weight_norm(model.layers["b"])
    found = sites(model, flat(5))
    result = shrink(model, {found[0].name: torch.arange(6) > 1}, found, example=flat(5), removed="zeroed", check=False)
    weight = result.model.layers["b"].weight
    assert bool((weight[1] == 0).all())
    torch.testing.assert_close(weight, model.layers["b"].weight[:, 2:], rtol=0, atol=1e-15)
    assert shrink(model, {found[0].name: torch.arange(6) > 1}, found, example=flat(5)).difference < 1e-12


def test_transposed_convolutions_read_by_the_scale():
    def net():
        return between(a=conv(3, 6), b=weight_norm(nn.ConvTranspose2d(6, 4, 2)), c=conv(4, 2))

    model = settled(net())
    found = sites(model, image())
    assert units(found) == [6, 4]
    roles = {slot.tensor.rpartition(".")[2]: slot.role for slot in found[0].slots if slot.tensor.startswith("layers.b")}
    assert roles == {"original0": "reads", "original1": "holds"}
    keep = {found[0].name: torch.arange(6) > 1, found[1].name: torch.arange(4) > 0}
    assert shrink(model, keep, found, example=image()).difference < 1e-12


def test_a_norm_for_every_place_of_a_filter():
    """Positions of wav2vec 2.0: dim=2, where the norm goes over what is made and what is read."""
    tones = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    layers = {"a": nn.Conv1d(3, 6, 1), "b": weight_norm(nn.Conv1d(6, 4, 3, padding=1, groups=2), dim=2),
              "c": nn.Conv1d(4, 3, 1)}  # fmt: skip
    model = settled(Written(lambda of, x: of["c"](of["b"](of["a"](x))), **layers))
    found = sites(model, tones)
    assert units(found) == [3, 2]  # in each of two groups
    keep = {found[0].name: torch.arange(3) != 1, found[1].name: torch.arange(2) > 0}
    result = shrink(model, keep, found, example=tones)
    assert result.difference < 1e-12
    rows, columns = keep[found[1].name].repeat(2), keep[found[0].name]
    b, small = (net.layers["b"] for net in (model, result.model))
    torch.testing.assert_close(small.weight, b.weight[rows][:, columns], rtol=0, atol=1e-15)
    assert small.parametrizations.weight.original0.shape == (1, 1, 3)


@pytest.mark.parametrize("norm", [weight_norm, older], ids=named)
def test_a_recurrent_layer_with_a_normed_matrix(norm):
    def forward(of, x):
        return of["head"](of["rnn"](of["a"](x))[0])

    rnn = norm(nn.GRU(6, 5, batch_first=True), "weight_hh_l0")
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    model = settled(Written(forward, a=nn.Linear(5, 6), rnn=rnn, head=nn.Linear(5, 3)))
    model(x).sum().backward()
    found = sites(model, x)
    assert units(found) == [6, 5]
    keep = {found[0].name: torch.arange(6) > 1, found[1].name: torch.tensor([1, 0, 1, 0, 1]).bool()}
    result = shrink(model, keep, found, example=x)
    assert result.difference < 1e-12
    small = result.model.layers["rnn"]
    assert (small.input_size, small.hidden_size) == (4, 3)
    rows = keep[found[1].name].repeat(3)
    wanted = rnn.weight_hh_l0[rows][:, keep[found[1].name]]
    torch.testing.assert_close(small.weight_hh_l0, wanted, rtol=0, atol=1e-15)


def test_units_whose_scale_is_zero_are_silent_and_their_constant_is_folded():
    model = settled(between(a=weight_norm(nn.Linear(5, 6)), b=nn.Linear(6, 3)))
    with torch.no_grad():
        model.layers["a"].parametrizations.weight.original0[[1, 4]] = 0.0
    result = compact(model, example=flat(5))
    assert result.model.layers["a"].out_features == 4
    torch.testing.assert_close(result.model(flat(5)), model(flat(5)), rtol=0, atol=1e-14)


def test_the_optimiser_goes_on_with_its_memory_cut():
    model = settled(between(a=weight_norm(nn.Linear(5, 6)), b=nn.Linear(6, 3)))
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        model(flat(5)).square().mean().backward()
        optimizer.step()
    found, keep_U = sites(model, flat(5)), torch.arange(6) != 3
    result = shrink(model, {found[0].name: keep_U}, found, example=flat(5), optimizer=optimizer)
    small = result.model.layers["a"].parametrizations.weight
    for name in ("original0", "original1"):
        memory = optimizer.state[getattr(model.layers["a"].parametrizations.weight, name)]["momentum_buffer"]
        assert torch.equal(result.optimizer.state[getattr(small, name)]["momentum_buffer"], memory[keep_U])


def test_copies_take_computed_weights_along():
    model = settled(network(older))
    model(image()).sum().backward()  # torch refuses to copy the weights that this leaves behind
    copy = deepcopy(model, computed(model))
    assert torch.equal(copy(image()), model(image()))
    assert copy.layers["a"].weight is not model.layers["a"].weight
    assert not computed(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2)))


@pytest.mark.parametrize(
    ("tensor", "module"),
    [
        ("a.weight", "a"), ("weight", ""), ("a.b.parametrizations.weight.original0", "a.b"), ("a.weight_v", "a"),
        ("parametrizations.weight.original", ""), ("a.parametrizations.b.weight", "a.parametrizations.b"),
    ],
)  # fmt: skip
def test_whose_attributes_follow(tensor, module):
    assert owner(tensor) == module


# ---- planted mistakes ----


def test_a_cut_that_leaves_the_scale_as_it_was_is_caught(monkeypatch):
    """Zeros in v and a smaller v have the same norms, so the proof has to know the weight itself."""
    model = settled(between(a=nn.Linear(5, 6), b=weight_norm(nn.Linear(6, 3))))
    found = sites(model, flat(5))
    monkeypatch.setattr(cut, "rescale_", lambda *_: None)
    with pytest.raises(InputError, match="differ from the original by"):
        shrink(model, {found[0].name: torch.arange(6) > 1}, found, example=flat(5))


def test_a_rule_that_forgets_the_scale_is_caught(monkeypatch):
    def forgetful(ties, call):
        out = rule.normed(ties, call)
        return out if call["dim"] else call["v"]

    model = settled(between(a=weight_norm(nn.Linear(5, 6)), b=nn.Linear(6, 3)))
    monkeypatch.setitem(RULES, "_weight_norm", forgetful)
    monkeypatch.setattr(rule.Ties, "tie", lambda *_: None)
    found = sites(model, flat(5))
    with pytest.raises(InputError, match="the smaller network fails"):
        shrink(model, {found[0].name: torch.arange(6) > 1}, found, example=flat(5))
