"""Pooling and resampling: each output channel depends on one input channel."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels, spread
from sapwood.shrinking.rules.elementwise import join
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import varied
from sapwood.shrinking.rules.values import DATA, walk


def pooled(ties: Ties, call: Call) -> Any:
    """All positions of a channel flow into each other: max, average and adaptive pooling, interpolation."""
    few = _one_position(ties, call, call.ids(ties))
    outputs = tuple(ties.now(few.expand(shape)) for shape in call.shapes)
    return outputs if len(outputs) > 1 else outputs[0]


def unpooled(ties: Ties, call: Call) -> Any:
    """Back to where the largest were: the places have the units of what was pooled."""
    both = join(ties, call, call.ids(ties), ties.now(call.plain(ties, call["indices"])))
    return ties.now(_one_position(ties, call, both).expand(call.shape))


def sampled(ties: Ties, call: Call) -> Any:
    """Read at places that are numbers themselves, the same for all channels."""
    for grid in walk(call["grid"]):
        ties.pin(call.plain(ties, grid), call.because("reads places where it says"))
    few = _one_position(ties, call, call.ids(ties))
    ties.mix(few)
    return ties.now(few.expand(call.shape))


def regions(ties: Ties, call: Call) -> Any:
    """Channels of regions of an image."""
    for places in walk(call["rois"]):
        ties.pin(call.plain(ties, places), call.because("reads places where it says"))
    few = _one_position(ties, call, call.ids(ties))
    ties.mix(few)
    return ties.now(spread(channels(few, 1)[:, 0], 1, call.shape))


def _one_position(ties: Ties, call: Call, x: Tensor) -> Tensor:
    """Units along positions flow into each other, so they go together; not where some belong to nobody."""
    positions = range(x.dim() - _spatial(call.op), x.dim())
    for dim in set(varied(x)) & set(positions):
        if bool((x <= DATA).any()):
            ties.pin(x, call.because("goes over units and others"))
        else:
            x = ties.tie_over(x, dim)
    for dim in positions:
        x = x.narrow(dim, 0, 1)
    return x


def _spatial(op: str) -> int:
    """How many of the last dimensions are positions: the digit in max_pool2d, upsample_nearest1d."""
    return int(next(letter for letter in op if letter.isdigit())) if any(map(str.isdigit, op)) else 2


POOLS = [f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp") for n in (1, 2, 3)]
SIZES = ["upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d",
         "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"]  # fmt: skip
EXACT = [f"_upsample_nearest_exact{n}d" for n in (1, 2, 3)] + ["_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"]
RULES: dict[str, Any] = (
    dict.fromkeys([*POOLS, *(f"max_pool{n}d_with_indices" for n in (1, 2, 3)), *SIZES, *EXACT], pooled)
    | dict.fromkeys(("max_unpool2d", "max_unpool3d"), unpooled)
    | dict.fromkeys(("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), sampled)
    | {"roi_align": regions, "roi_pool": regions}
)
