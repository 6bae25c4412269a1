"""Dense: train, prune nothing. The reference (row S) that everything else is compared with.

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, the standard model.
Differs: nothing known; `as_long`, which gives the reference the training of what it is compared with, is not in it.
"""

from collections.abc import Iterator

from sapwood.errors import InputError
from sapwood.methods.parts.phases import fit
from sapwood.training.declared import declares
from sapwood.training.loop import Moment
from sapwood.training.run import Run


@declares()
def dense(
    run: Run, *, target: float = 0.98, stop: str = "spikes", epochs: int = 500, as_long: bool = False
) -> Iterator[Moment]:
    """Plain training until the training accuracy reaches `target` or the stopping rule ends it.

    `as_long`: for exactly as many epochs as the trial it is to be like, whatever target, rule and `epochs` say.
    """
    if as_long:
        epochs, stop = _epochs_of_like(run), "epochs"
    yield from fit(run, epochs=epochs, target=target, stop=stop)


def _epochs_of_like(run: Run) -> int:
    if "like" not in run.given:
        raise InputError("as_long copies the length of another trial; name it with after(like=...), or give epochs")
    return round(run.given["like"].epochs)
