"""Whatever `sites` offers can be removed: each site alone, and together with all others."""

import pytest
import torch
import torch.nn.functional as F
from oracle import confirmed
from random_checks import NIGHTLY
from test_coverage import MISSING, OWN
from torch import nn
from zoo import ZOO, Written, built, conv, flat, image, settled

from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy

from architectures import ARCHITECTURES, made  # isort: skip - test_coverage says where they are


def some(units, number):
    """Other shares of each site stay."""
    return torch.arange(units) % (2 + number % 3) != 1


def every_offer(model, example):
    """Each alone, all together; how many there were."""
    anatomy = Anatomy(model, example)
    keep = wanted(anatomy)
    can_go(anatomy, keep, keep)
    return len(keep)


def wanted(anatomy):
    return {site.name: some(site.units, number) for number, site in enumerate(sites(anatomy))}


def can_go(anatomy, keep, alone):
    for name in alone:
        assert shrink(anatomy, {name: keep[name]}).difference < 1e-9, name
    assert shrink(anatomy, keep).difference < 1e-9


def each_kind_of_offer(model, example):
    """Of one name, numbers aside, a single site alone: the other layers of a kind are alike. All together.

    By day at most eight kinds, from all over the network.
    """
    anatomy = Anatomy(model, example)
    keep = wanted(anatomy)
    assert keep
    kinds = {"".join(c for c in name if not c.isdigit()): name for name in reversed(keep)}
    can_go(anatomy, keep, [*kinds.values()][:: 1 if NIGHTLY else -(-len(kinds) // 8)])


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_of_every_small_network(make):
    model, example = built(make)
    assert every_offer(model, example) == len(ZOO[make])


@pytest.mark.parametrize("name", OWN)
def test_of_our_own_architectures(name):
    each_kind_of_offer(*made(name))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; pip install -e '.[peers]'")
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in OWN])
def test_of_the_coverage_pages_other_architectures(name):
    each_kind_of_offer(*made(name))


# ---- sizes that are read for other tensors ----


def images(how, **layers):
    return settled(Written(how, a=conv(3, 8, 1), head=conv(8, 3, 1), **layers)), image()


def read_for_a_view(of, x):
    x = F.relu(of["a"](x))
    n, c, h, w = x.shape
    q, k, v = of["qkv"](x).view(n, 3, c, h * w).unbind(1)
    return of["head"](x + of["p"]((v @ (k.mT @ q).softmax(1)).view(n, c, h, w)))


def read_for_zeros(of, x):
    x = F.relu(of["a"](x))
    y = of["b"](x)
    return of["head"](y + torch.cat([x, y.new_zeros(len(x), 16 - 8, *x.shape[2:])], 1)[:, : y.shape[1]])


def read_for_a_part(of, x):
    x = F.relu(of["a"](x))
    return of["head"](torch.cat(of["b"](x).split(x.shape[1], 1), 1)[:, :8])


def read_as_a_number(of, x):
    x = F.relu(of["a"](x))
    return of["head"](x * x.shape[1] ** 0.5)


READ = {
    "view": (read_for_a_view, {"qkv": conv(8, 24, 1), "p": conv(8, 8, 1)}),
    "zeros": (read_for_zeros, {"b": conv(8, 8, 1)}),
    "split": (read_for_a_part, {"b": conv(8, 16, 1)}),
    "number": (read_as_a_number, {}),
}


@pytest.mark.parametrize("name", READ)
def test_a_size_read_for_something_else_pins_by_line_or_can_go(name):
    how, layers = READ[name]
    model, example = images(how, **layers)
    found = couplings(model, example)
    every_offer(model, example)
    if "layers.a" not in {site.name for site in found.sites}:
        (because,) = {pin.because for pin in found.pinned if pin.name == "layers.a"}
        assert "aten." in because
        assert ".py:" in because
        assert "do not fit" not in because


def test_a_number_made_of_a_size_is_told_as_such():
    model, example = images(read_as_a_number)
    (pin,) = (pin for pin in couplings(model, example).pinned if pin.name == "layers.a")
    assert "so a size is a number there: give it one of its own" in pin.because


@pytest.mark.parametrize("like", [torch.zeros_like, torch.ones_like, lambda x: torch.full_like(x, 0.5)])
def test_numbers_of_a_tensors_shape_follow_its_units(like):
    model, example = images(lambda of, x: of["head"](doubled(of, x, like)), b=conv(8, 16, 1))
    model.layers["head"] = conv(16, 3, 1).double()
    found = sites(model, example)
    assert {site.name: site.units for site in found} == {"layers.a": 8}
    keep = {"layers.a": torch.arange(8) % 3 != 0}
    small = shrink(model, keep, found, example=example).model
    assert small.layers["b"].out_channels == 2 * int(keep["layers.a"].sum())
    with torch.no_grad():
        torch.testing.assert_close(small(example), confirmed(model, example, found, keep), rtol=0, atol=1e-12)


def doubled(of, x, like):
    x = F.relu(of["a"](x))
    return of["b"](x) + torch.cat([x, like(x)], 1)


# ---- heads ----


class ByAttribute(nn.Module):
    """Heads read from an attribute and from a layer's size, the stream before them free to go."""

    def __init__(self, write=False):
        super().__init__()
        self.h, self.a, self.out = 4, nn.Linear(5, 16), nn.Linear(16, 3)
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.count = (lambda: 4) if write else (lambda: self.h)

    def forward(self, x):
        x = self.a(x)
        q, k, v = (
            y.view(*y.shape[:2], self.count(), y.shape[-1] // self.count()).transpose(1, 2)
            for y in (self.q(x), self.k(x), self.v(x))
        )
        return self.out(x + self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))


class Plainly(ByAttribute):
    """Without what a copy would share."""

    def __init__(self):
        super().__init__()
        del self.count

    def count(self):
        return self.h


def test_heads_by_an_attribute_go_with_the_rest():
    model, example = settled(Plainly()), flat(5, 8).view(2, 4, 5)
    assert {(site.name, site.units) for site in sites(model, example)} == {("a", 16), ("v", 4), ("q", 4)}
    assert every_offer(model, example) == 3


def test_heads_written_down_stay_and_what_is_inside_of_them_goes():
    model, example = settled(ByAttribute(write=True)), flat(5, 8).view(2, 4, 5)
    found = couplings(model, example)
    assert {(site.name, site.units) for site in found.sites} == {("a", 16), ("v", 4)}
    assert any(pin.name == "q" and f"aten.view ({__file__}:" in pin.because for pin in found.pinned)
    assert every_offer(model, example) == 2
