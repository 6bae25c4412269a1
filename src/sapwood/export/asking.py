"""Asking: what a function of the user's says of a network."""

from collections.abc import Callable

from torch import nn

from sapwood.errors import InputError
from sapwood.scoring.modes import evaluating

Evaluate = Callable[[nn.Module], float]


def asked_of(evaluate: Evaluate, model: nn.Module) -> float:
    """What `evaluate` says of a network in evaluation mode, which has its own modes again afterwards."""
    with evaluating(model):
        answer = evaluate(model)
    try:
        return float(answer)
    except (TypeError, ValueError) as error:
        raise InputError(f"evaluate(model) gave a {type(answer).__name__}; it must give one number") from error
