"""Observing: sums over samples of what layers see, by hooks that leave no trace."""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sapwood.errors import InputError, unknown
from sapwood.layout import Layer, patches, rows

# Shape suffixes: N samples times positions, I inputs times kernel positions, O outputs.
Hook = Callable[..., None]


@dataclass(eq=False)
class Sight:
    """What one layer saw in one batch, in one canonical shape whatever the layer's type, without its graph.

    y_NO, the outputs before the activation function, has one row per sample and position; x_NI, made when asked for,
    one column per weight an output reads.
    """

    layer: Layer
    x: Tensor
    y_NO: Tensor
    gy: Tensor | None = None  # d(sum of the samples' losses) / dy, for statistics that look backward

    @cached_property
    def gy_NO(self) -> Tensor:
        """The outputs' gradients, [N, O]."""
        if self.gy is None:
            raise InputError("this statistic needs gradients; use observe(..., loss=...)")
        return rows(self.layer, self.gy)

    @cached_property
    def x_NI(self) -> Tensor:
        """Inputs, [N, I]: what each output position multiplies with its weights."""
        x = self.x.detach()
        return x.flatten(0, -2) if isinstance(self.layer, nn.Linear) else patches(self.layer, x)


class Statistic(str):
    """A sum over samples of something a layer sees. It equals its name, so evidence can be saved by name.

    Law: of(a ++ b) = of(a) + of(b) for any split of the samples.
    """

    of: Callable[[Sight], Tensor]
    backward: bool
    rows: Callable[[Sight], Tensor] | None  # for counts: 0 or 1 for each row, see `statistics.counting`

    def __new__(cls, name: str, of: Callable[[Sight], Tensor], backward: bool = False) -> "Statistic":
        self = super().__new__(cls, name)
        self.of, self.backward, self.rows = of, backward, None
        return self


def counted(rows: Tensor) -> Tensor:
    """How many ones each column of `rows` has."""
    return rows.sum(0, dtype=torch.float64).to(torch.int64)


class Sums(MutableMapping[str, Tensor]):
    """What one layer has shown, {statistic: sum}; exact whenever somebody looks.

    Adding up a batch's rows costs more than finding what to count, so counts are kept row by row, [N, O], until they
    are read, a batch has another size, or the outputs' type could no longer hold them.
    """

    MOST = 256  # ones that any type adds up exactly, bfloat16 too

    def __init__(self, sums: Mapping[str, Tensor]) -> None:
        self._sums = dict(sums)
        self._pending: dict[Statistic, Tensor] = {}
        self._passes = 0

    def see(self, statistic: Statistic, sight: Sight) -> None:
        """Add what the layer showed in one pass."""
        if statistic.rows is None:
            _add_to(self._sums, statistic, statistic.of(sight))
            return
        ones, before = statistic.rows(sight), self._pending.get(statistic)
        if before is not None and before.shape == ones.shape and self._passes < self.MOST:
            before += ones
        else:
            if before is not None:
                self.settled()
            self._pending[statistic] = ones
        self._passes += 1

    def settled(self) -> dict[str, Tensor]:
        """The sums, with nothing pending."""
        for statistic, ones in self._pending.items():
            _add_to(self._sums, statistic, counted(ones))
        self._pending.clear()
        self._passes = 0
        return self._sums

    def __getitem__(self, statistic: str) -> Tensor:
        return self.settled()[statistic]

    def __setitem__(self, statistic: str, value: Tensor) -> None:
        self.settled()[statistic] = value

    def __delitem__(self, statistic: str) -> None:
        del self.settled()[statistic]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settled())

    def __len__(self) -> int:
        return len(self.settled())


def _add_to(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    sums[str(name)] = sums[name].add_(value.detach()) if name in sums else value.detach()


Evidence = dict[str, MutableMapping[str, Tensor]]  # layer name -> statistic -> its sum


def _settled(evidence: Evidence) -> Evidence:
    """The same in plain dicts: nothing is pending and nothing goes on being added."""
    return {name: sums.settled() if isinstance(sums, Sums) else sums for name, sums in evidence.items()}


def prunable(model: nn.Module) -> dict[str, Layer]:
    """The layers with a weight to prune, by name in order of definition: linear and convolutional."""
    found = {name: layer for name, layer in model.named_modules() if isinstance(layer, Layer)}
    if not found:
        raise InputError(f"{type(model).__name__} has no Linear or Conv layer, so there is nothing to prune")
    return found


def hidden(model: nn.Module) -> list[str]:
    """All prunable layers but the last, which gives the network's answer."""
    names = list(prunable(model))[:-1]
    if not names:
        raise InputError(f"{type(model).__name__} has one prunable layer only, its output; name the layers with only=")
    return names


def chosen(model: nn.Module, only: Iterable[str] | None) -> dict[str, Layer]:
    """The prunable layers named in `only`; all of them when it is None."""
    layers = prunable(model)
    names = list(layers if only is None else only)
    for name in names:
        if name not in layers:
            raise unknown("layer", name, layers)
    return {name: layers[name] for name in names}


@contextmanager
def observing(
    model: nn.Module,
    *statistics: Statistic,
    only: Iterable[str] | None = None,
    training: bool | None = None,
    into: Evidence | None = None,
) -> Iterator[Evidence]:
    """Adds up statistics over every forward pass inside the block, and leaves nothing on the model.

    `training=True` counts only passes in training mode, so that evaluating inside the block is not seen.
    """
    evidence: Evidence = {} if into is None else into
    for statistic in statistics:
        if _refuse_stranger(statistic).backward:
            raise InputError(f"statistic {str(statistic)!r} looks at gradients; use observe(..., loss=...)")
    hooks = [
        layer.register_forward_hook(_adding(name, statistics, evidence, training))
        for name, layer in chosen(model, only).items()
    ]
    try:
        yield evidence
    finally:
        _remove(hooks)
        evidence.update(_settled(evidence))


def observe(
    model: nn.Module,
    batches: Iterable[Any],
    *statistics: Statistic,
    loss: Callable[[Tensor, Any], Tensor] | None = None,
    only: Sequence[str] | None = None,
) -> Evidence:
    """Statistics over `batches` (each with .inputs), in evaluation mode; the model is left as it was.

    Backward statistics need `loss(outputs, batch)`, the batch's *sum* of losses; gradients are not accumulated.
    """
    backward = any(_refuse_stranger(statistic).backward for statistic in statistics)
    if backward and loss is None:
        raise InputError("a statistic looks at gradients; give observe() a loss")
    evidence: Evidence = {}
    batch = None
    with evaluating(model):
        for batch in batches:
            if not hasattr(batch, "inputs"):
                raise InputError(
                    f"a batch is a {type(batch).__name__}; give batches with .inputs: Batch(inputs, targets)"
                )
            if backward and loss is not None:
                for name, sight in _looking_back(model, batch, loss, only).items():
                    _add(evidence, name, statistics, sight)
            else:
                with torch.no_grad(), observing(model, *statistics, only=only, into=evidence):
                    model(batch.inputs)
    if batch is None:
        raise InputError("observe() was given no batches; give at least one")
    return _settled(evidence)


def _refuse_stranger(statistic: object) -> Statistic:
    if not isinstance(statistic, Statistic):
        raise InputError(f"{statistic!r} is not a statistic; give Statistics one by one, as in *criterion.needs")
    return statistic


def _looking_back(
    model: nn.Module, batch: Any, loss: Callable[[Tensor, Any], Tensor], only: Sequence[str] | None
) -> dict[str, Sight]:
    """What each layer saw in one batch, with the gradients of its outputs."""
    seen: dict[str, tuple[Layer, Tensor, Tensor]] = {}

    def look(name: str, layer: Layer, x: tuple[Tensor, ...], y: Tensor) -> None:
        seen[name] = layer, x[0], y

    hooks = [layer.register_forward_hook(partial(look, name)) for name, layer in chosen(model, only).items()]
    try:
        with torch.enable_grad():
            total = loss(model(batch.inputs), batch)
            grads = torch.autograd.grad(total, [y for _, _, y in seen.values()])
    finally:
        _remove(hooks)
    return {
        name: Sight(layer, x, rows(layer, y.detach()), gy)
        for (name, (layer, x, y)), gy in zip(seen.items(), grads, strict=True)
    }


def _adding(name: str, statistics: Sequence[Statistic], evidence: Evidence, training: bool | None) -> Hook:
    def hook(layer: Layer, x: tuple[Tensor, ...], y: Tensor) -> None:
        if training is None or layer.training == training:
            _add(evidence, name, statistics, Sight(layer, x[0], rows(layer, y.detach())))

    return hook


def _add(evidence: Evidence, name: str, statistics: Sequence[Statistic], sight: Sight) -> None:
    sums = evidence.get(name)
    if not isinstance(sums, Sums):
        sums = evidence[name] = Sums(sums or {})
    for statistic in statistics:
        sums.see(statistic, sight)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _remove(hooks: Iterable[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
