"""Random networks on sequences, attention, recurrent layers, norms, shared weights: what goes, goes exactly."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_attention import Shared as Grouped
from test_random_networks import many
from test_shrink import half
from torch import nn
from zoo import settled

from sapwood.shrinking.graph import named_tensors
from sapwood.shrinking.shrink import shrink
from sapwood.shrinking.sites import couplings

PIECES = (
    "mlp",
    "gated",
    "separate",
    "fused",
    "torch",
    "grouped",
    "lstm",
    "gru",
    "two ways",
    "tied",
    "in time",
    "twice",
)


class Attention(nn.Module):
    """Heads by separate layers or one for all three, under whatever name."""

    def __init__(self, width, fused):
        super().__init__()
        self.n_heads, self.fused = 4, fused
        self.qkv = nn.ModuleList([nn.Linear(width, 72)] if fused else [nn.Linear(width, 24) for _ in range(3)])
        self.out = nn.Linear(24, width)

    def forward(self, x):
        whole = torch.cat([layer(x) for layer in self.qkv], -1) if not self.fused else self.qkv[0](x)
        parts = whole.chunk(3, -1) if self.fused else [layer(x) for layer in self.qkv]
        q, k, v = (y.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2) for y in parts)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class GroupedStream(Grouped):
    """Grouped queries that give the stream back."""

    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, n * 6) for n in (4, 2, 2))
        self.o, self.head = nn.Linear(24, width), nn.Identity()

    def forward(self, x):
        return super().forward(x) - x


class Sequences(nn.Module):
    """Pieces one after another, each added to the stream or in its place, with a norm before it or without."""

    def __init__(self, pieces, width, norm, residual):
        super().__init__()
        self.pieces, self.residual = pieces, residual
        self.words, self.head = nn.Embedding(11, width), nn.Linear(width, 3)
        self.of, self.norms = nn.ModuleDict(), nn.ModuleList(norm(width) for _ in pieces)
        for n, piece in enumerate(pieces):
            for part, layer in self.layers(piece, width).items():
                self.of[f"{part}{n}"] = layer

    @staticmethod
    def layers(piece, width):
        if piece in ("separate", "fused"):
            return {"a": Attention(width, piece == "fused")}
        if piece in ("lstm", "gru", "two ways"):
            ways = piece == "two ways"
            kind = nn.GRU if piece == "gru" else nn.LSTM
            return {"a": kind(width, 6, batch_first=True, bidirectional=ways), "b": nn.Linear(6 + 6 * ways, width)}
        return {
            "mlp": lambda: {"a": nn.Linear(width, 10), "b": nn.Linear(10, width)},
            "gated": lambda: {"a": nn.Linear(width, 20), "b": nn.Linear(10, width)},
            "torch": lambda: {"a": nn.MultiheadAttention(width, 4, batch_first=True)},
            "grouped": lambda: {"a": GroupedStream(width)},
            "tied": lambda: {"a": nn.Linear(width, 10)},
            "in time": lambda: {"a": nn.Conv1d(width, 12, 3, padding=1), "b": nn.Conv1d(12, width, 1)},
            "twice": lambda: {"a": nn.Linear(width, width), "b": nn.Linear(width, width)},
        }[piece]()

    def piece(self, name, x, a, b=None):
        if name in ("separate", "fused", "grouped"):
            return a(x)
        if name == "torch":
            return a(x, x, x, need_weights=False)[0]
        if name in ("lstm", "gru", "two ways"):
            return b(a(x)[0])
        if name == "gated":
            return b(F.glu(a(x)))
        if name == "tied":
            return torch.tanh(a(x)) @ a.weight
        if name == "in time":
            return b(F.relu(a(x.transpose(1, 2)))).transpose(1, 2)
        return b(torch.tanh(a(torch.tanh(a(x))))) if name == "twice" else b(F.gelu(a(x)))

    def forward(self, words):
        x = self.words(words)
        for n, name in enumerate(self.pieces):
            y = self.piece(name, self.norms[n](x), *(layer for part, layer in self.of.items() if part[1:] == str(n)))
            x = x + y if self.residual else y
        return self.head(x[:, -1])


networks = st.builds(
    Sequences,
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=3),
    st.sampled_from([8, 12]),
    st.sampled_from([nn.LayerNorm, nn.RMSNorm, nn.Identity]),
    st.booleans(),
)


@pytest.mark.slow
@many(60)
@given(networks, st.integers(0, 9))
def test_random_units_of_random_sequences(model, seed):
    model, example = settled(model), torch.arange(14).view(2, 7) % 11
    found = couplings(model, example)
    result = shrink(model, half(found.sites, seed), found.sites, example=example)
    assert result.difference < 1e-12
    assert sum(t.numel() for _, t in named_tensors(result.model)) <= sum(t.numel() for _, t in named_tensors(model))
    said = ("aten.", "it is the network's answer", "nothing", "makes it and reads it by the same dimension")
    assert all(any(words in pinned.because for words in said) for pinned in found.pinned)
