"""Pruned text: a smaller timm model as the text of shapes from which timm itself builds it again, and its weights."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from sapwood.called import checked
from sapwood.errors import InputError, first_line
from sapwood.export.agreement import TOLERANCE, disagreement
from sapwood.export.originals import refuse_smaller
from sapwood.measure.example import Example
from sapwood.shrinking.tracing.computed import sharing
from sapwood.shrinking.tracing.duplicate import duplicate

SHAPES, WEIGHTS = "shapes.txt", "model.safetensors"
BETWEEN = "***"  # as in timm's own files


@checked(of="the network as it was before pruning")
def to_timm(
    model: nn.Module, example: Example, folder: Path | str, *, of: nn.Module, tolerance: float = TOLERANCE
) -> float:
    """Write a model that was shrunk from timm's `of` to a folder from which timm builds it in any process.

    `shapes.txt` is timm's own text of shapes, `model.safetensors` the state_dict. There,

        model = timm.models.adapt_model_from_string(timm.create_model(NAME), Path(folder, "shapes.txt").read_text())
        model.load_state_dict(safetensors.torch.load_file(Path(folder, "model.safetensors")))

    with the name and the options that `of` was made with. This is done here, too, and compared: returned is the largest
    difference over the largest output, on the example and on random inputs; above `tolerance` it is an InputError. The
    folder is there only when all went well.

    InputError: timm's text does not say enough. It has shapes of plain and depthwise convolutions, batch norms and the
    classifier; models with grouped convolutions, layer norms or attention are not built from it.
    """
    refuse_smaller(of)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give the name of a new folder, or remove it first")
    text, weights = shapes_text(model), _plain(model.state_dict())
    again = _rebuilt(of, text, weights)
    what = "the model that timm builds"
    found = disagreement(model, again, example, any_batch=False, tolerance=tolerance, what=what)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        written = Path(beside, "model")
        written.mkdir()
        (written / SHAPES).write_text(text, "utf-8")
        (written / WEIGHTS).write_bytes(save(weights))
        written.rename(folder)
    return found


def shapes_text(model: nn.Module) -> str:
    """The names of the state_dict and their shapes, as timm writes them: "conv1.weight:[8, 3, 3, 3]***bn1.bias:[8]"."""
    return BETWEEN.join(f"{name}:{list(tensor.shape)}" for name, tensor in model.state_dict().items())


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _rebuilt(of: nn.Module, text: str, weights: dict[str, Tensor]) -> nn.Module:
    """What stock timm makes of the original, the text and the weights."""
    name = type(of).__name__
    try:
        models: Any = import_module("timm.models")
    except ModuleNotFoundError as missing:
        raise InputError(
            f"to_timm needs {missing.name}, by which its text is tried; run: pip install timm"
        ) from missing
    try:
        with torch.random.fork_rng(devices=()):
            again: nn.Module = models.adapt_model_from_string(duplicate(of, sharing(of)), text)
    except Exception as error:
        kind = type(error).__name__
        said = first_line(error).removeprefix(f"{kind}: ")
        raise InputError(f"timm does not build this {name} from shapes ({kind}: {said}); {INSTEAD}") from error
    built = {key: tuple(tensor.shape) for key, tensor in again.state_dict().items()}
    for key in [*weights, *built]:
        mine = tuple(weights[key].shape) if key in weights else "not there"
        if built.get(key) != mine:
            raise InputError(
                f"timm would build {key!r} of this {name} with the shape {built.get(key, 'not there')}, and it is "
                f"{mine}: its text has no groups, norms of layers or heads; {INSTEAD}"
            )
    again.load_state_dict(weights)
    return again.eval().to(next(of.parameters()).device)


INSTEAD = "use export.save and export.load, or name such layers in keep= of prune"
