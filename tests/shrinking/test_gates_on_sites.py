"""Gates on every site of random networks: 0 is the network without the unit, baked is as gated, costs have slopes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_checks import PATIENT, Tally, many
from random_gates import gates_are_right
from random_images import networks as images
from random_products import PIECES as PRODUCTS
from random_products import Products
from random_sequences import networks as sequences
from torch import nn
from zoo import Written, built, conv, image, plain, residual, settled

from sapwood.errors import InputError
from sapwood.shrinking.finding import sites
from sapwood.shrinking.scaling import points

pytestmark = PATIENT
UNCOUNTED = ("chain",)  # by an operator whose multiply-adds have no formula


def pictures():
    return image(), image().flip(0, 1) + 0.1


def words():
    found = torch.arange(14).view(2, 7) % 11
    return found, (found * 3 + 5) % 11


def all_of(networks, inputs, count):
    tally = Tally()

    @many(count)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        with tally.one():
            gates_are_right(settled(model), inputs(), seed)

    each()
    tally.seen()
    assert not tally.refusals


def test_every_site_of_random_networks_on_images():
    all_of(images, pictures, 6)


@pytest.mark.slow
def test_every_site_of_random_networks_on_sequences():
    all_of(sequences, words, 10)


@pytest.mark.slow
@pytest.mark.parametrize("piece", [piece for piece in PRODUCTS if piece not in UNCOUNTED])
def test_every_site_of_products(piece):
    gates_are_right(settled(Products([piece], 8, True)), words(), 1)


def places(make):
    model, example = built(make)
    return {name: {point.tensor for point in of} for name, of in points(model, sites(model, example), example).items()}


def test_the_norm_behind_a_layer_else_the_layer_else_its_readers():
    """The middle layer's units pass a sigmoid, behind which 0 is 1/2."""
    assert places(plain) == {"0": {"1.weight", "1.bias"}, "4": {"8.weight"}, "8": {"8.weight", "8.bias"}}


def test_all_producers_of_a_stream():
    found = places(residual)
    assert found["layers.stem"] == {"layers.stem.weight", "layers.stem.bias", "layers.b.weight", "layers.b.bias"}
    assert found["layers.a"] == {"layers.bn.weight", "layers.bn.bias"}


def before_activation():
    """A stream that is read behind a norm of its own in every block."""

    def forward(of, x):
        x = of["stem"](x)
        x = x + of["a"](of["norm_a"](x).relu())
        return of["head"](of["norm"](x).relu().mean((2, 3)))

    norms = {"norm_a": nn.BatchNorm2d(6), "norm": nn.BatchNorm2d(6)}
    return Written(forward, stem=conv(3, 6), a=conv(6, 6), head=nn.Linear(6, 3), **norms), image()


def test_the_norms_in_front_of_the_readers_where_nothing_scales_behind_them():
    at = [f"layers.{norm}.{part}" for norm in ("norm_a", "norm") for part in ("weight", "bias")]
    assert places(before_activation) == {"layers.stem": set(at)}


def test_a_norm_without_numbers_of_its_own_has_its_readers_scaled():
    def made():
        return nn.Sequential(conv(3, 4), nn.BatchNorm2d(4, affine=False), nn.ReLU(), conv(4, 2)), image()

    assert places(made) == {"0": {"3.weight"}}


def test_what_only_norms_over_weights_make_and_read_is_refused():
    def made():
        spectral = nn.utils.parametrizations.spectral_norm
        return nn.Sequential(spectral(nn.Linear(5, 6)), nn.ReLU(), spectral(nn.Linear(6, 3))), image()[0, :, :, :5]

    with pytest.raises(InputError, match=r"no gate of 0 would remove the units of site '0'.*computed weights"):
        places(made)
