"""The recurrent decoder: what a layer computes, its gradients, what it carries on, what can be removed from it."""

import math

import pytest
import torch
from recurrent import SMALL

from sapwood import InputError
from sapwood.models.sru import HIGHWAY, Unit, _Scan, first_weights, scanned, sru
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import shrink


def network():
    torch.manual_seed(0)
    return sru(**SMALL, dtype=torch.float64)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def by_the_formula(layer, x_TBI, state):
    """What a layer makes of a sequence, number by number."""
    wide, every = layer.weight(layer.norm(x_TBI)), []
    (v_f, v_r), (b_f, b_r), d = layer.recurrent, layer.bias, layer.width
    scale = math.sqrt(1 + 2 * math.exp(HIGHWAY))
    for at in range(len(x_TBI)):
        u, u_f, u_r = wide[at][:, :d], wide[at][:, d : 2 * d], wide[at][:, 2 * d : 3 * d]
        x = x_TBI[at] if wide.shape[-1] == 3 * d else wide[at][:, 3 * d :]
        f, r = torch.sigmoid(u_f + v_f * state + b_f), torch.sigmoid(u_r + v_r * state + b_r)
        state = f * state + (1 - f) * u
        every.append(r * state + (1 - r) * x * scale)
    return torch.stack(every), state


@pytest.mark.parametrize(("inputs", "rank"), [(5, 0), (8, 4)])
def test_a_layer_and_its_gradients_are_those_of_the_loop_in_float64(inputs, rank):
    torch.manual_seed(1)
    layer = Unit(inputs, 8, rank, norm=inputs == 8, dtype=torch.float64)
    layer.reset_parameters()
    x, state, weight = drawn(6, 3, inputs).requires_grad_(), drawn(3, 8).requires_grad_(), drawn(6, 3, 8)
    asked = [x, state, *layer.parameters()]
    wanted, last = by_the_formula(layer, x, state)
    found, ended = layer(x, state)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(ended, last, rtol=0, atol=1e-12)
    slopes = (
        torch.autograd.grad((y * weight).sum() + c.square().sum(), asked) for y, c in ((wanted, last), (found, ended))
    )
    for name, one, other in zip(["x", "state", *dict(layer.named_parameters())], *slopes, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-10, msg=name)


def test_the_scan_of_training_is_the_one_that_is_traced():
    args = [drawn(7, 2, 5), drawn(7, 2, 5), drawn(5), drawn(2, 5)]
    torch.testing.assert_close(_Scan.apply(*args), scanned(*args), rtol=0, atol=1e-14)


def test_a_sequence_in_two_pieces_is_the_sequence():
    model, tokens, memory = network(), torch.randint(128, (3, 8), generator=torch.Generator().manual_seed(1)), {}
    whole = model(tokens)
    assert whole.shape == (3, 8, 128)
    pieces = torch.cat([model(piece, memory) for piece in (tokens[:, :5], tokens[:, 5:])], 1)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-12)
    assert {name: tuple(state.shape) for name, state in memory.items()} == dict.fromkeys("012", (3, 8))
    assert not any(state.requires_grad for state in memory.values())
    fewer = model(tokens[:2], dict(memory))  # the last batch of an epoch may have fewer rows
    torch.testing.assert_close(fewer, model(tokens, dict(memory))[:2], rtol=0, atol=1e-12)


def test_under_autocast_matrices_alone_are_in_half_precision():
    model, tokens, memory = sru(**SMALL), torch.randint(128, (3, 8), generator=torch.Generator().manual_seed(1)), {}
    whole = model(tokens).detach()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(tokens, memory)
    half.float().square().sum().backward()
    assert {state.dtype for state in memory.values()} == {torch.float32}
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
    torch.testing.assert_close(half.float(), whole, rtol=0.1, atol=0.1)


def test_the_network_of_the_paper_has_the_size_that_is_printed():
    with torch.device("meta"):
        model = sru(symbols=205, features=205, width=3056, rank=512, layers=6)
    every = sum(p.numel() for p in model.parameters())
    prunable = sum(p.numel() for layer in model.layers for p in layer.weight.parameters())
    assert (round(every / 1e6, 2), round(prunable / 1e6, 2)) == (34.57, 33.80)
    assert [round((every - s * prunable) / 1e6, 1) for s in (0.7, 0.8)] == [10.9, 7.5]
    assert every - 0.9 * prunable == pytest.approx(4.2e6, abs=0.06e6)  # printed as computed with one digit
    assert sum(p.numel() for p in sru().parameters()) == 495_872


def test_features_and_ranks_can_be_removed_and_the_stream_stays():
    model, example = network().eval(), torch.tensor([[1, 2], [3, 4]])
    found = couplings(model, example)
    assert [(site.name, site.units) for site in found.sites] == [
        ("tokens", 6), ("layers.1.weight.0", 4), ("layers.2.weight.0", 4)
    ]  # fmt: skip
    assert {pinned.name for pinned in found.pinned} >= {"layers.0.weight", "layers.1.weight.1", "output"}
    keep = {"tokens": torch.arange(6) != 2, "layers.2.weight.0": torch.tensor([True, False, False, True])}
    small = shrink(model, keep, found.sites, example=example).model
    with torch.no_grad():
        model.tokens.weight[:, 2] = 0
        model.layers[2].weight[0].weight[1:3] = 0
    torch.testing.assert_close(small(example), model(example), rtol=0, atol=1e-12)


def test_first_weights_are_as_wide_as_is_told_and_nothing_else_is_drawn():
    model = sru()
    layer = model.layers[1]
    for matrix in (layer.weight[0].weight, layer.weight[1].weight, model.layers[0].weight.weight):
        bound = math.sqrt(3 / matrix.shape[1])
        assert 0.98 * bound < float(matrix.detach().abs().max()) <= bound
    assert layer.bias.detach().mean(1).tolist() == [0, HIGHWAY]
    assert float(layer.recurrent.detach().abs().max()) <= 1 / 16
    torch.manual_seed(5)
    first_weights(model)
    torch.manual_seed(5)
    again = sru()
    luck = torch.rand(1)
    torch.manual_seed(5)
    first_weights(again)
    assert torch.equal(luck, torch.rand(1))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"features": 8}, {"rank": 9}, {"width": 2.0}])
def test_numbers_that_make_no_network_are_refused(wrong):
    with pytest.raises(InputError, match="sru has symbols=128"):
        sru(**{**SMALL, **wrong})
