"""Rules: how ids pass through each operator of an exported graph. One small file for each family.

A rule is `rule(ties, call) -> ids of the outputs`. It may tie, pin and mark; to leave out a tie is the one mistake it
can make. An operator without a rule pins whatever touches it, so that a missing rule costs units, never equality.
"""

from collections.abc import Callable
from typing import Any

import torch

from sapwood.shrinking.rules import (
    attention,
    contraction,
    convolution,
    einsum,
    elementwise,
    indexing,
    movement,
    normalisation,
    pooling,
    recurrent,
    reduction,
    weight_norm,
    weights,
    zero,
)  # fmt: skip
from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.ids import Ties

Rule = Callable[[Ties, Call], Any]
FAMILIES = (
    elementwise, movement, indexing, reduction, contraction, einsum, attention, convolution,
    normalisation, pooling, recurrent, weight_norm,
)  # fmt: skip
RULES: dict[str, Rule] = {name: rule for family in FAMILIES for name, rule in family.RULES.items()}


def rule_for(call: Call) -> Rule:
    """The operator's rule, with a note of what stays 0 behind it."""
    rule = _rule(call)
    return lambda ties, call: zero.noted(ties, call, rule(ties, call))


def _rule(call: Call) -> Rule:
    """By name, by torch's own word that it works number by number, or none: pinned."""
    rule = RULES.get(call.op)
    if rule is not elementwise.passed and (computed := weights.of_weights(call)) is not None:
        return computed  # type: ignore[no-any-return]
    if rule is not None:
        return rule
    if call.run is not None and torch.Tag.pointwise in getattr(call.run, "tags", ()):
        return elementwise.elementwise
    return movement.created if not call.parts() and call.shapes else _unknown


def _unknown(ties: Ties, call: Call) -> Any:
    if call.run is None:
        return pinned(ties, call, "runs code of its own, once, several times or not at all")
    return pinned(ties, call, "has no rule; one goes into src/sapwood/shrinking/rules/")
