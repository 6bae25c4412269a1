"""Dense: train, prune nothing. The reference (row S) that everything else is compared with.

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, the standard model.
Differs: nothing known.
"""

from collections.abc import Iterator

from sapwood.phases import fit
from sapwood.run import Run
from sapwood.train import Moment


def dense(run: Run, *, target: float = 0.98, stop: str = "spikes", epochs: int = 500) -> Iterator[Moment]:
    """Plain training until the training accuracy reaches `target` or the stopping rule ends it."""
    yield from fit(run, epochs=epochs, target=target, stop=stop)
