"""Blocks: through a network from its inputs on, each layer solved on what the pruned ones before it give.

A block is a module that reads what the block before it gave, as the layers of an nn.Sequential and the blocks of a
transformer do. Each runs once on the network's samples to be observed and once, pruned, to give the next one its
inputs: the cost is that of a few passes of the network, however many layers there are.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.called import checked
from sapwood.currency import Masks
from sapwood.errors import InputError, unknown
from sapwood.reconstruction.flow import Flow as _Flow
from sapwood.reconstruction.flow import leading
from sapwood.scoring import batches as batching
from sapwood.scoring.evidence import Statistic
from sapwood.scoring.layers import Weight, weights
from sapwood.scoring.layout import matrix, shaped
from sapwood.scoring.modes import eagerly, evaluating

Solve = Callable[[str, Tensor, MutableMapping[str, Tensor]], tuple[Tensor, Tensor]]  # (layer, w_OI, sums) -> (w, keep)


@checked(batches="a list of batches, or a DataLoader")
@torch.no_grad()
def layerwise(
    model: nn.Module,
    batches: Iterable[Any],
    solve: Solve,
    *statistics: Statistic,
    blocks: Sequence[str] | None = None,
    only: Iterable[str] | None = None,
) -> Masks:
    """Solves the network's layers in the order in which they run, in evaluation mode, and writes their weights.

    `solve(name, w_OI, sums)` is called once for each layer, with the sums of `statistics` over all batches: of what
    the blocks before it, already pruned, give; `wanted_NO` is what the original network gives. It returns the new w_OI
    and keep. Layers of one block are all observed before any of them is changed.
    `blocks` names the modules that run one after another; without it, the finest that hold all layers are found.
    Batches are as for `observe`; all of them are in memory, as what one block gives.
    Returns the masks, by parameter: keep, if it is shaped like w_OI or its columns; else True where w_OI is not 0.
    InputError: a layer is in no block, runs twice, or shares its weight; a block does not read what the last one gave.

    *Paper:* the order of SparseGPT (arXiv 2301.00774) and of He, Zhang, Sun 2017 (arXiv 1707.06168).
    """
    found = weights(model, only)
    _refuse_unwritable(found)
    with evaluating(model), eagerly():
        given = [arguments for _, arguments in batching.each(model, batches, "layerwise()")]
        names = _chain(model, given[0], found) if blocks is None else list(blocks)
        inside = _layers_of(model, names, found)
        flow = _Flow(model, names, given, any(each.wants for each in statistics))
        return _solved(model, names, inside, flow, solve, statistics)


def _solved(
    model: nn.Module,
    names: Sequence[str],
    inside: Mapping[str, list[Weight]],
    flow: _Flow,
    solve: Solve,
    statistics: Sequence[Statistic],
) -> Masks:
    masks: Masks = {}
    for number, name in enumerate(names):
        if inside[name]:
            within = {each.name[len(name) :].lstrip("."): each for each in inside[name]}  # by its name in the block
            seen = flow.observed(number, statistics, list(within))
            for short, each in within.items():
                masks[each.parameter] = _written(each, solve, seen[short])
        flow.forward(number)
    return masks


def _written(weight: Weight, solve: Solve, sums: MutableMapping[str, Tensor]) -> Tensor:
    """The layer's weight as `solve` wants it; its mask."""
    layer, before = weight.layers[0], weight.tensor.detach()
    w_OI = matrix(layer, before)
    found, keep = solve(weight.name, w_OI.clone(), sums)
    if found.shape != w_OI.shape:
        raise InputError(
            f"the solver gave {weight.name!r} weights of shape {tuple(found.shape)}, not {tuple(w_OI.shape)}"
        )
    kept_OI = keep.expand_as(w_OI) if keep.shape in (w_OI.shape, w_OI.shape[1:]) else found != 0
    before.copy_(shaped(layer, found, before))
    return shaped(layer, kept_OI, before).clone()


def _chain(model: nn.Module, arguments: batching.Arguments, found: Sequence[Weight]) -> list[str]:
    """The finest modules that run one after another and hold all the layers, seen in one pass."""
    ways, began = dict[int, tuple[str, ...]](), dict[str, tuple[str, ...]]()
    alive = list[Tensor]()  # so that no two tensors have one id
    held = {name: sum(_is_in(each.name, name) for each in found) for name, _ in model.named_modules()}

    def worth(way: tuple[str, ...]) -> tuple[int, int]:
        return sum(held[name] for name in way), len(way)

    def before(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor):
                alive.append(args[0])
                began[name] = ways.get(id(args[0]), ())

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, y: Any) -> None:
            if name in began and isinstance(leading(y), Tensor):
                alive.append(leading(y))
                way, other = (*began.pop(name), name), ways.get(id(leading(y)), ())
                ways[id(leading(y))] = max(way, other, key=worth)

        return hook

    named = [(name, module) for name, module in model.named_modules() if name]
    hooks = [module.register_forward_pre_hook(before(name)) for name, module in named]
    hooks += [module.register_forward_hook(after(name)) for name, module in named]
    try:
        arguments.call(model)
    finally:
        for hook in hooks:
            hook.remove()
    best = max(ways.values(), key=worth, default=())
    return list(best)


def _layers_of(model: nn.Module, names: Sequence[str], found: Sequence[Weight]) -> dict[str, list[Weight]]:
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            raise unknown("block", name, known)
    inside = {name: [each for each in found if _is_in(each.name, name)] for name in names}
    holders = [name for name in names if inside[name]]
    if again := [name for name in holders if holders.count(name) > 1]:
        raise InputError(f"block {again[0]!r} runs twice, so its layers cannot be solved; leave them out by only=[...]")
    left = [each.name for each in found if not any(_is_in(each.name, name) for name in names)]
    if left or (len(holders) == 1 < len(found)):
        which = f"layer {left[0]!r} is in none" if left else f"all layers are in one, {holders[0]!r}"
        raise InputError(
            f"no blocks of {type(model).__name__} were found that run one after another: {which}; name them with "
            "blocks=[...], or leave layers out with only=[...]"
        )
    return inside


def _is_in(layer: str, block: str) -> bool:
    return layer == block or layer.startswith(f"{block}.") or not block


def _refuse_unwritable(found: Sequence[Weight]) -> None:
    for each in found:
        if len(each.layers) != 1 or "weight" not in each.layers[0]._parameters:
            raise InputError(
                f"the weight of {each.name!r} is shared, or computed from others, so it cannot be solved; leave it "
                "out, naming the others with only=[...]"
            )
