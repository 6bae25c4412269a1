"""Same: whether a live model is still the pruned network, or somebody built it again from a configuration."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.export.network import tensors_of
from sapwood.export.pruned import Pruned
from sapwood.shrinking.tracing.graph import named_tensors

WRAPPERS = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before every name
MOST = 3  # layers that an error names
WHAT = (
    "something built it again, as trainers do that make their model from its configuration; hand the pruned model "
    "itself over, or put it where the trainer keeps its model, before training begins"
)


@checked(pruned="what prune returned, its model or a saved file")
def check_same(model: nn.Module, pruned: Pruned | nn.Module | Path | str, *, weights: bool = True) -> None:
    """Raise InputError unless `model` is the network `pruned`: its names, its shapes and, with `weights`, its numbers.

    For the first line of a training function, or of a callback. `pruned` is what `prune` returned, the pruned model, or
    the file that `save` wrote. A model inside DistributedDataParallel or torch.compile counts as the model itself.
    After the first step numbers differ: say `weights=False`.

    The error says which layers have other sizes, or that the sizes are right and the numbers are not.

    >>> net, x = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2)), torch.rand(1, 4)
    >>> pruned = prune(net, x, macs=0.5, timing=0)
    >>> export.check_same(pruned.model, pruned)
    >>> export.check_same(net, pruned)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    sapwood.errors.InputError: the model is not the pruned network: '0.weight' has the shape (64, 4), was (32, 4); ...
    """
    mine, wanted = _unwrapped(dict(named_tensors(model))), _unwrapped(_tensors(pruned))
    if apart := [*_strangers(mine, wanted), *_sizes(mine, wanted)]:
        more = f"; so it is at {len(apart) - MOST} more places" if len(apart) > MOST else ""
        raise InputError(f"the model is not the pruned network: {'; '.join(apart[:MOST])}{more}; {WHAT}")
    if weights and (other := [name for name, value in mine.items() if not _equal(value, wanted[name])]):
        raise InputError(
            f"the model has the shapes of the pruned network and other numbers in {len(other)} of {len(mine)} tensors, "
            f"{other[0]!r} first; its weights were not loaded (strict=False drops what does not fit) or were replaced; "
            "weights=False asks about shapes only, once training has begun"
        )


def _tensors(pruned: Pruned | nn.Module | Path | str) -> dict[str, Tensor]:
    if isinstance(pruned, (str, Path)):
        return tensors_of(pruned)[0]
    model = pruned.model if isinstance(pruned, Pruned) else pruned
    if not isinstance(model, nn.Module):
        raise InputError(f"pruned is a {type(pruned).__name__}; give what prune returned, its model or a saved file")
    return dict(named_tensors(model))


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that they have in the model itself."""
    for prefix in WRAPPERS * 2:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _strangers(mine: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    missing = [f"{name!r} is missing" for name in wanted if name not in mine]
    return missing + [f"{name!r} is new" for name in mine if name not in wanted]


def _sizes(mine: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name!r} has the shape {tuple(tensor.shape)}, was {tuple(wanted[name].shape)}"
        for name, tensor in mine.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]


def _equal(mine: Tensor, wanted: Tensor) -> bool:
    """Whether all numbers agree, in the type and on the device that the model was moved to; NaN agrees with NaN."""
    one, other = mine.detach(), wanted.detach().to(mine)
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
