"""Config: what a model is built from says what is left of it, where it can; else it is as it was."""

from copy import deepcopy
from dataclasses import dataclass, field

import pytest
import torch
from shrinking.zoo import flat, settled
from torch import nn

from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import shrink


@dataclass
class Inner:
    """A config within a config."""

    middle: int = 12


@dataclass
class Config:
    """Three widths of which two are equal."""

    width: int = 12
    layers: int = 2
    heads: int = 2
    name: str = "toy"
    inner: Inner = field(default_factory=Inner)


class Built(nn.Module):
    """Blocks around a stream, all of one middle width."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.first = nn.Linear(5, config.width)
        self.up = nn.ModuleList(nn.Linear(config.width, config.inner.middle) for _ in range(config.layers))
        self.down = nn.ModuleList(nn.Linear(config.inner.middle, config.width) for _ in range(config.layers))
        self.last = nn.Linear(config.width, 3)

    def forward(self, x):
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return self.last(torch.relu(x))


class BuiltFromWords(Built):
    """Not to be called with a config."""

    def __init__(self, words):
        super().__init__(Config(width=int(words)))


def smaller(model, **left):
    """So many units of the sites of these modules; "up0" is up.0."""
    x = flat(5)
    found = sites(settled(model), x)
    wanted = {name.replace("0", ".0").replace("1", ".1"): count for name, count in left.items()}
    keep = {site.name: torch.arange(site.units) < wanted[site.name] for site in found if site.name in wanted}
    assert len(keep) == len(wanted)
    return shrink(model, keep, found, example=x).model, x


def numbers(config):
    return config.width, config.inner.middle, config.layers, config.heads, config.name


@pytest.mark.parametrize(
    ("left", "wanted"),
    [({"up0": 7, "up1": 7}, (12, 7)), ({"first": 8}, (8, 12)), ({"first": 8, "up0": 8, "up1": 8}, (8, 8)),
     ({"first": 9, "up0": 5, "up1": 5}, (9, 5))],
)  # fmt: skip
def test_a_config_says_what_is_left(left, wanted):
    model = Built(Config())
    small, x = smaller(model, **left)
    assert numbers(small.config) == (*wanted, 2, 2, "toy")
    assert numbers(model.config) == (12, 12, 2, 2, "toy")
    again = Built(deepcopy(small.config)).to(x.dtype)
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(x), small(x))


def test_a_config_that_cannot_say_it_stays():
    small, _ = smaller(Built(Config()), up0=7, up1=8)
    assert numbers(small.config) == (12, 12, 2, 2, "toy")
    assert [layer.out_features for layer in small.up] == [7, 8]


def test_without_a_check_nothing_is_compared_and_a_config_stays():
    model, x = settled(Built(Config())), flat(5)
    found = sites(model, x)
    keep = {site.name: torch.arange(site.units) < 7 for site in found if site.name.startswith("up")}
    small = shrink(model, keep, found, example=x, check=False).model
    assert numbers(small.config) == (12, 12, 2, 2, "toy")
    assert small.up[0].out_features == 7


def test_a_class_that_is_not_built_from_its_config_keeps_it():
    small, _ = smaller(BuiltFromWords("12"), up0=7, up1=7)
    assert numbers(small.config) == (12, 12, 2, 2, "toy")


def test_shapes_alone_do_not_do():
    """A config whose numbers build another function of the same shapes is not taken."""

    class Scaled(Built):
        def forward(self, x):
            return super().forward(x) * self.config.inner.middle

    small, _ = smaller(Scaled(Config(width=10)), up0=7, up1=7)
    assert numbers(small.config) == (10, 12, 2, 2, "toy")


def test_a_config_that_is_read_beside_a_modules_own_number_stays():
    """Built anew both numbers are new; in what was cut out the module's is the old one, and the outputs would be 0."""

    class Twice(Built):
        def __init__(self, config):
            super().__init__(config)
            self.at_first = config.inner.middle

        def forward(self, x):
            return super().forward(x) * (self.config.inner.middle == self.at_first)

    model = Twice(Config(width=10))
    small, x = smaller(model, up0=7, up1=7)
    assert (small.config.inner.middle, small.at_first) == (12, 12)
    assert float(small(x).detach().abs().max()) > 0


class Headed(nn.Module):
    """Heads of a size of its own: fewer, or narrower ones, give the same shapes."""

    def __init__(self, config):
        super().__init__()
        self.config, size = config, config.heads * config.inner.middle
        self.q, self.k, self.v = nn.Linear(5, size), nn.Linear(5, size), nn.Linear(5, size)
        self.out = nn.Linear(size, 3)

    def forward(self, x):
        split = (-1, self.config.inner.middle)
        q, k, v = (of(x).view(*x.shape[:2], *split).transpose(1, 2) for of in (self.q, self.k, self.v))
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def test_fewer_heads_are_told_from_narrower_ones_by_what_they_answer():
    model, x = settled(Headed(Config(heads=4, inner=Inner(6)))), flat(5, 8).view(2, 4, 5)
    heads = [site for site in sites(model, x) if site.units == 4]
    small = shrink(model, {heads[0].name: torch.arange(4) < 2}, heads, example=x).model
    assert (small.config.heads, small.config.inner.middle) == (2, 6)


def test_random_numbers_go_on_as_if_nothing_had_been_built():
    model, x = Built(Config()), flat(5)
    found = sites(settled(model), x)
    keep = {site.name: torch.arange(site.units) < 7 for site in found}
    torch.manual_seed(3)
    shrink(model, keep, found, example=x)
    after = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(2))
