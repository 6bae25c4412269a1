"""Batches: how a model is called with what a data loader gives, and on which device."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sapwood.errors import InputError

TARGETS = ("label", "labels", "target", "targets", "y", "label_ids")  # keys that are no input unless forward takes them


WHOLE = ("batch", "sample", "batched_inputs")  # a forward whose first argument is called so takes batches as they are


class Arguments(NamedTuple):
    """What a model is called with."""

    positional: tuple[Any, ...]
    keywords: Mapping[str, Any]

    def call(self, model: nn.Module) -> Any:
        """The model's outputs."""
        return model(*self.positional, **self.keywords)


def each(model: nn.Module, batches: Iterable[Any], who: str) -> Iterator[tuple[Any, Arguments]]:
    """Every batch, on the model's device, and the arguments that it makes; at least one.

    A batch may be a tensor; something with `.inputs`; a tuple or list, of which the last is the target unless the
    model's forward needs all; or a dict, whose entries are keywords, those left out that forward does not take. A
    forward whose first argument is called `batch` gets it whole.
    """
    if isinstance(batches, Tensor | Mapping | str) or hasattr(batches, "inputs") or not hasattr(batches, "__iter__"):
        raise InputError(
            f"{who} was given a {type(batches).__name__} for batches; give a list of them, or a DataLoader"
        )
    none = True
    for batch in batches:
        none, given = False, moved(batch, device(model))
        yield given, arguments(model, given)
    if none:
        raise InputError(f"{who} was given no batches; give at least one (an exhausted generator is empty)")


def forward(model: nn.Module, batch: Any) -> Tensor:
    """Return the model's outputs for a Batch: its inputs are one argument, or several where they are a tuple or dict.

    Of an answer that has `logits`, as Hugging Face's models give it, those are the outputs.
    """
    inputs = batch.inputs
    if isinstance(inputs, Tensor):
        outputs = model(inputs)
    else:
        outputs = model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
    if isinstance(outputs, Tensor):
        return outputs
    logits: Tensor = getattr(outputs, "logits", outputs)
    return logits


def arguments(model: nn.Module, batch: Any) -> Arguments:
    """What the model is called with for a batch."""
    if hasattr(batch, "inputs"):  # before tuples: a Batch is one, of inputs and targets
        return example(model, batch.inputs)
    if next(iter(inspect.signature(inner(model).forward).parameters), "") in WHOLE and not isinstance(batch, Tensor):
        return Arguments((batch,), {})
    if isinstance(batch, Mapping):
        return Arguments((), _keywords(model, batch))
    if isinstance(batch, tuple | list) and batch:
        if len(batch) == 1:
            return example(model, batch[0])
        inputs = batch if len(batch) == _places(model)[0] else batch[:-1]
        return example(model, inputs[0] if len(inputs) == 1 else tuple(inputs))
    return example(model, batch)


def example(model: nn.Module, inputs: Any) -> Arguments:
    """What the model is called with for mere inputs: a tensor, a tuple of arguments or a dict of keywords."""
    if isinstance(inputs, Mapping):
        return Arguments((), _keywords(model, inputs))
    needed, most = _places(model)
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    if not isinstance(inputs, Tensor | list | tuple):
        raise InputError(
            f"a batch is a {type(inputs).__name__}; give a tensor, a tuple, a dict, or something with .inputs, such as "
            "Batch(inputs, targets)"
        )
    if isinstance(inputs, Tensor) and (inputs.dim() == 0 or len(inputs) == 0):
        raise InputError(f"a batch has shape {tuple(inputs.shape)}; give at least one sample")
    if not needed <= len(parts) <= most:
        raise InputError(f"a batch has {len(parts)} inputs, but forward of {_kind(model)} needs {needed}")
    return Arguments(parts, {})


def _keywords(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that forward takes. One that takes no such names gets the only entry that is no target."""
    takes = inspect.signature(inner(model).forward).parameters
    if any(each.kind is each.VAR_KEYWORD for each in takes.values()):
        return dict(batch)
    given = {name: value for name, value in batch.items() if name in takes}
    others = {name: value for name, value in batch.items() if name not in TARGETS}
    if not given and len(takes) and len(others) == 1:
        given = {next(iter(takes)): next(iter(others.values()))}
    needed = [
        name for name, each in takes.items() if each.default is each.empty and each.kind is not each.VAR_POSITIONAL
    ]
    if missing := [name for name in needed if name not in given]:
        raise InputError(
            f"a batch has the keys {', '.join(map(repr, batch))}, but forward of {_kind(model)} needs {missing[0]!r}; "
            "give dicts with its names, or something with .inputs"
        )
    return given


def _places(model: nn.Module) -> tuple[int, float]:
    """How many inputs forward needs, at least one, and how many it takes."""
    takes = inspect.signature(inner(model).forward).parameters.values()
    places = [each for each in takes if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in places)
    return max(1, needed), float("inf") if any(each.kind is each.VAR_POSITIONAL for each in takes) else len(places)


def inner(model: nn.Module) -> nn.Module:
    """The model inside of wrappers that pass on whatever they are called with: compiled, parallel."""
    while True:
        wrapped = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            wrapped = model.module
        if not isinstance(wrapped, nn.Module):
            return model
        model = wrapped


def _kind(model: nn.Module) -> str:
    return type(inner(model)).__name__


def device(model: nn.Module) -> torch.device | None:
    """The one device of all parameters, None when there are several, or none."""
    found = {parameter.device for parameter in model.parameters()}
    return found.pop() if len(found) == 1 else None


def moved(batch: Any, to: torch.device | None) -> Any:
    """The same batch where the model is; itself if it is there."""
    if isinstance(batch, Tensor):
        batch = batch if to is None or batch.device == to else batch.to(to)
        with torch.inference_mode(False):  # a tensor made in inference mode can have no part in gradients
            return batch.clone() if batch.is_inference() else batch
    if isinstance(batch, tuple | list):
        parts = [moved(part, to) for part in batch]
        if all(new is old for new, old in zip(parts, batch, strict=True)):
            return batch
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    if type(batch) is dict:
        entries = {name: moved(part, to) for name, part in batch.items()}
        return batch if all(entries[name] is part for name, part in batch.items()) else entries
    return batch.to(to) if to is not None and isinstance(batch, Mapping) and hasattr(batch, "to") else batch
