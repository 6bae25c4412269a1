"""Normalisations: channel by channel they hold parameters for each unit; across units they pin them."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels
from sapwood.shrinking.rules.ids import Ties, varied


def by_channel(ties: Ties, call: Call) -> Tensor:
    """Batch and instance norm: parameters and running statistics lie with the channels."""
    x = call.ids(ties)
    x_CN = channels(x, 1)
    if x_CN.shape[1] > 1:
        x = ties.tie_over(x.movedim(1, 0).flatten(1), 1).view(x.movedim(1, 0).shape).movedim(0, 1)
    call.hold(ties, channels(x, 1)[:, 0], "weight", "bias", "running_mean", "running_var")
    return ties.now(x)


def across(ties: Ties, call: Call) -> Tensor:
    """Layer, RMS, group norm, softmax, cumulative sums: every number depends on the others along `dims`."""
    x = call.ids(ties)
    if set(_dims(call, x)) & set(varied(x)):
        ties.pin(x, call.because("normalises across units; a rule for fewer units would go into "
                                 "src/sapwood/shrinking/rules/normalisation.py"))  # fmt: skip
    for name in ("weight", "bias"):
        value = call.given.get(name)
        for layer in getattr(value, "layers", ()):
            ties.pin(layer, call.because("normalises across units"))
    return ties.now(x)


def _dims(call: Call, x: Tensor) -> range | list[int]:
    if "normalized_shape" in call.given:
        return range(x.dim() - len(call["normalized_shape"]), x.dim())
    return range(1, x.dim()) if "num_groups" in call.given else [call["dim"] % x.dim()]


RULES: dict[str, Any] = dict.fromkeys(("batch_norm", "instance_norm"), by_channel) | dict.fromkeys(
    ("layer_norm", "rms_norm", "group_norm", "softmax", "log_softmax", "cumsum"), across
)
