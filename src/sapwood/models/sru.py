"""A recurrent decoder of bytes, made of simple recurrent units: layers whose only step by step work is elementwise."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.reconstruction.factors import Factored
from sapwood.training.fresh import reset

HIGHWAY = -3.0  # the first bias of the gate that lets a layer's answer through
SCALE = math.sqrt(1 + 2 * math.exp(HIGHWAY))  # of what passes by, so that the stream keeps its size at first

Memory = dict[str, Tensor]  # {layer: its state [B, D]}


class Sru(nn.Module):
    """An embedding, layers of simple recurrent units, a norm, a linear layer. Made by `sru`."""

    def __init__(
        self, symbols: int, features: int, width: int, rank: int, layers: int, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(symbols, features, dtype=dtype)
        first = Unit(features, width, 0, norm=False, dtype=dtype)
        self.layers = nn.ModuleList(
            [first, *(Unit(width, width, rank, norm=True, dtype=dtype) for _ in range(1, layers))]
        )
        self.output = nn.Linear(width, symbols, dtype=dtype)

    def forward(self, tokens: Tensor, memory: Memory | None = None) -> Tensor:
        """Logits [B, T, symbols] of the token after each of `tokens`, int64 [B, T].

        `memory`: the state each layer begins with, 0 where it has none; afterwards the one it ended with, without a
        gradient. Its first B rows are read.
        """
        x_TBD = self.tokens(tokens.transpose(0, 1))
        for name, layer in self.layers.named_children():
            x_TBD, last_BD = layer(x_TBD, None if memory is None else memory.get(name))
            if memory is not None:
                memory[name] = last_BD.detach()
        logits: Tensor = self.output(x_TBD).transpose(0, 1)
        return logits


class Unit(nn.Module):
    """One layer: c = f c' + (1 - f) u, h = r c + (1 - r) SCALE x, c' being c of the step before.

    f = σ(u_f + v_f c' + b_f), r = σ(u_r + v_r c' + b_r), (u, u_f, u_r) = W x of the whole sequence at once, x behind a
    norm if there is one. Where x is of another width, W makes what passes by, too.
    """

    def __init__(self, inputs: int, width: int, rank: int, *, norm: bool, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(inputs, dtype=dtype) if norm else nn.Identity()
        outputs = width * (3 if inputs == width else 4)
        self.weight: nn.Module = _linear(inputs, outputs, rank, dtype)
        self.recurrent = nn.Parameter(torch.empty(2, width, dtype=dtype))  # v_f, v_r
        self.bias = nn.Parameter(torch.empty(2, width, dtype=dtype))

    def reset_parameters(self) -> None:
        """Draw v from U(-1, 1) / sqrt(width); b_f is 0, b_r HIGHWAY."""
        bound = 1 / math.sqrt(self.width)
        nn.init.uniform_(self.recurrent, -bound, bound)
        with torch.no_grad():
            self.bias.copy_(torch.tensor([[0.0], [HIGHWAY]]).expand_as(self.bias))

    def forward(self, x_TBI: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What it makes of a sequence, [T, B, D], and the last c [B, D]; `state`: c before the first step."""
        wide = self.weight(self.norm(x_TBI))
        if wide.dtype is not self.bias.dtype:  # under autocast; a state of many steps is kept in full
            wide = wide.to(self.bias.dtype)
        u, u_f, u_r, *passing = wide.unflatten(-1, (-1, self.width)).unbind(-2)
        x = passing[0] if passing else x_TBI
        (v_f, v_r), (b_f, b_r) = self.recurrent, self.bias
        first = torch.zeros_like(u[0]) if state is None else state[: u.shape[1]]
        traced = torch.compiler.is_exporting() or not torch.is_grad_enabled()
        c = (scanned if traced else _Scan.apply)(u, u_f + b_f, v_f, first)
        before = torch.cat([first[None], c[:-1]])
        r = torch.sigmoid(u_r + v_r * before + b_r)
        return r * c + (1 - r) * x * SCALE, c[-1]


def scanned(u: Tensor, u_f: Tensor, v_f: Tensor, first: Tensor) -> Tensor:
    """c of every step [T, B, D], step by step: f = σ(u_f + v_f c'), c = u + f (c' - u)."""
    c, every = first, []
    for at, forget in zip(u, u_f, strict=True):
        c = at + torch.sigmoid(forget + v_f * c) * (c - at)
        every.append(c)
    return torch.stack(every)


class _Scan(torch.autograd.Function):
    """The same with a backward pass of one operator a step; autograd's own takes seven, and keeps more."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, u_f: Tensor, v_f: Tensor, first: Tensor) -> Tensor:
        """Also keeps c and f."""
        c, f = u.new_empty(len(u) + 1, *first.shape), torch.empty_like(u)
        c[0] = first
        for at in range(len(u)):
            torch.addcmul(u_f[at], v_f, c[at], out=f[at]).sigmoid_()
            torch.lerp(u[at], c[at], f[at], out=c[at + 1])
        ctx.save_for_backward(u, v_f, c, f)
        return c[1:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, ...]:
        """dL/dc of a step is what is given there and (f + v_f df) dL/dc of the step after it."""
        u, v_f, c, f = ctx.saved_tensors
        of_gate = (c[:-1] - u) * f * (1 - f)  # dc / du_f
        of_state = torch.addcmul(f, v_f, of_gate)  # dc / dc'
        whole = given.clone()
        for at in range(len(u) - 1, 0, -1):
            whole[at - 1].addcmul_(of_state[at], whole[at])
        gate = whole * of_gate
        return whole * (1 - f), gate, (gate * c[:-1]).sum((0, 1)), of_state[0] * whole[0]


def sru(
    *, symbols: int = 256, features: int = 128, width: int = 256, rank: int = 128, layers: int = 3,
    dtype: torch.dtype | None = None,
) -> Sru:  # fmt: skip
    """A recurrent decoder: tokens int64 [B, T] to logits [B, T, symbols], for each place the token after it.

    All layers but the first have a layer norm, and a matrix of two factors of `rank`; the first reads the `features`
    of the embedding. Matrices start in U(-a, a), a = sqrt(3 / inputs), their product likewise as large as one would
    be; the embedding in N(0, 1), the rest as `Unit` says: `first_weights`.

    What can be removed (`sites`): ranks, and the features of the embedding. The stream's width is normalised as a
    whole, and stays.

    *Paper:* Lei, Zhang, Wang, Dai, Artzi 2018, "Simple recurrent units for highly parallelizable recurrence",
    arXiv:1709.02755; factors: Wang, Wohlwend, Lei 2020, "Structured pruning of large language models",
    arXiv:1910.04732, whose network for enwik8 is `sru(symbols=205, features=205, width=3056, rank=512, layers=6)`.
    *Differs:* no dropout, no compiled kernels; the first layer has no norm, so that features can be removed.
    """
    numbers = (symbols, features, width, rank, layers)
    if not all(type(number) is int and number >= 1 for number in numbers) or features == width or rank > width:
        raise InputError(
            f"sru has symbols={symbols}, features={features}, width={width}, rank={rank}, layers={layers}; give whole "
            "numbers of 1 or more, features that are not as many as the width, a rank of at most the width"
        )
    with torch.random.fork_rng(devices=[]):  # what torch draws for the layers is not used, and should not count
        network = Sru(symbols, features, width, rank, layers, dtype)
    first_weights(network)
    return network


def first_weights(network: nn.Module) -> None:
    """Draw the first weights of such a network, which may have been made smaller, as `sru` says: for `Task.fresh`."""
    reset(network)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            bound = math.sqrt(3 / layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def going_on(model: nn.Module, batch: Any, memory: Memory) -> Tensor:
    """The outputs of a model that begins with the state it ended the batch before with: for `Task.carry`."""
    outputs: Tensor = model(batch.inputs, memory)
    return outputs


def _linear(inputs: int, outputs: int, rank: int, dtype: torch.dtype | None) -> nn.Module:
    if not rank:
        return nn.Linear(inputs, outputs, bias=False, dtype=dtype)
    return Factored(nn.Linear(inputs, rank, bias=False, dtype=dtype), nn.Linear(rank, outputs, bias=False, dtype=dtype))
