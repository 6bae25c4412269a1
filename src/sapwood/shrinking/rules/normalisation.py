"""Normalisations: by channel or group they hold parameters for each unit; across units they pin, unless told not to."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels, in_parts
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, varied


def by_channel(ties: Ties, call: Call) -> Tensor:
    """Batch and instance norm: parameters and running statistics lie with the channels."""
    x = call.ids(ties)
    x_CN = channels(x, 1)
    if x_CN.shape[1] > 1:
        x = ties.tie_over(x.movedim(1, 0).flatten(1), 1).view(x.movedim(1, 0).shape).movedim(0, 1)
    call.hold(ties, channels(x, 1)[:, 0], "weight", "bias", "running_mean", "running_var")
    return ties.now(x)


def by_group(ties: Ties, call: Call) -> Tensor:
    """Group norm: channels that are normalised together go together; a whole group is missed by no other."""
    x = call.ids(ties)
    if 1 in varied(x):
        ties.ask(x, call.name)
        ties.quiet.doubts.append((thin(x).reshape(-1), call.name))  # a wrong number of groups may divide them as well
        ties.tie_over(in_parts(x, 1, call["num_groups"]), 2)
        x = ties.now(x)
        if varied(x) != [1]:
            ties.pin(x, call.because("normalises over positions that are units"))
    call.hold(ties, channels(x, 1)[:, 0], "weight", "bias")
    return ties.now(x)


def over_last(ties: Ties, call: Call) -> Tensor:
    """Layer and RMS norm: every number depends on all others; units go only where that is allowed."""
    x = call.ids(ties)
    if not ties.lossy or len(call["normalized_shape"]) > 1 or varied(x) != [x.dim() - 1]:
        return across(ties, call)
    ties.lose(x)
    call.hold(ties, channels(x, x.dim() - 1)[:, 0], "weight", "bias")
    return ties.now(x)


def across(ties: Ties, call: Call) -> Tensor:
    """Softmax, cumulative sums, norms over several dimensions: every number depends on the others along `dims`."""
    x = call.ids(ties)
    if set(_dims(call, x)) & set(varied(x)):
        ties.pin(x, call.because("normalises across units"))
    for name in ("weight", "bias"):
        value = call.given.get(name)
        for layer in getattr(value, "layers", ()):
            ties.pin(layer, call.because("normalises across units"))
    return ties.now(x)


def _dims(call: Call, x: Tensor) -> range | list[int]:
    if "normalized_shape" in call.given:
        return range(x.dim() - len(call["normalized_shape"]), x.dim())
    return [call["dim"] % x.dim()]


RULES: dict[str, Any] = (
    dict.fromkeys(("batch_norm", "instance_norm"), by_channel)
    | dict.fromkeys(("layer_norm", "rms_norm"), over_last)
    | dict.fromkeys(("softmax", "log_softmax", "cumsum"), across)
    | {"group_norm": by_group}
)
