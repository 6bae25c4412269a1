"""Fitting: whether the numbers on torch's modules, as a file changes them, are those of the tensors it gives them.

A Linear runs whatever its in_features says, so nothing else would notice.
"""

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sapwood.errors import InputError
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.narrow import NarrowAttention


def narrow_(model: nn.Module, name: str) -> None:
    """Give torch's attention of this name sapwood's form; InputError if it is none."""
    module = dict(model.named_modules(remove_duplicate=False)).get(name)
    if type(module) is not nn.MultiheadAttention:
        kind = "not there" if module is None else f"a {type(module).__name__}"
        raise InputError(f"{name!r} is {kind}, and only torch's multi-head attention has a narrow form")
    module.__class__ = NarrowAttention


def refuse_unfitting(model: nn.Module, changed: Collection[str]) -> None:
    """ValueError where one of the changed modules says other sizes than its tensors have.

    Of attentions all are asked, since their form changes, too.
    """
    for name, module in model.named_modules(remove_duplicate=False):
        try:
            wrong = _wrong(module, name in changed)
        except TypeError:  # a class of the user's own, made of torch's, may hold anything
            wrong = "numbers of another kind than sizes"
        if wrong:
            raise ValueError(f"{name!r} is said to have {wrong}, and its tensors have other sizes")


def _wrong(module: nn.Module, changed: bool) -> str:
    if not isinstance(module, nn.MultiheadAttention):
        return _sizes(module) if changed else ""
    return (
        "" if _heads_fit(module) else f"{module.num_heads} heads of {module.head_dim} in a stream of {module.embed_dim}"
    )


def _sizes(module: Any) -> str:
    """What a module says wrongly of its tensors, in words; "" where it is right or nothing is known of its kind."""
    said = next((what(module) for kind, what in SAID.items() if isinstance(module, kind)), {})
    for name, shape in said.items():
        if (found := _shape(module, name)) is not None and found != tuple(shape):
            return f"a {name} of shape {tuple(shape)}"
    return ""


def _shape(module: nn.Module, name: str) -> tuple[int, ...] | None:
    """The shape of a module's tensor; None where it has none, or has one that its forward pass computes anew.

    Parametrizations compute theirs now, in evaluation mode: in training, spectral norms would change their estimates.
    """
    tensor = module._parameters.get(name, module._buffers.get(name))
    if tensor is None and is_parametrized(module, name):
        with untouched(module):
            tensor = getattr(module, name)
    return None if tensor is None else tuple(tensor.shape)


def _of_units(units: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("bias", "running_mean", "running_var"), (units,))


def _share(channels: int, groups: int) -> int:
    return channels // groups if groups else 0


SAID: dict[Any, Callable[[Any], dict[str, tuple[int, ...]]]] = {  # kind -> the shapes of its tensors, by its numbers
    nn.Linear: lambda m: {"weight": (m.out_features, m.in_features), **_of_units(m.out_features)},
    (nn.Conv1d, nn.Conv2d, nn.Conv3d): lambda m: {
        "weight": (m.out_channels, _share(m.in_channels, m.groups), *m.kernel_size),
        **_of_units(m.out_channels),
    },
    (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d): lambda m: {
        "weight": (m.in_channels, _share(m.out_channels, m.groups), *m.kernel_size),
        **_of_units(m.out_channels),
    },
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d): lambda m: {
        "weight": (m.num_features,),
        **_of_units(m.num_features),
    },
    nn.GroupNorm: lambda m: dict.fromkeys(
        ("weight", "bias"), (m.num_channels if m.num_groups and m.num_channels % m.num_groups == 0 else 0,)
    ),
    (nn.LayerNorm, nn.RMSNorm): lambda m: dict.fromkeys(("weight", "bias"), tuple(m.normalized_shape)),
    nn.Embedding: lambda m: {"weight": (m.num_embeddings, m.embedding_dim)},
}


def _heads_fit(module: nn.MultiheadAttention) -> bool:
    """Narrow attentions are narrower than the stream, whole ones are not; and heads share out what there is."""
    rows = module.num_heads * module.head_dim
    if module.num_heads < 1 or any(tuple(each.shape) != shape for each, shape in _of_heads(module, rows)):
        return False
    if module.in_proj_weight is None:
        return (module.kdim, module.vdim) == (module.k_proj_weight.shape[1], module.v_proj_weight.shape[1])
    return (rows != module.embed_dim) is isinstance(module, NarrowAttention)


def _of_heads(module: nn.MultiheadAttention, rows: int) -> list[tuple[Tensor, tuple[int, ...]]]:
    """The tensors of an attention that has so many rows of queries, and their shapes."""
    separate = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    expected = [
        *((each, (rows, each.shape[-1])) for each in separate if each is not None),
        *((each, (1, 1, rows)) for each in (module.bias_k, module.bias_v) if each is not None),
        (module.out_proj.weight, (module.out_proj.weight.shape[0], rows)),
    ]
    if module.in_proj_weight is not None:
        expected.append((module.in_proj_weight, (3 * rows, module.in_proj_weight.shape[-1])))
    if module.in_proj_bias is not None:
        expected.append((module.in_proj_bias, (3 * rows,)))
    return expected
