"""Weight norm: w = g v / ‖v‖, a weight that is computed from two parameters.

Its columns and rows are those of v. Along the dimension of g there is one norm for each slice, and g makes or reads the
unit in place of v: a slice whose g is 0 is 0, while one whose v is 0 would be 0/0. Along other dimensions the norms
become smaller when units go; `shrinking/computed.py` makes g smaller by as much.
"""

from typing import Any

from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.ids import Ties, Weight


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


RULES = {"_weight_norm": normed}
