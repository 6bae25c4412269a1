"""Resize: which attributes of a module follow from the new shapes of its tensors."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from sapwood.errors import InputError
from sapwood.shrinking.cutting.narrow import narrowed_
from sapwood.shrinking.cutting.resize_recurrent import RESIZE_RECURRENT
from sapwood.shrinking.tracing.computed import owner, recompute_


def knows(module: nn.Module) -> bool:
    """Whether the attributes of this module follow from its tensors."""
    return any(isinstance(module, kind) for kind in RESIZE) and next(module.parameters(), None) is not None


def resize_(model: nn.Module, changed: Iterable[str]) -> None:
    """Make the attributes of every module agree with its tensors, some of which have changed shape."""
    for name in dict.fromkeys(owner(tensor) for tensor in changed):
        module = model.get_submodule(name)
        recompute_(module)
        rule = next((rule for kind, rule in RESIZE.items() if isinstance(module, kind)), None)
        if rule is not None:
            rule(module)
        elif type(module).__module__.startswith("torch."):
            raise InputError(
                f"{name!r} is a {type(module).__name__}, whose attributes sapwood cannot resize; "
                "a rule goes into src/sapwood/shrinking/cutting/resize.py"
            )


def _linear(module: Any) -> None:
    module.out_features, module.in_features = module.weight.shape


def _bilinear(module: Any) -> None:
    module.out_features, module.in1_features, module.in2_features = module.weight.shape


def _conv(module: Any) -> None:
    rows, columns = module.weight.shape[:2]
    if module.groups == module.in_channels > 1:  # every channel has filters of its own, and takes them along
        module.groups = rows * module.groups // module.out_channels
    module.out_channels, module.in_channels = rows, columns * module.groups


def _transposed(module: Any) -> None:
    rows, columns = module.weight.shape[:2]
    if module.groups == module.in_channels > 1:
        module.groups = rows
    module.in_channels, module.out_channels = rows, columns * module.groups


def _norm(module: Any) -> None:
    held = next(t for t in (module.weight, module.running_mean) if t is not None)
    module.num_features = len(held)


def _group_norm(module: Any) -> None:
    size = module.num_channels // module.num_groups
    module.num_channels = len(module.weight)
    module.num_groups = module.num_channels // size


def _over_last(module: Any) -> None:
    module.normalized_shape = tuple(module.weight.shape)


def _embedding(module: Any) -> None:
    module.num_embeddings, module.embedding_dim = module.weight.shape


def _prelu(module: Any) -> None:
    module.num_parameters = len(module.weight)


RESIZE: dict[type | tuple[type, ...], Callable[[Any], None]] = {
    nn.Linear: _linear,
    nn.Bilinear: _bilinear,
    (nn.Conv1d, nn.Conv2d, nn.Conv3d): _conv,
    (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d): _transposed,
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm): _norm,
    (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d): _norm,
    nn.GroupNorm: _group_norm,
    (nn.LayerNorm, nn.RMSNorm): _over_last,
    (nn.Embedding, nn.EmbeddingBag): _embedding,
    nn.PReLU: _prelu,
    nn.MultiheadAttention: narrowed_,
    (nn.ParameterList, nn.ParameterDict): lambda module: None,
    **RESIZE_RECURRENT,
}
