"""Trunk: the blocks of a network that run one after another, and the layers in them that can be pruned."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from sapwood.errors import InputError, unknown
from sapwood.scoring.layers import Weight, every_weight, weights

HINT = "name them with blocks=, a list of modules (as in 'model.layers') or their names one by one"


@dataclass(frozen=True)
class Trunk:
    """The blocks in the order in which they run, the weights to prune in each, and the layers beside them."""

    names: tuple[str, ...]
    inside: Mapping[str, tuple[Weight, ...]]
    outside: tuple[str, ...]
    named: bool  # the layers were named, so all of them must be pruned

    @property
    def pruned(self) -> list[str]:
        """The blocks that hold weights to prune."""
        return [name for name in self.names if self.inside[name]]

    @property
    def sizes(self) -> dict[str, int]:
        """How many weights each block holds."""
        return {name: sum(each.tensor.numel() for each in self.inside[name]) for name in self.pruned}


def trunk_of(model: nn.Module, blocks: str | Sequence[str] | None, only: Iterable[str] | None) -> Trunk:
    """The trunk of a model: by default the list of modules (ModuleList or Sequential) that holds the most weights.

    Layers in it are linear and convolutional ones whose inputs can be seen: without groups, and not the projection
    that nn.MultiheadAttention applies by itself; or those named in `only`.
    """
    every = every_weight(model)
    unseen = {f"{name}.out_proj" for name, each in model.named_modules() if isinstance(each, nn.MultiheadAttention)}
    found = weights(model, only)
    if only is None:
        found = [each for each in found if each.name not in unseen and _in_one_group(each)]
    names = _blocks_of(model, blocks, found)
    inside = {name: tuple(each for each in found if _is_in(each.name, name)) for name in names}
    held = [each for each_of in inside.values() for each in each_of]
    if not held:
        raise InputError(f"no layer to prune is in a block of {type(model).__name__}; {HINT}")
    if only is not None and (left := [each.name for each in found if each not in held]):
        raise InputError(f"layer {left[0]!r} of only= is in no block, from {names[0]!r} to {names[-1]!r}; {HINT}")
    for each in held:
        if len(each.layers) != 1 or "weight" not in each.layers[0]._parameters:
            raise InputError(
                f"the weight of {each.name!r} is shared, or computed from others, so it cannot be pruned here; leave "
                "it out, naming the others with only=[...]"
            )
    chosen = {each.name for each in held}
    return Trunk(tuple(names), inside, tuple(each.name for each in every if each.name not in chosen), only is not None)


def _blocks_of(model: nn.Module, blocks: str | Sequence[str] | None, found: Sequence[Weight]) -> list[str]:
    lists = {
        name: [f"{name}.{child}".lstrip(".") for child, _ in module.named_children()]
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module)
    }
    if blocks is None:
        held = {name: sum(each.tensor.numel() for each in found if _is_in(each.name, name)) for name in lists}
        if not any(held.values()):
            raise InputError(f"{type(model).__name__} has no list of blocks with layers to prune; {HINT}")
        return lists[max(lists, key=lambda name: (held[name], len(lists[name])))]
    if isinstance(blocks, str):
        if blocks not in lists:
            raise unknown("list of blocks", blocks, lists)
        return lists[blocks]
    known = dict(model.named_modules())
    for name in blocks:
        if name not in known:
            raise unknown("block", name, known)
    if not blocks:
        raise InputError(f"blocks is empty; {HINT}")
    return list(blocks)


def _is_in(layer: str, block: str) -> bool:
    return layer == block or layer.startswith(f"{block}.") or not block


def _in_one_group(weight: Weight) -> bool:
    return all(getattr(layer, "groups", 1) == 1 for layer in weight.layers)
