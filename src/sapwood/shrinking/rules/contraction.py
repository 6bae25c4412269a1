"""Contractions read units by the columns of a weight and make new ones by its rows: linear layers, products."""

from typing import Any

import torch
from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels, pinned
from sapwood.shrinking.rules.elementwise import held, join
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.positions import along
from sapwood.shrinking.rules.strides import broadcast, thin, varied
from sapwood.shrinking.rules.values import Value, Weight, nobody


def contracted(ties: Ties, call: Call, x: Tensor, dim: int, weight: Weight, *, reads: int, makes: int) -> Tensor:
    """Units along dimension `dim` of x are read by the weight's dimension `reads`; the ids it makes, [O]."""
    columns = along(ties, weight, reads, call.because("reads a reshaped weight"))
    rows = along(ties, weight, makes, call.because("reads a reshaped weight"))
    if varied(x) and dim not in varied(x):
        ties.pin(x, call.because("keeps the dimension along which units lie"))
    ties.meet(channels(x, dim), columns[:, None], call.because("reads numbers that belong to no unit"))
    ties.mark(makes=rows, reads=columns)
    return rows


def linear(ties: Ties, call: Call) -> Any:
    """y = x Wᵀ + b."""
    x, weight = call.ids(ties), call["weight"]
    if not isinstance(weight, Weight):
        return pinned(ties, call, "multiplies with a weight that depends on the input")
    rows = contracted(ties, call, x, x.dim() - 1, weight, reads=1, makes=0)
    call.hold(ties, rows, "bias")
    return ties.now(rows.expand(call.shape))


def bilinear(ties: Ties, call: Call) -> Any:
    """y = x1ᵀ W x2 + b, W [O, I, J]."""
    weight = call["weight"]
    if not isinstance(weight, Weight):
        return pinned(ties, call, "multiplies with a weight that depends on the input")
    for name, reads in (("input1", 1), ("input2", 2)):
        x = call.ids(ties, name)
        rows = contracted(ties, call, x, x.dim() - 1, weight, reads=reads, makes=0)
    call.hold(ties, rows, "bias")
    return ties.now(rows.expand(call.shape))


def added(ties: Ties, call: Call, out: Value) -> Any:
    """What addmm and its like add to the product."""
    if not call.op.startswith(("addm", "baddbmm", "addr")) or not isinstance(out, Tensor):
        return out if not call.op.startswith(("addm", "baddbmm", "addr")) else pinned(ties, call, "adds to a weight")
    given = call["self"]
    if isinstance(given, Weight):
        return ties.now(held(ties, call, out, given))
    return ties.now(join(ties, call, out, ties.now(given)).expand(call.shape))


def multiplied(ties: Ties, call: Call, left: Tensor, right: Tensor, *, quiet: bool = False) -> Tensor:
    """[.., L, K] times [.., K, M]. Units along K are multiplied with each other and added up: no weight reads them.

    They may go where one of each pair is `quiet`, 0 by itself without what makes it. Matrices of one place, heads, live
    and die together: what lies along the places is tied.
    """
    places = broadcast(left.shape[:-2], right.shape[:-2])
    new = ties.placed(left, right, torch.Size((*places, left.shape[-2], right.shape[-1])))
    if quiet and not ties.looking and varied(left) == [left.dim() - 1] and varied(right) == [right.dim() - 2]:
        left, right = _added_up(ties, call, left, right)
    for ids, along_K in ((left, left.dim() - 1), (right, right.dim() - 2)):
        if not ties.looking and along_K in varied(ids):  # units of the other along its own dimension may go
            ties.pin(ids, call.because("multiplies units with each other"))
    ties.mix(left)
    ties.mix(right)
    rows, columns = left.narrow(-1, 0, 1), right.narrow(-2, 0, 1)
    if not ties.looking:
        return ties.now(join(ties, call, rows, columns))
    across = columns if columns.dim() - 1 in varied(columns) else rows if rows.dim() - 2 in varied(rows) else new
    return across.expand(new.shape)


def _added_up(ties: Ties, call: Call, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Queries times keys: unit k of both goes together, if the code's scale does not follow from how many there are."""
    pairs = thin(left).flatten(), thin(right).flatten()
    units = ties.meet(*pairs, call.because("multiplies units with numbers that belong to none"))
    ties.quiet.sums.append((units, call.name))
    ties.ask(units, call.name)
    ties.guess(units)
    return nobody(left.shape), nobody(right.shape)


def embedding(ties: Ties, call: Call) -> Any:
    """Rows looked up by the input: its columns are the units."""
    rows = along(ties, call["weight"], 1, call.because("reads a reshaped weight"))
    ties.mark(makes=rows, reads=nobody((0,)))
    return ties.now(rows.expand(call.shape))


RULES = {"linear": linear, "embedding": embedding, "bilinear": bilinear}
