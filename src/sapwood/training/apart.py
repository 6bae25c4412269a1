"""Apart: a run's network taken apart, for one training sample and for several, each once.

Sites, costs and rebuilding ask for the same, and each time it would take as long as exporting the network.
"""

from torch import nn

from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.training.size import shapes_of
from sapwood.training.task import Task


class Apart:
    """The anatomies of a network, made when first asked for, and anew where its parameters have other shapes."""

    def __init__(self, model: nn.Module, task: Task, *, first: bool = False) -> None:
        self._model, self._task, self._first = model, task, first
        self._shapes, self._made = shapes_of(model), dict[str, Anatomy]()

    @property
    def first(self) -> bool:
        """Whether it is the network that the run began with, and has the shapes it had then."""
        return self._first and shapes_of(self._model) == self._shapes

    @property
    def one(self) -> Anatomy:
        """For one sample, by which costs are counted."""
        return self._of("example")

    @property
    def several(self) -> Anatomy:
        """For the samples by which sites are found."""
        return self._of("examples")

    def _of(self, name: str) -> Anatomy:
        if (shapes := shapes_of(self._model)) != self._shapes:
            self._shapes, self._first = shapes, False
            self._made.clear()
        if name not in self._made:
            self._made[name] = Anatomy(self._model, getattr(self._task, name))
        return self._made[name]
