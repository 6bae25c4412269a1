"""Recurrent layers: unit j is row j of every gate, column j of what reads it back, and number j of the states.

torch gives all layers and both directions of one module a single hidden size, so unit j goes in each of them. With a
projection there are two kinds of units: those of the cell, and those that it sends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels, in_parts, pinned
from sapwood.shrinking.rules.contraction import contracted
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.positions import along
from sapwood.shrinking.rules.strides import varied
from sapwood.shrinking.rules.values import CONSTANT, Value, Weight, walk

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
RESHAPED, FOREIGN = "reads a reshaped weight", "reads numbers that belong to no unit"


@dataclass(frozen=True)
class _Weights:
    """The parameters of one layer in one direction; rows are [gates * hidden units]."""

    reads_input: Weight
    reads_back: Weight
    biases: tuple[Value | None, ...]
    projects: Weight | None = None


def recurrent(ties: Ties, call: Call) -> Any:
    """All layers over all steps: (output, last hidden states[, last cells of an LSTM])."""
    if "batch_sizes" in call.given:
        return pinned(ties, call, "runs a packed sequence that was not packed by torch's own functions")
    if not all(isinstance(value, Weight) for value in call["params"]):
        return pinned(ties, call, "has a computed weight")
    directions = 2 if call["bidirectional"] else 1
    each, x = _layers(call, directions), call.ids(ties)
    firsts: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(each), directions):
        found = [_units(ties, call, x, weights) for weights in each[start : start + directions]]
        x = torch.cat([sent for sent, _ in found]).expand(*x.shape[:-1], -1)
        firsts += found
    for sent, held in firsts:  # one size for all
        ties.tie(sent, firsts[0][0])
        ties.tie(held, firsts[0][1])
    return _states(ties, call, *firsts[0])


def cell(ties: Ties, call: Call) -> Any:
    """One step of one layer: the next hidden state, of an LSTM (hidden, cell)."""
    given = [call[name] for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    if not all(isinstance(value, Weight | None) for value in given):
        return pinned(ties, call, "has a computed weight")
    return _states(ties, call, *_units(ties, call, call.ids(ties), _Weights(given[0], given[1], tuple(given[2:]))))


def _layers(call: Call, directions: int) -> list[_Weights]:
    params = call["params"]
    size = len(params) // (call["num_layers"] * directions)
    each = [params[start : start + size] for start in range(0, len(params), size)]
    biases = 2 if call["has_biases"] else 0
    return [_Weights(p[0], p[1], tuple(p[2 : 2 + biases]), *p[2 + biases :]) for p in each]


def _units(ties: Ties, call: Call, x: Tensor, weights: _Weights) -> tuple[Tensor, Tensor]:
    """(the units that are sent on and read back, those that the cell holds): the same without a projection."""
    rows = contracted(ties, call, x, x.dim() - 1, weights.reads_input, reads=1, makes=0)
    gates = in_parts(rows, 0, GATES[call.op.removesuffix("_cell")])
    held = sent = ties.tie_over(gates, 0)[0]
    ties.mix(held)  # it has met the other units of the step before, and is not the same at every step
    if weights.projects is not None:
        sent = contracted(ties, call, held, 0, weights.projects, reads=1, makes=0)
        ties.mix(sent)
    back = contracted(ties, call, sent, 0, weights.reads_back, reads=1, makes=0)
    ties.meet(rows, back, call.because(RESHAPED))
    for bias in weights.biases:
        if isinstance(bias, Weight):
            ties.meet(rows, along(ties, bias, 0, call.because(RESHAPED)), call.because(FOREIGN))
    return ties.now(sent), ties.now(held)


def _states(ties: Ties, call: Call, sent: Tensor, held: Tensor) -> Any:
    """The states it starts from, hidden before cells, and what it gives: one number of each for every unit."""
    for state, units in zip(walk(call["hx"]), (sent, held), strict=False):
        _started(ties, call, state, units)
    kinds: Sequence[Tensor] = (held, held) if "cell" in call.op else (sent, sent, held)
    outputs = [
        ties.now(units.repeat(shape[-1] // len(units)).expand(shape))
        for units, shape in zip(kinds, call.shapes, strict=False)
    ]
    return tuple(outputs) if len(outputs) > 1 else outputs[0]


def _started(ties: Ties, call: Call, state: Value, units: Tensor) -> None:
    """A state belongs to its unit. One written in the code, as zeros are, has a size and perhaps values of its own."""
    ids = ties.now(call.plain(ties, state))
    if varied(ids) and ids.dim() - 1 not in varied(ids):
        ties.pin(ids, call.because("starts from a state whose units lie along layers or samples"))
        ties.pin(units, call.because("starts from a state whose units lie along layers or samples"))
        return
    ids_HN = channels(ids, ids.dim() - 1)
    written = ids_HN <= CONSTANT
    if bool(written.any()):
        ties.ask(units, call.name)
        ties.quiet.doubts.append((torch.unique(units), call.name))
    ties.meet(ids_HN[~written], units[:, None].expand(ids_HN.shape)[~written],
              call.because("starts from numbers that belong to no unit"))  # fmt: skip


RULES: dict[str, Any] = dict.fromkeys(GATES, recurrent) | {f"{name}_cell": cell for name in GATES}
