"""Zero: through which operators a number stays 0; `quiet.py` says what for.

Conservative: what is not known here is taken for a number other than 0, and then a sum over units pins them.
"""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, together
from sapwood.shrinking.rules.values import BLANK, DATA, Weight, walk


def noted(ties: Ties, call: Call, out: Any) -> Any:
    """The operator's outputs, after a note of each whether it is 0 without its units."""
    if ties.searching:
        return out
    schema = getattr(call.run, "_schema", None)
    first = next(iter(call.parts()), None)
    shared = schema is not None and schema.returns and schema.returns[0].alias_info  # with the first argument
    for value in walk(out):
        stays = _stays(ties, call, value)
        ties.quiet.note(value, stays)
        if shared and first is not None:
            if shared.is_write:
                _written(ties, call, first, value, stays)
            ties.quiet.view(value, first)
    return out


def _written(ties: Ties, call: Call, first: Any, out: Any, stays: bool) -> None:
    """Into a tensor, and so into all that share its numbers. What has no units cannot get any unseen."""
    if not stays:
        ties.quiet.written(first)
    if isinstance(first, Tensor) and isinstance(out, Tensor) and ties.quiet.viewed(first):
        before, after = together(first, out)
        ties.pin(after[before <= DATA], call.because("writes into a part of numbers that belong to no unit"))


def zero(ties: Ties, value: Any) -> bool:
    """Whether a tensor, or a number, is 0 where its unit is gone. Parameters are, as they are."""
    if isinstance(value, Tensor | Weight):
        return ties.quiet.zero(value, otherwise=isinstance(value, Weight))
    return value is None or (isinstance(value, int | float) and value == 0)


def _of_nobody(value: Tensor | Weight) -> bool:
    return isinstance(value, Tensor) and bool((thin(value) <= DATA).all())


def _stays(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    if call.op in KEPT:
        return all(zero(ties, part) or _of_nobody(part) for part in call.parts())
    rule = RULES.get(call.op)
    return rule is not None and rule(ties, call, out)


def _owns(ties: Ties, value: Any, out: Tensor | Weight) -> bool:
    """Whether it has a number of its own for each unit of the output, and that is 0 without the unit."""
    if not zero(ties, value) or not isinstance(value, Tensor | Weight):
        return False
    outs = [out] if isinstance(out, Tensor) else out.layers
    layers = [value] if isinstance(value, Tensor) else value.layers
    return all(any(_alike(ties, layer, each) for layer in layers) for each in outs)


def _alike(ties: Ties, a: Tensor, b: Tensor) -> bool:
    if a.dim() > b.dim() or any(one not in (1, two) for one, two in zip(a.shape[::-1], b.shape[::-1], strict=False)):
        return False
    a, b = together(ties.root(a), ties.root(b))
    return bool(((a == b) | (b <= DATA) | (a == BLANK)).all())


def _added(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    """0 + 0; a number for all units is none of theirs."""
    terms = [value for name, value in call.given.items() if name not in ("alpha", "condition", "out")]
    return all(_owns(ties, term, out) if isinstance(term, Tensor | Weight) else zero(ties, term) for term in terms)


def _multiplied(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    return any(_owns(ties, part, out) for part in call.parts())


def _divided(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    """0 / 0 is no 0."""
    return _owns(ties, call["self"], out) and not zero(ties, call["other"])


def _owned(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    """The first argument, spread over others."""
    return any(_owns(ties, part, out) for part in call.parts()[:1])


def _power(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    exponent = call.given.get("exponent")
    return isinstance(exponent, int | float) and exponent > 0 and zero(ties, call.given.get("self"))


def _clamped(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    low, high = (
        next((call.given[name] for name in names if call.given.get(name) is not None), 0)
        for names in (("min", "min_val"), ("max", "max_val"))
    )
    between = isinstance(low, int | float) and isinstance(high, int | float) and low <= 0 <= high
    return between and zero(ties, call["self"])


def _filled(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    """Zeros written into a tensor, or into some places of it."""
    inside = call.op in ("fill", "full", "full_like", "new_full") or zero(
        ties, call.given.get("self", call.given.get("input"))
    )
    value = call.given.get("value", call.given.get("fill_value"))
    return inside and not isinstance(value, Tensor) and (zero(ties, value) or call.given.get("mode") not in
                                                         (None, "constant"))  # fmt: skip


def _made(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    """What a weight makes: its rows are 0, and so are their biases."""
    weight = isinstance(call["weight"], Weight) and zero(ties, call["weight"])
    return weight and zero(ties, call.given.get("bias"))


def _normed(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    """0 times what is normalised, or what was 0 and has a mean of 0."""
    x, weight = (call.given.get(name) for name in ("input", "weight"))
    scaled = zero(ties, x) if weight is None else zero(ties, weight)
    return scaled and zero(ties, call.given.get("bias")) and isinstance(call.given.get("bias"), Weight | None)


def _always(ties: Ties, call: Call, out: Tensor | Weight) -> bool:
    return True


KEPT = frozenset((
    # number by number
    "relu", "relu6", "gelu", "silu", "tanh", "leaky_relu", "hardswish", "elu", "selu", "celu", "mish", "softsign",
    "softshrink", "hardshrink", "tanhshrink", "neg", "abs", "sign", "sqrt", "square", "sin", "tan", "asin", "atan",
    "sinh", "erf", "expm1", "log1p", "trunc", "round", "floor", "ceil", "prelu", "glu", "dropout", "feature_dropout",
    "alpha_dropout", "feature_alpha_dropout", "contiguous", "to", "_to_copy", "detach", "alias", "clone", "rrelu",
    "lift_fresh_copy", "real", "imag", "view_as_real", "view_as_complex", "conj",
    # moved
    "permute", "transpose", "t", "numpy_T", "mT", "movedim", "swapaxes", "flatten", "squeeze", "unsqueeze", "expand",
    "broadcast_to", "flip", "repeat", "repeat_interleave", "tile", "view", "reshape", "unflatten", "_unsafe_view",
    "chunk", "split", "split_with_sizes", "slice", "narrow", "select", "unbind", "roll", "cat", "concat", "stack",
    "hstack", "vstack", "dstack", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "tensor_split", "unfold",
    "im2col", "col2im", "index_select",
    # over positions
    "sum", "mean", "amax", "amin", "var", "std", "linalg_vector_norm", "norm", "cumsum", "diff",
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_bicubic2d", "upsample_trilinear3d",
    # one with another: what is 0 in both is 0
    "mm", "bmm", "matmul", "einsum", "mv", "inner", "tensordot", "_grouped_mm", "transformers.grouped_mm_fallback",
))  # fmt: skip
RULES: dict[str, Any] = (
    dict.fromkeys(("add", "sub", "maximum", "minimum", "where", "copy"), _added)
    | dict.fromkeys(("mul",), _multiplied)
    | dict.fromkeys(("div",), _divided)
    | dict.fromkeys(("expand_as", "broadcast_tensors", "view_as", "reshape_as", "type_as"), _owned)
    | dict.fromkeys(("pow",), _power)
    | dict.fromkeys(("clamp", "hardtanh", "clamp_min", "clamp_max"), _clamped)
    | dict.fromkeys(("fill", "full_like", "new_full", "full", "masked_fill", "pad", "constant_pad_nd"), _filled)
    | dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "embedding", "conv_transpose1d", "conv_transpose2d",
                     "conv_transpose3d"), _made)
    | dict.fromkeys(("batch_norm", "instance_norm", "group_norm"), _normed)
    | dict.fromkeys(("zeros", "zeros_like", "new_zeros"), _always)
)  # fmt: skip
