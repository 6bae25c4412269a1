"""Attention: two products of activations with a softmax between them; heads live and die together."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.contraction import multiplied
from sapwood.shrinking.rules.elementwise import join
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import varied
from sapwood.shrinking.rules.zero import zero


def attention(ties: Ties, call: Call) -> Any:
    """softmax(q kᵀ / scale + mask) v, [.., heads, positions, head dimension]; keys of several heads may be shared."""
    if not all(isinstance(call[name], Tensor) for name in ("query", "key", "value")):
        return pinned(ties, call, "attends to parameters")
    q, k, v = (ties.now(call[name]) for name in ("query", "key", "value"))
    if call.given.get("enable_gqa"):
        k, v = (ties.now(x.repeat_interleave(q.shape[-3] // x.shape[-3], -3)) for x in (k, v))
    quiet = call.given.get("scale") is not None and any(zero(ties, call[name]) for name in ("query", "key"))
    scores = multiplied(ties, call, q, k.transpose(-1, -2), quiet=quiet)  # the usual scale counts the units
    if call.given.get("attn_mask") is not None:
        scores = join(ties, call, scores, ties.now(call.plain(ties, call["attn_mask"])))
    if not ties.looking and scores.dim() - 1 in varied(scores):
        ties.pin(scores, call.because("normalises across units"))
    return multiplied(ties, call, scores, v).expand(call.shape)


RULES = {"scaled_dot_product_attention": attention}
