"""Bugs planted in what other people's models need: heads with biases, masks, norms of weights, code in two modules."""

import tempfile
from contextlib import nullcontext, redirect_stderr
from importlib import import_module
from io import StringIO
from math import gcd
from pathlib import Path

import torch
import torch.nn.functional as F
from planted.mutant import bugs, instead
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from sapwood import InputError, export, prune
from sapwood.checks.law import demand
from sapwood.shrinking import fit

exporting, graph = (import_module(f"sapwood.shrinking.tracing.{name}") for name in ("exporting", "graph"))
offers, fitting, search = (import_module(f"sapwood.export.{name}") for name in ("offers", "fitting", "search"))


class Biased(nn.Module):
    """Attention that adds a trained number for each head and each distance, as T5's and Swin's."""

    def __init__(self, width=32, heads=4, tokens=5):
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.bias = nn.Embedding(2 * tokens, heads)

    def forward(self, x):
        q, k, v = (of(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2) for of in (self.q, self.k, self.v))
        places = torch.arange(x.shape[1])
        bias = self.bias(places[:, None] - places + x.shape[1]).permute(2, 0, 1)
        return x + self.out(((q @ k.transpose(-1, -2) + bias).softmax(-1) @ v).transpose(1, 2).flatten(2))


class Inner(nn.Module):
    """Attention without its last layer, with all of its sizes as attributes."""

    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads, self.size, self.all = heads, width // heads, width
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        shape = len(x), -1, self.heads, self.size
        q, k, v = (of(x).view(*shape).transpose(1, 2) for of in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return y.reshape((*y.size()[:-2], self.all))


class Split(nn.Module):
    """The last layer is in another module, where a wrong number of heads is noticed: with even numbers of tokens."""

    def __init__(self, width=32):
        super().__init__()
        self.norm, self.inner, self.out = nn.LayerNorm(width), Inner(width), nn.Sequential(nn.Linear(width, width))

    def forward(self, x):
        return x + self.out(self.inner(self.norm(x)))


class Masked(nn.Module):
    """Torch's own Transformer with a mask that its code makes."""

    def __init__(self, width=32):
        super().__init__()
        self.both = nn.Transformer(width, 4, 1, 1, 64, dropout=0.0, batch_first=True)

    def forward(self, x, y):
        return self.both(x, y, tgt_mask=nn.Transformer.generate_square_subsequent_mask(y.shape[1]))


class ByNumbers(nn.Module):
    """One layer or another, as the input's numbers say."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.out = nn.Linear(4, 32), nn.Linear(4, 32), nn.Linear(32, 2)

    def forward(self, x):
        return self.out(F.relu(self.one(x) if x.sum() > 0 else self.two(x)))


def spectral():
    """Layers whose weights are divided by their norms, which each pass in training mode estimates further."""
    return nn.Sequential(spectral_norm(nn.Linear(4, 32)), nn.ReLU(), spectral_norm(nn.Linear(32, 2)))


def seeded(make, *given):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(*given)


def tokens(count):
    return seeded(torch.rand, 2, count, 32)


def laws():
    """Of `prune` and of the file of what it gives."""
    return {
        "others: heads with a table of biases go one by one": _table,
        "others: heads are found where their last layer is another module's": _split,
        "others: a mask that the code makes does not stop the graph": _mask,
        "others: a failed graph is told in one line": _quiet,
        "others: norms of weights are loaded with the same bits": _norms,
        "others: the target that a refusal names can be met": _named,
    }


def pruned(model, *example):
    """What is left, (units, of so many) by site; AssertionError with the reason where nothing is."""
    try:
        found = prune(model, example, macs=0.7, timing=0)
    except InputError as error:
        raise AssertionError(str(error)) from error
    demand(found.difference < 1e-12, f"the outputs differ by {found.difference}")
    return {name: (int(keep.sum()), len(keep)) for name, keep in found.keep.items()}


def _table():
    left = pruned(seeded(Biased), tokens(5))
    demand(list(left.values()) == [(2, 4)], f"{left}: half of the heads would do")


def _split():
    left = pruned(seeded(Split), tokens(6))
    demand((2, 4) in left.values(), f"no head could go: {left}")


def _mask():
    demand(len(pruned(seeded(Masked), tokens(5), tokens(3))) == 5, "of three attentions and two layers some stay whole")


def _quiet():
    with redirect_stderr(StringIO()) as shown:
        try:
            prune(seeded(ByNumbers), torch.rand(2, 4), macs=0.5, timing=0)
        except InputError as error:
            said = str(error)
    demand("decides by what numbers in a tensor are (" in said, said)
    demand(not shown.getvalue(), f"{len(shown.getvalue())} letters were printed besides")


def _norms():
    model, x = seeded(spectral), torch.rand(2, 4)
    small = prune(model, x, macs=0.5, timing=0).model.eval()
    with tempfile.TemporaryDirectory() as folder:
        export.save(small, Path(folder) / "small.safetensors", of=model)
        again = export.load(Path(folder) / "small.safetensors", lambda: seeded(spectral)).eval()
    found, wanted = again.state_dict(), small.state_dict()
    demand(all(torch.equal(found[name], wanted[name]) for name in wanted), "an estimate of a norm is another one")


def _named():
    model, x = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 33)), torch.rand(2, 4)
    try:
        prune(model, x, macs=0.01, timing=0)
    except InputError as error:
        share = float(str(error).partition(" can be met")[0].rpartition("macs=")[2])
    try:
        left = prune(model, x, macs=share, timing=0).after.macs
    except InputError as error:
        left = str(error)
    demand(isinstance(left, int), f"macs={share} was said to be possible: {left}")


def over_all(site):
    return gcd(*(length for slot in site.slots for length in offers._runs(slot)))


def in_any_mode(module, name):
    tensor = getattr(module, name, None)
    return None if tensor is None else tuple(tensor.shape)


def blind(stage, failure, done):
    return failure.inside


def rounded_down(target, least, whole):
    return f"{target.kind}={int(1000 * least / whole) / 1000:g} can be met"


CLAIMS = {
    "heads with a table of biases go one by one": {
        "a table's one number for each head is a width": instead(offers, "channels", over_all)
    },
    "heads are found where their last layer is another module's": {
        "only modules in whose code it stopped are looked at": instead(fit._Stage, "suspects", blind)
    },
    "a mask that the code makes does not stop the graph": {
        "torch looks whether the mask is causal": instead(exporting, "as_said", nullcontext)
    },
    "a failed graph is told in one line": {"torch prints what it has": instead(graph, "quietly", nullcontext)},
    "norms of weights are loaded with the same bits": {
        "shapes are looked at in training mode": instead(fitting, "_shape", in_any_mode)
    },
    "the target that a refusal names can be met": {
        "the share that is named is rounded down": instead(search, "_enough", rounded_down)
    },
}  # fmt: skip

MUTANTS = bugs("others", laws, CLAIMS)
