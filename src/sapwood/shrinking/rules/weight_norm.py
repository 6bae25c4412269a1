"""Weight norm, w = g v / ‖v‖, and spectral norm, w / uᵀ w v: weights that are divided by a norm of themselves.

Its columns and rows are those of v. Along the dimension of g there is one norm for each slice, and g makes or reads the
unit in place of v: a slice whose g is 0 is 0, while one whose v is 0 would be 0/0. Along other dimensions the norms
become smaller when units go; `shrinking/computed.py` makes g smaller by as much. The spectral norm goes over all rows
and columns; there u, which torch keeps beside the weight, takes up the difference.
"""

import re
from typing import Any

from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.einsum import product
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, varied
from sapwood.shrinking.rules.values import CONSTANT, Weight, nobody

SPECTRAL = re.compile(
    r"(.*?)(?:\.original|\.0\._[uv]|_orig|_[uv])$"
)  # as torch names them, in the newer and older form


def normed(ties: Ties, call: Call) -> Any:
    """v [O, I, ..], g of size 1 but along `dim`; dim -1: one norm of everything."""
    v, g, dim = call["v"], call["g"], call["dim"]
    if not (isinstance(v, Weight) and isinstance(g, Weight)):
        return pinned(ties, call, "computes with a computed weight")
    if dim == -1:
        return v
    scale = g.layers[dim].expand(v.shape)
    ties.tie(v.layers[dim], scale)
    return Weight(v.name, (*v.layers[:dim], scale, *v.layers[dim + 1 :]))


def singular(ties: Ties, call: Call) -> Any:
    """w v, then u w v: the vectors of a spectral norm hold a number for each row and column of their weight."""
    parts = [part for part in call.parts() if isinstance(part, Weight)]
    held = next((part for part in parts if re.search(r"_[uv]$", part.name)), None)
    weight = next((part for part in parts if part is not held), None)
    if held is None or weight is None or _of(weight) != _of(held):
        return product(ties, call)
    dim = len(weight.shape) - 1
    for layer in weight.layers[:2]:  # rows and columns; what follows are places in a filter
        if varied(layer) == [dim]:
            ties.tie(thin(layer).flatten(), held.layers[0])
    rows = tuple(layer.select(dim, 0) for layer in weight.layers)
    return Weight(weight.name, rows) if dim else Weight("", (nobody((), CONSTANT),))


def _of(weight: Weight) -> str:
    found = SPECTRAL.match(weight.name)
    return found[1] if found else f"{weight.name} has no norm"


RULES = {"_weight_norm": normed} | dict.fromkeys(("mv", "dot", "vdot"), singular)
