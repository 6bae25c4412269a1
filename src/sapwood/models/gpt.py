"""A small decoder of bytes, GPT-style: what comes next, from what came before."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.fresh import reset

STD = 0.02  # of first weights


class Gpt(nn.Module):
    """Embeddings of tokens and places, blocks, a norm, a linear layer. Made by `gpt`."""

    def __init__(
        self, symbols: int, context: int, width: int, heads: int, blocks: int, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(symbols, width, dtype=dtype)
        self.places = nn.Embedding(context, width, dtype=dtype)
        self.blocks = nn.ModuleList(Block(width, heads, dtype) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, dtype=dtype)
        self.output = nn.Linear(width, symbols, bias=False, dtype=dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, symbols] of the token after each of `tokens`, int64 [B, T], T at most the context."""
        x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.output(self.norm(x))
        return logits


class Block(nn.Module):
    """Attention to what came before, and a hidden layer; each reads a norm of the stream and adds to it."""

    def __init__(self, width: int, heads: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, dtype=dtype)
        self.attention = Attention(width, heads, dtype)
        self.hidden_norm = nn.LayerNorm(width, dtype=dtype)
        self.hidden = nn.Linear(width, 4 * width, dtype=dtype)
        self.back = nn.Linear(4 * width, width, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x + attention, then + the hidden layer's answer."""
        x = x + self.attention(self.attention_norm(x))
        mixed: Tensor = x + self.back(F.gelu(self.hidden(self.hidden_norm(x))))
        return mixed


class Attention(nn.Module):
    """Each head looks at the places up to its own."""

    def __init__(self, width: int, heads: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.size = width // heads  # of a head; how many heads there are follows from the weights, also once some went
        self.query = nn.Linear(width, width, dtype=dtype)
        self.key = nn.Linear(width, width, dtype=dtype)
        self.value = nn.Linear(width, width, dtype=dtype)
        self.back = nn.Linear(width, width, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The heads' answers, mixed into the stream's width."""
        layers = (self.query, self.key, self.value)
        q, k, v = (layer(x).unflatten(-1, (-1, self.size)).transpose(1, 2) for layer in layers)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed: Tensor = self.back(seen.transpose(1, 2).flatten(2))
        return mixed


def gpt(
    *,
    symbols: int = 256,
    context: int = 64,
    width: int = 64,
    heads: int = 4,
    blocks: int = 2,
    dtype: torch.dtype | None = None,
) -> Gpt:
    """A decoder of `blocks` blocks: tokens int64 [B, T] to logits [B, T, symbols], for each place the token after it.

    Norms come before attention and hidden layer (as in GPT-2), no dropout, places are learned, input and output have
    weights of their own. Weights, of embeddings too, start in N(0, 0.02), those that add to the stream in
    N(0, 0.02 / sqrt(2 blocks)), biases at 0: `first_weights`. With the defaults 136,960 parameters.

    What can be removed (`sites`): heads, and the hidden units of each block. The stream's width is normalised as a
    whole, and stays.

    *Paper:* Radford, Wu, Child, Luan, Amodei, Sutskever 2019, "Language Models are Unsupervised Multitask Learners".
    *Differs:* symbols are bytes; query, key and value are layers of their own; the output is not tied to the input.
    """
    numbers = (symbols, context, width, heads, blocks)
    if not all(type(number) is int and number >= 1 for number in numbers) or width % heads:
        raise InputError(
            f"gpt has symbols={symbols}, context={context}, width={width}, heads={heads}, blocks={blocks}; give whole "
            "numbers of 1 or more, a width that the heads divide"
        )
    with torch.random.fork_rng(devices=[]):  # what torch draws for the layers is not used, and should not count
        network = Gpt(symbols, context, width, heads, blocks, dtype)
    first_weights(network)
    return network


def first_weights(network: nn.Module) -> None:
    """Draw the first weights of such a network, which may have been made smaller, as `gpt` says: for `Task.fresh`."""
    reset(network)
    deep = 2 * sum(isinstance(layer, Block) for layer in network.modules())
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=STD / math.sqrt(deep) if name.endswith("back") else STD)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
