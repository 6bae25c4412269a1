"""Small: a model, and the optimiser that trained it, become smaller where they stand: a trainer holds on to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from torch import nn
from torch.optim import Optimizer

from sapwood.ancestry import note_smaller
from sapwood.currency import Keep
from sapwood.export.caches import without_caches
from sapwood.measure.example import Example
from sapwood.scoring import batches
from sapwood.shrinking.shrunk import Shrunk, compact, shrink
from sapwood.shrinking.tracing.anatomy import Anatomy

T = TypeVar("T")
ASIDE = ("forward", "_original_forward", "_trainer", "_fabric")  # what trainers put on a model of somebody else's


def there(what: T, model: nn.Module) -> T:
    """An example, or evidence, where the trainer has put the model."""
    return cast(T, batches.moved(what, batches.device(model)))


@contextmanager
def as_it_was_given(model: nn.Module) -> Iterator[None]:
    """Inside the block the model has nothing on it that its trainer put there, nor returns caches of keys and values.

    accelerate wraps `forward` for mixed precision, and a Lightning module leads to its trainer: neither can be copied.
    """
    aside = {name: vars(model).pop(name) for name in ASIDE if name in vars(model)}
    if "_trainer" in aside:
        vars(model)["_trainer"] = None
    try:
        with without_caches(model):
            yield
    finally:
        vars(model).update(aside)


def become_(model: nn.Module, optimizers: Sequence[Optimizer], small: Shrunk) -> None:
    """`model` itself is the smaller one afterwards, and so is what its optimisers remember and train.

    Memory is cut where there is one optimiser; several begin without any.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    new = dict(small.model.named_parameters())
    for optimizer in optimizers:
        for at, group in enumerate(optimizer.param_groups):
            group["params"] = (
                small.optimizer.param_groups[at]["params"]
                if small.optimizer is not None
                else [new.get(names.get(id(p), ""), p) for p in group["params"]]
            )
        optimizer.state.clear()
        optimizer.state.update({} if small.optimizer is None else small.optimizer.state)
    vars(model).clear()
    vars(model).update(vars(small.model))


def innermost(optimizer: Any) -> Any:
    """The optimiser inside of accelerate's, and the like."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def together(optimizers: Sequence[Any]) -> Any:
    """What `hold` takes for all of them: an optimiser, or something that keeps several."""
    return optimizers[0] if len(optimizers) == 1 else SimpleNamespace(several=list(optimizers))


def shrink_(model: nn.Module, optimizers: Sequence[Any], example: Example, units: Keep) -> None:
    """The units that are not kept go, or, where single weights went, all that their going has made useless."""
    inner = [innermost(each) for each in optimizers]
    one = inner[0] if len(inner) == 1 else None
    with as_it_was_given(model):
        anatomy = Anatomy(model, there(example, model))
        small = shrink(anatomy, units, optimizer=one) if units else compact(anatomy, optimizer=one)
        become_(model, inner, small)
    note_smaller(model)
