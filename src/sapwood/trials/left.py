"""Left: the network that a finished trial left in weights.safetensors, written there and built again.

As long as it has the shapes of its task's network the file is a checkpoint, {"model": state_dict, "masks": {..}}. Where
its method rebuilt it, the file is what `export.save` writes: it tells how the task's network is made into it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from sapwood import export
from sapwood.errors import InputError
from sapwood.training import checkpoint
from sapwood.training.run import Run
from sapwood.trials.folder import WEIGHTS, tells_its_network, weights_of


def leave(run: Run, folder: Path) -> None:
    """Write the run's network to the trial's folder."""
    path = folder / WEIGHTS
    if run.rebuilt:
        with suppress(InputError):  # layers of other kinds, as factors are, no file can build: their weights stay
            return export.save(run.model, path, of=run.task.model(), masks=run.masks)
    return checkpoint.write(path, {"model": dict(run.model.state_dict()), "masks": dict(run.masks)})


def built(folder: Path, make: Callable[[], nn.Module], task: str) -> nn.Module:
    """The network that the trial in `folder` left; `make` gives that of its task. Masks are not applied."""
    if tells_its_network(folder):
        return export.load(folder / WEIGHTS, make)
    return filled(make(), weights_of(folder)["model"], str(folder), task)


def filled(model: nn.Module, weights: Mapping[str, Tensor], origin: str, task: str) -> nn.Module:
    """The task's network with these weights; InputError if they are another's."""
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise InputError(
            f"{origin} holds another network than task {task!r} begins with, so its method has rebuilt it "
            f"({str(error).strip().splitlines()[-1].strip()}); such a network is shrunk and exported in Python"
        ) from error
    return model
