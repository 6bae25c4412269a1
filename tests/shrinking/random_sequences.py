"""Random networks on sequences: attention in many writings, recurrent layers, shared weights, norms over all units."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from random_moves import SEQUENCES
from test_recurrent import ByHand
from torch import nn
from zoo import Written

from sapwood.shrinking.tracing.graph import named_tensors

HEADS, INSIDE = 4, 6


class Attention(nn.Module):
    """Layers for each or one for all; multiplied by torch's operator or step by step; keys of each head or shared.

    The number of heads is an attribute under a name of its own, or worked out from the size of each (shared keys).
    """

    def __init__(self, width, *, fused=False, multiplied="torch", of_keys=HEADS):
        super().__init__()
        self.n_heads, self.multiplied, self.shared = HEADS, multiplied, of_keys < HEADS
        widths = [3 * HEADS * INSIDE] if fused else [HEADS * INSIDE, of_keys * INSIDE, of_keys * INSIDE]
        self.qkv = nn.ModuleList(nn.Linear(width, out) for out in widths)
        self.out = nn.Linear(HEADS * INSIDE, width)

    def heads(self, y):
        sizes = (-1, INSIDE) if self.shared else (self.n_heads, -1)
        return y.view(*y.shape[:2], *sizes).transpose(1, 2)

    def attend(self, q, k, v):
        n, h, length, _ = q.shape
        if self.multiplied == "torch":
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.shared)
        if self.shared:
            k, v = (x[:, :, None].expand(n, -1, 2, -1, -1).reshape(q.shape) for x in (k, v))
        if self.multiplied == "by matrices":
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            return (q @ k.transpose(-1, -2) * INSIDE**-0.5).masked_fill(later, -1e9).softmax(-1) @ v
        q, k, v = (x.reshape(n * h, *x.shape[2:]) for x in (q, k, v))
        return torch.bmm(torch.bmm(q, k.mT).softmax(-1), v).view(n, h, length, -1)

    def forward(self, x):
        parts = [layer(x) for layer in self.qkv]
        q, k, v = map(self.heads, parts[0].chunk(3, -1) if len(parts) == 1 else parts)
        return self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))


class Rotated(Attention):
    """Numbers in pairs, each pair turned by its place."""

    def heads(self, y):
        x = super().heads(y)
        angle = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * torch.ones(1, INSIDE, dtype=x.dtype)
        one, two = x.chunk(2, -1)
        return x * angle.cos() + torch.cat([-two, one], -1) * angle.sin()


def mlp(w):
    return Written(lambda of, x: of["b"](F.gelu(of["a"](x))), a=nn.Linear(w, 10), b=nn.Linear(10, w))


def gated(w):
    return Written(lambda of, x: of["b"](F.glu(of["a"](x))), a=nn.Linear(w, 20), b=nn.Linear(10, w))


def gated_by_another(w):
    def forward(of, x):
        return of["c"](F.silu(of["a"](x)) * of["b"](x))

    return Written(forward, a=nn.Linear(w, 10), b=nn.Linear(w, 10), c=nn.Linear(10, w))


def torchs(w):
    attention = nn.MultiheadAttention(w, HEADS, batch_first=True)
    return Written(lambda of, x: of["a"](x, x, x, need_weights=False)[0], a=attention)


def recurrent(kind, ways=1, **options):
    def made(w):
        layer = kind(w, 6, batch_first=True, bidirectional=ways == 2, **options)
        return Written(lambda of, x: of["b"](of["a"](x)[0]), a=layer, b=nn.Linear(6 * ways, w))

    return made


def started(w):
    """What one layer has read is where the other starts."""

    def forward(of, x):
        return of["c"](of["b"](x, of["a"](x)[1])[0])

    return Written(forward, a=nn.GRU(w, 6, batch_first=True), b=nn.GRU(w, 6, batch_first=True), c=nn.Linear(6, w))


def tied(w):
    """The way back is the way there; nothing of that may go, but of what stands before."""

    def forward(of, x):
        return torch.tanh(of["c"](of["b"](F.relu(of["a"](x))))) @ of["c"].weight

    return Written(forward, a=nn.Linear(w, 10), b=nn.Linear(10, w), c=nn.Linear(w, 6))


def in_time(w):
    def forward(of, x):
        return of["b"](F.relu(of["a"](x.transpose(1, 2)))).transpose(1, 2)

    return Written(forward, a=nn.Conv1d(w, 12, 3, padding=1), b=nn.Conv1d(12, w, 1))


def separable_in_time(w):
    def forward(of, x):
        return of["c"](of["b"](F.silu(of["a"](x.mT)))).mT

    return Written(forward, a=nn.Conv1d(w, 12, 1), b=nn.Conv1d(12, 12, 3, padding=1, groups=12), c=nn.Conv1d(12, w, 1))


def twice(w):
    """One layer's weights, one application after another."""

    def forward(of, x):
        return of["c"](torch.tanh(of["b"](torch.tanh(of["b"](of["a"](x))))))

    return Written(forward, a=nn.Linear(w, 10), b=nn.Linear(10, 10), c=nn.Linear(10, w))


PIECES = {
    "mlp": mlp,
    "gated": gated,
    "gated by another": gated_by_another,
    "separate": Attention,
    "fused": lambda w: Attention(w, fused=True),
    "by matrices": lambda w: Attention(w, multiplied="by matrices"),
    "by bmm": lambda w: Attention(w, fused=True, multiplied="by bmm"),
    "grouped": lambda w: Attention(w, of_keys=2),
    "grouped by hand": lambda w: Attention(w, of_keys=2, multiplied="by matrices"),
    "rotated": lambda w: Rotated(w, of_keys=2),
    "torch": torchs,
    "lstm": recurrent(nn.LSTM),
    "gru": recurrent(nn.GRU),
    "rnn": recurrent(nn.RNN),
    "two ways": recurrent(nn.LSTM, 2),
    "two layers": recurrent(nn.GRU, 2, num_layers=2),
    "started": started,
    "tied": tied,
    "in time": in_time,
    "separable in time": separable_in_time,
    "twice": twice,
    **SEQUENCES,
}


class Sequences(nn.Module):
    """Pieces one after another, each added to the stream or in its place, with a norm before it or without."""

    def __init__(self, pieces, width, norm, residual):
        super().__init__()
        self.words, self.head, self.residual = nn.Embedding(11, width), nn.Linear(width, 3), residual
        self.norms = nn.ModuleList(norm(width) for _ in pieces)
        self.pieces = nn.ModuleList(PIECES[piece](width) for piece in pieces)

    def forward(self, words):
        x = self.words(words)
        for norm, piece in zip(self.norms, self.pieces, strict=True):
            y = piece(norm(x))
            x = x + y if self.residual else y
        return self.head(x[:, -1])


networks = st.builds(
    Sequences,
    st.lists(st.sampled_from([*PIECES]), min_size=2, max_size=3),
    st.sampled_from([8, 12]),
    st.sampled_from([nn.LayerNorm, nn.RMSNorm, nn.Identity]),
    st.booleans(),
)


# ---- torch's own layers, operator by operator, for the oracle to watch ----


class AttentionByHand(nn.Module):
    """`nn.MultiheadAttention` of a sequence to itself."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, *_, **__):
        rows = F.linear(x, self.layer.in_proj_weight, self.layer.in_proj_bias)
        q, k, v = (y.unflatten(-1, (self.layer.num_heads, -1)).transpose(1, 2) for y in rows.chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return F.linear(y, self.layer.out_proj.weight, self.layer.out_proj.bias), None


def by_hand(model):
    """A network that computes the same with the very same tensors."""
    spelt = deepcopy(model, {id(tensor): tensor for _, tensor in named_tensors(model)})
    for parent in list(spelt.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.RNNBase):
                parent._modules[name] = ByHand(layer, torch.ones(layer.hidden_size))
            elif isinstance(layer, nn.MultiheadAttention):
                parent._modules[name] = AttentionByHand(layer)
    return spelt
