"""Random networks from the zoo's pieces: whatever sites offers can be removed, and the rest computes the same."""

import os

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shrink import half
from torch import nn
from zoo import image, settled

from sapwood.shrinking.graph import named_tensors
from sapwood.shrinking.shrink import compact, shrink
from sapwood.shrinking.sites import sites

PIECES = ("plain", "residual", "dense", "separable", "grouped", "halves", "excite", "shuffle", "pool", "up", "pixels")


class Pieces(nn.Module):
    """Pieces one after another, then pooled or flattened into a linear answer."""

    def __init__(self, pieces, width, flatten, normed):
        super().__init__()
        self.pieces, self.flatten = pieces, flatten
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.of, size = nn.ModuleDict(), 8
        for n, piece in enumerate(pieces):
            grown = width
            a, b, c = width, width, width
            if piece in ("plain", "up"):
                grown = b = width + 4
            elif piece == "dense":
                b, grown = 4, width + 4
            elif piece == "halves":
                a, grown = width // 2, width // 2
                b = width // 2
            elif piece == "pixels":
                b, grown = width * 4, width
            groups = {"separable": width, "grouped": 2, "shuffle": 2}.get(piece, 1)
            make = nn.ConvTranspose2d if piece == "up" else nn.Conv2d
            self.of[f"a{n}"] = make(a, b, 3, padding=1, groups=groups)
            self.of[f"b{n}"] = nn.Conv2d(width, c, 1) if piece != "halves" else nn.Conv2d(a, b, 1)
            self.of[f"n{n}"] = nn.BatchNorm2d(grown) if normed else nn.Identity()
            width, size = grown, size // 2 if piece == "pool" else size * 2 if piece == "pixels" else size
        self.head = nn.Linear(width * size * size if flatten else width, 3)

    def forward(self, x):
        x = self.stem(x)
        for n, piece in enumerate(self.pieces):
            x = F.relu(self.of[f"n{n}"](getattr(self, f"_{piece}")(x, self.of[f"a{n}"], self.of[f"b{n}"])))
        return self.head(x.flatten(1) if self.flatten else x.mean((2, 3)))

    def _plain(self, x, a, b):
        return a(x)

    _up = _grouped = _plain

    def _residual(self, x, a, b):
        return x + b(torch.tanh(a(x)))

    def _dense(self, x, a, b):
        return torch.cat([x, a(x)], 1)

    def _separable(self, x, a, b):
        return b(a(x))

    def _halves(self, x, a, b):
        one, two = x.chunk(2, 1)
        return a(one) * torch.sigmoid(b(two))

    def _excite(self, x, a, b):
        return a(x) * torch.sigmoid(b(x.mean((2, 3), keepdim=True)))

    def _shuffle(self, x, a, b):
        n, c, h, w = x.shape
        return a(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))

    def _pool(self, x, a, b):
        return F.max_pool2d(a(x), 2)

    def _pixels(self, x, a, b):
        return F.pixel_shuffle(a(x), 2)


networks = st.builds(
    Pieces,
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).filter(
        lambda p: p.count("pixels") < 2 > p.count("halves")
    ),
    st.sampled_from([8, 16]),
    st.booleans(),
    st.booleans(),
)
NIGHTLY = int(os.environ.get("SAPWOOD_NETWORKS", "0"))  # so many of each kind, drawn anew each time


def many(count):
    """So many networks, always the same ones; nightly more, and others."""
    return settings(max_examples=NIGHTLY or count, deadline=None, derandomize=not NIGHTLY, database=None)


@many(60)
@given(networks, st.integers(0, 9))
def test_random_units_of_random_networks(model, seed):
    model, example = settled(model), image()
    found = sites(model, example)
    result = shrink(model, half(found, seed), found, example=example)
    assert result.difference < 1e-12
    assert sum(t.numel() for _, t in named_tensors(result.model)) <= sum(t.numel() for _, t in named_tensors(model))


@many(30)
@given(networks, st.integers(0, 9))
def test_random_dead_rows_of_random_networks(model, seed):
    model, example = settled(model), image()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                layer.weight[torch.rand(len(layer.weight), generator=generator) < 0.3] = 0
    assert compact(model, example=example).difference < 1e-12
