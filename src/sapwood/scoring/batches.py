"""Batches: how a model is called with what a data loader gives, and on which device."""

import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.scoring.untouched import untouched

TARGETS = ("label", "labels", "target", "targets", "y", "label_ids")  # keys that are no input unless forward takes them


WHOLE = ("batch", "sample", "batched_inputs")  # a forward whose first argument is called so takes batches as they are
FORMS = (
    "a batch may be a tensor; a tuple or list, the target last; a dict of what forward takes, or of what it reads from "
    "its only argument; or Batch(inputs, targets)"
)
FAILS = (TypeError, LookupError, AttributeError, ValueError, RuntimeError)  # of a model called with what it cannot read


class Arguments(NamedTuple):
    """What a model is called with."""

    positional: tuple[Any, ...]
    keywords: Mapping[str, Any]

    def call(self, model: nn.Module) -> Any:
        """The model's outputs; InputError, which says what it was called with, where it fails."""
        try:
            return model(*self.positional, **self.keywords)
        except (InputError, torch.OutOfMemoryError):
            raise
        except FAILS as error:
            given = ", ".join([*map(_form, self.positional), *(f"{n}={_form(x)}" for n, x in self.keywords.items())])
            raise InputError(
                f"{_kind(model)} fails when called with ({given}): {type(error).__name__}: {error}; {FORMS}"
            ) from error


def each(model: nn.Module, batches: Iterable[Any], who: str) -> Iterator[tuple[Any, Arguments]]:
    """Every batch, on the model's device, and the arguments that it makes; at least one.

    A batch may be a tensor; something with `.inputs`; a tuple or list, of which the last is the target unless the
    model's forward needs all; or a dict, whose entries are keywords, those left out that forward does not take. A
    forward whose first argument is called `batch` gets it whole, one with a single argument a dict of other names.
    Where a batch can be meant in several ways, the first in which the model runs is taken, and kept for the others.
    """
    refuse_no_batches(batches, who)
    kept, none = dict[int, int](), True  # {how many ways there are: which of them runs}
    for batch in batches:
        none, given = False, moved(batch, device(model))
        ways, refused = _ways(model, given)
        if len(ways) not in kept:
            kept[len(ways)] = _running(model, ways, refused)
        yield given, ways[kept[len(ways)]]
    if none:
        raise InputError(f"{who} was given no batches; give at least one (an exhausted generator is empty)")


def refuse_no_batches(batches: object, who: str) -> None:
    """InputError unless these may be several batches."""
    if isinstance(batches, Tensor | Mapping | str) or hasattr(batches, "inputs") or not hasattr(batches, "__iter__"):
        raise InputError(
            f"{who} was given a {type(batches).__name__} for batches; give a list of them, or a DataLoader"
        )


def tried(model: nn.Module, batches: Iterable[Any], who: str) -> Iterable[Any]:
    """The same batches, once, after the model has run on the first: what cannot be read is told before long work."""
    refuse_no_batches(batches, who)
    with untouched(model):
        rest = iter(batches)
        first = list(islice(rest, 1))
        for _, given in each(model, first, who):
            given.call(model)
    return chain(first, rest)


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
    """What the model is called with for a batch, in the likeliest way."""
    return _ways(model, batch)[0][0]


def _ways(model: nn.Module, batch: Any) -> tuple[list[Arguments], InputError | None]:
    """What a batch may mean, the likeliest first; and why its entries are not forward's, if they are not."""
    ways, refused = list[Arguments](), None
    whole = next(iter(inspect.signature(inner(model).forward).parameters), "") in WHOLE
    if whole and not isinstance(batch, Tensor) and not hasattr(batch, "inputs"):
        ways.append(Arguments((batch,), {}))
        if isinstance(batch, Mapping):
            return ways, None
    inputs = _inputs_in(model, batch)
    try:
        ways.append(_usual(model, inputs))
    except InputError as error:
        refused = error
    one = inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
    if isinstance(one, Mapping) and not _takes_some(model, one) and _places(model)[0] == 1:
        ways.append(Arguments((one,), {}))
    if refused is not None and not ways:
        raise refused
    return ways, refused


def _inputs_in(model: nn.Module, batch: Any) -> Any:
    """A batch without its target."""
    if hasattr(batch, "inputs"):  # before tuples: a Batch is one, of inputs and targets
        return batch.inputs
    if isinstance(batch, tuple | list) and batch:
        inputs = batch if len(batch) in (1, _places(model)[0]) else batch[:-1]
        return inputs[0] if len(inputs) == 1 else tuple(inputs)
    return batch


def _running(model: nn.Module, ways: Sequence[Arguments], refused: InputError | None = None) -> int:
    """The first way in which the model runs. One alone is not tried, unless there was something against it."""
    if len(ways) == 1 and refused is None:
        return 0
    said = [] if refused is None else [str(refused)]
    for number, way in enumerate(ways):
        try:
            with untouched(model), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a way that is none
                way.call(model)
            return number
        except InputError as error:
            said.append(str(error).removesuffix(f"; {FORMS}"))
    raise InputError("; ".join([*said, FORMS]))


def example(model: nn.Module, inputs: Any) -> Arguments:
    """What the model is called with for mere inputs: a tensor, a tuple of arguments, a dict of them or of its own."""
    if not isinstance(inputs, Mapping):
        return _usual(model, inputs)
    ways, refused = _ways(model, inputs)
    return ways[_running(model, ways, refused)]


def _usual(model: nn.Module, inputs: Any) -> Arguments:
    """Inputs that are arguments one by one, or by name."""
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


def _takes_some(model: nn.Module, batch: Mapping[str, Any]) -> bool:
    """Whether forward has arguments of some of these names, or takes any."""
    takes = inspect.signature(inner(model).forward).parameters
    return any(name in takes for name in batch) or any(each.kind is each.VAR_KEYWORD for each in takes.values())


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


def _form(value: Any) -> str:
    """What something in a batch looks like: shapes and keys."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_form(each)}' for key, each in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_form, value[:9]))}{', ...' * (len(value) > 9)})"
    return f"a {type(value).__name__}"


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
