"""Epoch: what was measured in one epoch, and of which network."""

from collections.abc import Callable, Iterator, Mapping


class EpochMetrics(Mapping[str, float]):
    """The metrics of an epoch: those of training are known, those of validation are evaluated when they are read.

    valid_...: of the network as it is then, so of the one that a method has left if it is read after the method acted;
    evaluated once more only if the network has changed since. Once the next step is asked for they stay as they are.
    """

    def __init__(
        self, train: Mapping[str, float], evaluate: Callable[[], Mapping[str, float]], standing: Callable[[], bytes]
    ) -> None:
        """evaluate: measures the validation split now; standing: a digest of all that it depends on."""
        self._train = {f"train_{name}": value for name, value in train.items()}
        self._evaluate: Callable[[], Mapping[str, float]] | None = evaluate
        self._standing = standing
        self._of: bytes | None = None  # what stood when `_valid` was evaluated
        self._valid: dict[str, float] = {}

    def settle(self) -> None:
        """From now on the numbers are those of the network as it is at this moment."""
        self._measure_if_changed()
        self._evaluate, self._standing = None, bytes

    def __getitem__(self, name: str) -> float:
        return self._train[name] if name in self._train else self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._train, *self._now()))

    def __len__(self) -> int:
        return len(self._train) + len(self._now())

    def __repr__(self) -> str:
        return repr(dict(self))

    def _now(self) -> dict[str, float]:
        if self._measure_if_changed():
            self._of = self._standing()
        return self._valid

    def _measure_if_changed(self) -> bool:
        """Evaluate unless what was evaluated still stands; whether that was done."""
        # A digest takes as long as a step of a small network: none is made before the first evaluation.
        if self._evaluate is None or (self._of is not None and self._of == self._standing()):
            return False
        self._valid = {f"valid_{name}": value for name, value in self._evaluate().items()}
        return True
