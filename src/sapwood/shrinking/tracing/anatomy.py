"""Anatomy: a network taken apart once: its graph, the ids of its units, its tensors, its sites, what it gives.

Whatever asks about units needs these, and each takes long to make. So it is made when first asked for, and kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from sapwood import processes
from sapwood.errors import InputError
from sapwood.measure.example import Example
from sapwood.shrinking.rules.anew import Anew
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.tracing.bare import Copies
from sapwood.shrinking.tracing.graph import Graph, Traced, named_tensors, traced
from sapwood.shrinking.tracing.training import Trained, with_training

T = TypeVar("T")


class Anatomy:
    """A network and an example of its input, with everything that is found out about them.

        anatomy = Anatomy(model, example)
        cost = macs_of(anatomy)
        small = shrink(anatomy, fewest(scores, cost, limit)).model

    It is about the network as it was when first asked: train it on as you like, but make a new anatomy of a network
    whose tensors have other shapes or whose code runs other operators. Two anatomies know nothing of each other.
    """

    def __init__(self, model: nn.Module, example: Example) -> None:
        processes.refuse_sharded(model)
        self.model, self.example = model, example
        self._kept = dict[object, Any]()

    @property
    def given(self) -> tuple[nn.Module, Example]:
        """The model and the example."""
        return self.model, self.example

    def once(self, what: object, make: Callable[[], T]) -> T:
        """What was made under this name, `make()` at the first time. What is made must not change any more."""
        if what not in self._kept:
            self._kept[what] = make()
        return cast(T, self._kept[what])

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers under all of their names."""
        return dict(named_tensors(self.model))

    @cached_property
    def graph(self) -> Graph:
        """The exported graph, with what training mode runs where that is something else."""
        return self._exported[0]

    @cached_property
    def copies(self) -> Copies:
        """Copies of the model to run."""
        return Copies(self.model)

    @property
    def plain(self) -> bool:
        """Whether it is known by now that the model runs no graphs of its own, as of a condition."""
        return "_exported" in vars(self) and self.graph.plain

    @property
    def trained(self) -> Trained | None:
        """A run in training mode, if that runs something else and the model can."""
        return self._exported[1]

    @cached_property
    def _exported(self) -> tuple[Graph, Trained | None]:
        return with_training(self.model, self.example, self.copies)

    @cached_property
    def flow(self) -> Traced:
        """What evaluation runs, on ids of which those of one head are not tied: every number has its own."""
        if self.graph.training is None and not self.graph.refused:
            return self._runs(lossy=False)[0]
        return traced(replace(self.graph, training=None), Ties(heads=True))

    def runs(self, *, lossy: bool = False) -> tuple[Traced, ...]:
        """The graph run on ids: those of a head tied, then once more for heads as units if there are any."""
        first, *others = self._runs(lossy)
        return tuple(others) or (first,)

    def _runs(self, lossy: bool) -> tuple[Traced, ...]:
        return self.once(("runs", lossy), lambda: _runs(self.graph, lossy))


def anatomy_of(model: nn.Module | Anatomy, example: Example | None) -> Anatomy:
    """The anatomy itself, or a new one of a model for an example; InputError where none or another one is given."""
    if not isinstance(model, Anatomy):
        if example is None:
            raise InputError(
                f"{type(model).__name__} cannot be exported for this example: it is None; give one of the model's "
                "inputs or, in the model's place, an Anatomy of both"
            )
        return Anatomy(model, example)
    if example is not None and example is not model.example:
        raise InputError("an Anatomy was given with another example than its own; leave the example out")
    return model


def _runs(graph: Graph, lossy: bool) -> tuple[Traced, ...]:
    """The graph run on ids, from the start again where a rule fails on the way."""
    while True:
        try:
            return tuple(_run(graph, lossy))
        except Anew:
            continue


def _run(graph: Graph, lossy: bool) -> Iterator[Traced]:
    """A first run looks for heads. Where it may have found some, units lie inside of heads, then heads are units."""
    first = traced(graph, Ties(heads=True, lossy=lossy))
    yield first
    if not first.ties.unsure:
        return
    known = first.ties.known()
    yield traced(graph, Ties(known, after=first.ties, lossy=lossy))
    if first.ties.heads:
        yield traced(graph, Ties(first.ties.known_with_heads(), after=first.ties, lossy=lossy))
