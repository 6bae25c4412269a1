"""The optimisers behind an optimiser: what accelerate, sharpness-aware training and others hand out wraps another."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from sapwood.errors import InputError

DEPTH = 4  # wrappers around wrappers


def behind(optimizer: Any) -> list[Any]:
    """The optimiser itself and those that it keeps in its attributes, each once."""
    found: dict[int, Any] = {}
    layer = [optimizer]
    for _ in range(DEPTH):
        found |= {id(each): each for each in layer}
        layer = [inner for each in layer for inner in _kept(each) if id(inner) not in found]
    return list(found.values())


def refuse_foreign(weights: Mapping[str, Tensor], optimizer: Any) -> None:
    """A trainable masked weight must be in this optimiser, and its steps must be seen, or they would undo the mask."""
    every = [each for each in behind(optimizer) if hasattr(each, "param_groups")]
    if not every:
        raise InputError(f"{type(optimizer).__name__} has no param_groups; give the optimiser that trains the model")
    trained = {id(p): each for each in every for p in _parameters(each)}
    seen = {id(p) for each in every if _hooked(each) for p in _parameters(each)}
    for name, weight in weights.items():
        if weight.requires_grad and id(weight) not in trained:
            raise InputError(
                f"parameter {name!r} is masked but not in the optimiser; "
                "pass the optimiser that trains it, or freeze it with requires_grad_(False)"
            )
        if weight.requires_grad and id(weight) not in seen:
            kind = type(trained[id(weight)]).__name__
            raise InputError(
                f"{kind}, which trains {name!r}, runs none of torch's step hooks (no torch optimiser, or never called "
                "Optimizer.__init__) and keeps no optimiser that does; give the one whose step moves the weights"
            )


def _kept(wrapper: Any) -> Iterator[Optimizer]:
    for value in vars(wrapper).values() if hasattr(wrapper, "__dict__") else ():
        several = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
        yield from (each for each in several if isinstance(each, Optimizer))


def _parameters(optimizer: Any) -> Iterator[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])


def _hooked(optimizer: Any) -> bool:
    """Whether its steps run hooks: Optimizer.__init__ sees to that."""
    return hasattr(optimizer, "_optimizer_step_post_hooks") and hasattr(type(optimizer).step, "hooked")
