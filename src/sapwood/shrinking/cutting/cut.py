"""Cut: which positions of which tensors stay, and slicing a network and its optimiser by them."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from sapwood.errors import InputError
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.resize import resize_
from sapwood.shrinking.tracing.computed import norms_of, owner, rescale_
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.site import Site, Slot, Use

Keep = Mapping[str, Tensor]  # {site name: bool [units]}
Positions = dict[str, dict[int, Tensor]]  # {tensor name: {dimension: bool [size], True stays}}
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def positions(sites: Iterable[Site], keep: Keep) -> Positions:
    """What stays along every dimension that loses something: what all sites on it keep."""
    found: Positions = {}
    for site in sites:
        if site.name in keep and not bool(keep[site.name].all()):
            for slot in site.slots:
                here = ~leaving(slot, keep[site.name])
                dims = found.setdefault(slot.tensor, {})
                dims[slot.dim] = dims.get(slot.dim, torch.ones_like(here)) & here
    return found


def leaving(slot: Slot | Use, keep_U: Tensor) -> Tensor:
    """The positions of a slot, or of a view's dimension, whose units go."""
    return (slot.unit_of >= 0) & ~keep_U[slot.unit_of.clamp(min=0)]


@torch.no_grad()
def cut_(model: nn.Module, staying: Positions, optimizer: Optimizer | None = None) -> None:
    """Slice a network's parameters and buffers, and what its optimiser remembers of them, in place."""
    tensors, norms = dict(named_tensors(model)), norms_of(model, staying)
    for name, dims in staying.items():
        tensor = tensors[name]
        if optimizer is not None and isinstance(tensor, nn.Parameter):
            _cut_memory_(optimizer, name, tensor, dims)
        tensor.data = sliced(tensor.data, dims)
    rescale_(model, norms, staying)
    regroup_(model, staying)
    aliases = {id(tensors[name]) for name in staying}
    training = any(module.training for module in model.modules())
    with untouched(model) if training else nullcontext():  # there a spectral norm changes whenever its weight is read
        resize_(model, [name for name, tensor in tensors.items() if id(tensor) in aliases])


def regroup_(model: nn.Module, staying: Positions) -> None:
    """Tell convolutions that have lost whole groups how many are left, which their weights do not say."""
    left = {owner(name): dims[0] for name, dims in staying.items() if 0 in dims and not name.endswith(".bias")}
    for name, rows in left.items():
        module = model.get_submodule(name)
        if isinstance(module, _ConvNd) and 1 < module.groups < module.in_channels:
            module.groups = int(rows.view(module.groups, -1).any(1).sum())


def sliced(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """What stays of a tensor, {dimension: bool [size]}; channels that lie last in memory do so afterwards."""
    if tensor.is_meta or (tensor.dim() > 1 and not any(tensor.stride())):  # no numbers, or one number everywhere
        left = [int(dims[d].sum()) if d in dims else n for d, n in enumerate(tensor.shape)]  # torch is slow here
        return tensor.new_empty(left) if tensor.is_meta else tensor[(0,) * tensor.dim()].expand(left)
    layout = LAST.get(tensor.dim(), torch.contiguous_format)
    last = tensor.is_contiguous(memory_format=layout) and not tensor.is_contiguous()
    for dim, keep in sorted(dims.items()):  # rows first: they lie in one piece, and less is left for the columns
        tensor = tensor.index_select(dim, keep.nonzero().flatten().to(tensor.device))
    return tensor.contiguous(memory_format=layout) if last else tensor


def _cut_memory_(optimizer: Optimizer, name: str, parameter: nn.Parameter, dims: Mapping[int, Tensor]) -> None:
    state = optimizer.state.get(parameter, {})
    for key, value in state.items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            state[key] = sliced(value, dims)
        elif isinstance(value, Tensor) and value.numel() > 1:
            raise InputError(
                f"{type(optimizer).__name__} remembers {key!r} of shape {tuple(value.shape)} for {name!r} of shape "
                f"{tuple(parameter.shape)}, which cannot be sliced; shrink without the optimiser and make a new one"
            )
