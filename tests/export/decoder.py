"""A small decoder whose blocks are called as those of language models are, and batches for it."""

import torch
from torch import nn
from torch.nn import functional as F

D = torch.float64


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x, mask):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, width, heads=2):
        super().__init__()
        self.attention, self.norm1, self.norm2 = Attention(width, heads), nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x, mask=None, bias=None):
        x = x + self.attention(self.norm1(x), mask)
        return x + self.down(F.gelu(self.up(self.norm2(x)))) + (0 if bias is None else bias)


class Decoder(nn.Module):
    """With `told`, each block is told something that the block before it computed, as T5's are."""

    def __init__(self, width=8, depth=3, told=False):
        super().__init__()
        self.embed, self.head, self.told = nn.Embedding(11, width), nn.Linear(width, 11), told
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.calls = 0  # of the head

    def forward(self, input_ids, attention_mask=None):
        x, length = self.embed(input_ids), input_ids.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        if attention_mask is not None:
            mask = mask & attention_mask.bool()[:, None, None, :] | torch.eye(length, dtype=torch.bool)
        bias = None
        for layer in self.layers:
            x = layer(x, mask=mask, bias=bias)
            bias = x.mean((0, 1)) if self.told else None
        self.calls += 1
        return self.head(x)


def decoder(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Decoder(**options).double().eval()
        for layer in model.layers:  # inputs of different sizes, so that criteria differ
            layer.norm1.weight.data.mul_(torch.linspace(0.2, 3, len(layer.norm1.weight), dtype=D))
            layer.norm2.weight.data.mul_(torch.linspace(3, 0.2, len(layer.norm2.weight), dtype=D))
    return model


def words(*lengths, seed=1, rows=3):
    luck = torch.Generator().manual_seed(seed)
    return [torch.randint(11, (rows, length), generator=luck) for length in lengths]


def padded(sentences, side):
    """One batch of all sentences, [1, T] each, with padding at one side."""
    longest = max(each.shape[1] for each in sentences)
    pads = [(0, longest - each.shape[1]) if side == "right" else (longest - each.shape[1], 0) for each in sentences]
    return {
        "input_ids": torch.cat([F.pad(each, pad, value=7) for each, pad in zip(sentences, pads, strict=True)]),
        "attention_mask": torch.cat(
            [F.pad(torch.ones_like(each), pad) for each, pad in zip(sentences, pads, strict=True)]
        ),
    }
