"""Attention: heads go whole, wherever the code keeps their number, and what is left computes the same."""

import pytest
import torch
import torch.nn.functional as F
from test_shrink import half
from torch import nn
from torch.optim import SGD, AdamW
from zoo import settled

from sapwood.errors import InputError
from sapwood.shrinking.cutting.narrow import NarrowAttention, narrowed_
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import compact, shrink

HEADS, WIDTH, STREAM = 4, 6, 10


def tokens(width=STREAM, batch=2, length=5, seed=7):
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Separate(nn.Module):
    """Queries, keys and values by layers of their own; the number of heads is an attribute."""

    def __init__(self):
        super().__init__()
        self.heads = HEADS
        self.q, self.k, self.v = (nn.Linear(STREAM, HEADS * WIDTH) for _ in range(3))
        self.o, self.head = nn.Linear(HEADS * WIDTH, STREAM), nn.Linear(STREAM, 3)

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)

    def forward(self, x):
        q, k, v = (self.split(layer(x)) for layer in (self.q, self.k, self.v))
        return self.head(x + self.o(self.attend(q, k, v).transpose(1, 2).flatten(2)))


class ByHand(Separate):
    """Products and softmax written out, with a scale from the code and a mask; heads follow from a size of each."""

    def split(self, x):
        return x.view(*x.shape[:2], -1, WIDTH).transpose(1, 2)

    def attend(self, q, k, v):
        scores = q @ k.transpose(-1, -2) * WIDTH**-0.5
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril()
        return scores.masked_fill(~mask, -1e9).softmax(-1) @ v


class Batched(Separate):
    """Heads and samples in one dimension, multiplied by bmm."""

    def attend(self, q, k, v):
        n, h = q.shape[:2]
        q, k, v = (x.reshape(n * h, *x.shape[2:]) for x in (q, k, v))
        return torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v).view(n, h, *v.shape[1:])


class Inferred(Separate):
    """Two sizes written down and the positions worked out: fewer heads would run, and mix up positions."""

    def __init__(self):
        super().__init__()
        self.width = WIDTH

    def split(self, x):
        return x.view(x.shape[0], -1, self.heads, self.width).transpose(1, 2)

    def forward(self, x):
        q, k, v = (self.split(layer(x)) for layer in (self.q, self.k, self.v))
        y = self.attend(q, k, v).transpose(1, 2).reshape(x.shape[0], x.shape[1], -1)
        return self.head(x + self.o(y))


class Fused(nn.Module):
    """One layer for all three, cut in the order that `cut` says."""

    def __init__(self, order="qkv first"):
        super().__init__()
        self.heads, self.order = HEADS, order
        self.qkv, self.o = nn.Linear(STREAM, 3 * HEADS * WIDTH), nn.Linear(HEADS * WIDTH, STREAM)
        self.head = nn.Linear(STREAM, 3)

    def forward(self, x):
        n, length = x.shape[:2]
        if self.order == "qkv first":
            q, k, v = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.order == "heads first":
            q, k, v = self.qkv(x).view(n, length, self.heads, -1).transpose(1, 2).chunk(3, -1)
        else:
            q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, -1)
        return self.head(x + self.o(y))


class Shared(nn.Module):
    """Grouped queries with rotated halves; two heads read one of keys and values."""

    def __init__(self, own=False):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(STREAM, 4 * WIDTH), *(nn.Linear(STREAM, 2 * WIDTH) for _ in range(2))
        self.o, self.head, self.own = nn.Linear(4 * WIDTH, STREAM), nn.Linear(STREAM, 3), own

    def turned(self, x):
        angle = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * torch.ones(1, WIDTH, dtype=x.dtype)
        one, two = x.chunk(2, -1)
        return x * angle.cos() + torch.cat([-two, one], -1) * angle.sin()

    def forward(self, x):
        q, k, v = (layer(x).view(*x.shape[:2], -1, WIDTH).transpose(1, 2) for layer in (self.q, self.k, self.v))
        q, k = self.turned(q), self.turned(k)
        if self.own:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            n, g, length, d = k.shape
            k, v = (t[:, :, None].expand(n, g, 2, length, d).reshape(n, -1, length, d) for t in (k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x + self.o(y.transpose(1, 2).flatten(2)))


class Crossed(nn.Module):
    """Queries of one stream, keys and values of another; places have a bias for each head, read from a table."""

    def __init__(self):
        super().__init__()
        self.heads = HEADS
        self.q, self.kv, self.o = nn.Linear(STREAM, 24), nn.Linear(7, 48), nn.Linear(24, 3)
        self.table = nn.Parameter(torch.randn(9, HEADS))

    def forward(self, x, y):
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(y).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        places = (torch.arange(x.shape[1])[:, None] - torch.arange(y.shape[1])).clamp(-4, 4) + 4
        bias = self.table[places.view(-1)].view(*places.shape, -1).permute(2, 0, 1)
        return self.o(F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2))


NETWORKS = {  # the heads' site, their number, and the parameters of one
    "separate": (Separate, "q", 4, 4 * WIDTH * STREAM + 3 * WIDTH),
    "by hand": (ByHand, "q", 4, 4 * WIDTH * STREAM + 3 * WIDTH),
    "bmm": (Batched, "q", 4, 4 * WIDTH * STREAM + 3 * WIDTH),
    "inferred": (Inferred, "q", 4, 4 * WIDTH * STREAM + 3 * WIDTH),
    "fused, qkv first": (Fused, "qkv", 4, 4 * WIDTH * STREAM + 3 * WIDTH),
    "fused, heads first": (lambda: Fused("heads first"), "qkv", 4, 4 * WIDTH * STREAM + 3 * WIDTH),
    "fused, chunks": (lambda: Fused("chunks"), "qkv", 4, 4 * WIDTH * STREAM + 3 * WIDTH),
    "grouped": (Shared, "q", 2, 6 * WIDTH * STREAM + 4 * WIDTH),
    "grouped by torch": (lambda: Shared(own=True), "q", 2, 6 * WIDTH * STREAM + 4 * WIDTH),
    "crossed": (Crossed, "q", 4, 6 * STREAM + 6 + 12 * 7 + 12 + 3 * 6 + 9),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    make, name, heads, parameters = NETWORKS[request.param]
    model = settled(make())
    return model, (tokens(), tokens(7, length=6)) if isinstance(model, Crossed) else tokens(), name, heads, parameters


def counted(model):
    return sum(p.numel() for p in model.parameters())


def test_a_head_is_a_unit_and_takes_its_parameters_along(network, unchanged):
    model, example, name, heads, parameters = network
    unchanged(model)
    found = sites(model, example)
    site = next(site for site in found if site.units == heads and site.name.startswith(name))
    for gone in range(heads):
        result = shrink(model, {site.name: torch.arange(heads) != gone}, found, example=example)
        assert result.difference < 1e-13
        assert counted(model) - counted(result.model) == parameters


def test_heads_and_all_else_go_together(network):
    model, example, *_ = network
    found = sites(model, example)
    for seed in range(3):
        assert shrink(model, half(found, seed), found, example=example).difference < 1e-13


def test_heads_and_what_is_inside_of_values_are_sites_of_their_own():
    """What is inside of queries and keys is multiplied with each other, by a scale that its number decides."""
    found = couplings(settled(Separate()), tokens())
    assert {site.name: site.units for site in found.sites} == {"v": WIDTH, "q": HEADS}
    heads, inside = (next(site for site in found.sites if site.units == n) for n in (HEADS, WIDTH))
    assert {(s.tensor, s.dim) for s in inside.slots} == {("v.weight", 0), ("v.bias", 0), ("o.weight", 1)}
    assert {s.tensor for s in heads.at("makes")} == {"q.weight", "k.weight", "v.weight"}
    for slot in heads.slots:
        assert slot.unit_of.tolist() == [head for head in range(HEADS) for _ in range(WIDTH)]


def test_the_number_of_heads_follows(unchanged):
    model = settled(Inferred())
    unchanged(model)
    found = sites(model, tokens())
    (site,) = (site for site in found if site.units == HEADS)
    small = shrink(model, {site.name: torch.tensor([True, False, False, True])}, found, example=tokens()).model
    assert (small.heads, small.width, model.heads) == (2, WIDTH, HEADS)


def test_a_size_that_would_be_worked_out_wrongly_is_refused(unchanged):
    """Heads written into the code, positions worked out: fewer heads run, with other positions beside each other."""

    class Written(Inferred):
        def split(self, x):
            return x.view(x.shape[0], -1, 4, 6).transpose(1, 2)

    model = settled(Written())
    unchanged(model)
    found = couplings(model, tokens(length=4))
    assert not any(site.units == HEADS for site in found.sites)
    assert any("a size may be written into aten.view" in p.because and p.units == HEADS for p in found.pinned)


def test_heads_that_nobody_reads_are_found_by_compact():
    model = settled(Fused())
    with torch.no_grad():
        model.o.weight[:, WIDTH : 2 * WIDTH] = 0
    result = compact(model, example=tokens())
    assert result.difference < 1e-13
    assert result.model.heads == HEADS - 1
    assert result.model.qkv.weight.shape == (3 * (HEADS - 1) * WIDTH, STREAM)


@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, lr=0.1, momentum=0.9), lambda p: AdamW(p, lr=0.01)], ids=["SGD", "AdamW"]
)
def test_the_optimiser_is_carried_through(make):
    model = settled(Fused())
    optimizer = make(model.parameters())
    trained(model, optimizer, 2)
    found = sites(model, tokens())
    result = shrink(model, half(found, 0), found, example=tokens(), optimizer=optimizer)
    state = result.optimizer.state[result.model.qkv.weight]
    assert all(v.shape == result.model.qkv.weight.shape for v in state.values() if torch.is_tensor(v) and v.dim())
    trained(result.model, result.optimizer, 2)


def trained(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(tokens()).square().sum().backward()
        optimizer.step()


# ---- torch's own attention ----


class Block(nn.Module):
    def __init__(self, batch_first=True, bias=True, weights=False):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 4, bias=bias, batch_first=batch_first)
        self.head, self.weights = nn.Linear(8, 3), weights

    def forward(self, x, causal=None, padding=None):
        y, weights = self.attention(x, x, x, padding, self.weights, causal)
        return self.head(x + y), weights


CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False] * 5, [False, False, False, True, True]])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masks", ["none", "causal", "padding", "both", "per head", "numbers"])
@pytest.mark.parametrize("weights", [True, False])
def test_torchs_attention_without_some_heads(batch_first, masks, weights):
    """The weights that come with the answer are an average over heads; they are compared by hand for that reason."""
    model = settled(Block(batch_first, bias=masks != "causal", weights=weights))
    x = tokens(8) if batch_first else tokens(8).transpose(0, 1)
    heads = torch.arange(4) != 1
    narrow = without(model, heads)
    causal = {"causal": CAUSAL, "both": CAUSAL, "numbers": torch.randn(5, 5).double()}.get(masks)
    each = torch.randn(2, 4, 5, 5).double() if masks == "per head" else None
    padding = PADDING if masks in ("padding", "both") else None
    cut = model
    with torch.no_grad():
        cut.attention.out_proj.weight.view(8, 4, 2)[:, ~heads] = 0
        full = cut(x, causal if each is None else each.flatten(0, 1), padding)
        small = narrow(x, causal if each is None else each[:, heads].flatten(0, 1), padding)
    assert torch.allclose(full[0], small[0], rtol=0, atol=1e-14)
    assert (small[1] is None) == (full[1] is None)
    if small[1] is not None:
        assert small[1].shape == full[1].shape
        assert torch.allclose(small[1].sum(-1), torch.ones_like(small[1].sum(-1)))


def without(model, heads):
    found = sites(Plain(model), tokens(8) if model.attention.batch_first else tokens(8).transpose(0, 1))
    (site,) = (site for site in found if site.units == 4)
    example = tokens(8) if model.attention.batch_first else tokens(8).transpose(0, 1)
    return shrink(Plain(model), {site.name: heads}, found, example=example).model.block


class Plain(nn.Module):
    """The answer alone."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x)[0]


def test_narrow_attention_of_one_sample_without_a_batch():
    narrow = without(settled(Block()), torch.arange(4) != 0)
    assert isinstance(narrow.attention, NarrowAttention)
    batched, alone = narrow(tokens(8))[0], narrow(tokens(8)[0])[0]
    assert torch.allclose(batched[0], alone, rtol=0, atol=1e-14)


def test_a_causal_hint_needs_its_mask():
    narrow = without(settled(Block()), torch.arange(4) != 0)
    with pytest.raises(InputError, match="give the mask too"):
        narrow.attention(tokens(8), tokens(8), tokens(8), is_causal=True)


def test_a_form_of_torchs_attention_that_cannot_lose_heads_says_so():
    with pytest.raises(InputError, match="loses heads only without add_zero_attn"):
        narrowed_(nn.MultiheadAttention(8, 4, add_zero_attn=True))


def test_a_whole_encoder_layer_by_layer_trains_on():
    layer = nn.TransformerEncoderLayer(8, 4, 12, dropout=0.0, batch_first=True)
    model = settled(nn.Sequential(nn.Linear(5, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)))
    found = sites(model, tokens(5))
    assert sorted(site.units for site in found) == [4, 4, 12, 12]
    result = shrink(model, half(found, 1), found, example=tokens(5))
    assert result.difference < 1e-13
    small = result.model.train()
    small(tokens(5)).square().sum().backward()
    assert all(p.grad is not None for p in small.parameters())
    with torch.no_grad():  # torch takes a short cut here, which must not take the narrow attention for a whole one
        assert torch.allclose(small.eval()(tokens(5)), small.train()(tokens(5)), rtol=0, atol=1e-12)
