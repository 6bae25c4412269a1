"""Peer: Torch-Pruning, asked to remove half of the channels, and what came out held against gating.

The peer proves nothing, so its result is compared here: in float64, with the original network in which whatever it cut
out of the inputs of linear layers and convolutions is multiplied by 0.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from architectures import Made
from torch import Tensor, nn

from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.equal import apart, inputs

Gone = Mapping[str, Sequence[int]]  # {layer: which of its inputs, as the original counts them}
CLASSES = 1000  # what torchvision's classifiers give


def asked(model: nn.Module, told: bool) -> dict[str, Any]:
    """What its pruner is told of this network; with `told`, also how many heads every attention has.

    Grouped-query attention as in its example for language models: whole heads of queries go, and no part of one.
    """
    options: dict[str, Any] = {"pruning_ratio": 0.5, "ignored_layers": [*classifiers(model)]}
    heads = dict(_heads(model)) if told else {}
    if len(set(heads.values())) > 1:
        options |= {"prune_num_heads": True, "prune_head_dims": False, "head_pruning_ratio": 0.5}
    return options | ({"num_heads": heads} if told else {})


def classifiers(model: nn.Module) -> Iterable[nn.Module]:
    """The layers whose outputs are the classes."""
    return (m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == CLASSES)


def _heads(model: nn.Module) -> Iterable[tuple[Any, Any]]:
    """Every layer that makes queries, keys or values, and how many heads it makes."""
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            yield module, module.num_heads
        elif hasattr(module, "qkv"):
            yield module.qkv, module.num_heads
        elif hasattr(module, "q_proj"):
            config: Any = module.config
            yield module.q_proj, config.num_attention_heads
            yield from ((m, config.num_key_value_heads) for m in (module.k_proj, module.v_proj))


class Scoring:
    """Its group magnitude, with a count of the CPU seconds that go into it."""

    def __init__(self) -> None:
        import torch_pruning

        self.score, self.seconds = torch_pruning.importance.MagnitudeImportance(p=2), 0.0

    def __call__(self, group: Any) -> Tensor:
        """One score for each channel."""
        start = time.process_time()
        found: Tensor = self.score(group)
        self.seconds += time.process_time() - start
        return found


def analysed(original: Made, scoring: Scoring, told: bool) -> Any:
    """Its pruner: the dependency graph is built, and all groups are walked through once."""
    import torch_pruning

    model, example = original
    return torch_pruning.pruner.MagnitudePruner(
        model, example[0] if len(example) == 1 else example, importance=scoring, **asked(model, told)
    )


def stepped(pruner: Any) -> list[Any]:
    """The groups that it cut, one after another; `step()` does just this and forgets them."""
    groups = []
    for group in pruner.step(interactive=True):
        group.prune()
        groups.append(group)
    return groups


def compared(pruned: Made, groups: Iterable[Any], original: nn.Module) -> str:
    """The largest relative difference to the zeroed original, or why there is none."""
    model, example = pruned
    names = {module: name for name, module in model.named_modules()}
    going = gone(((names[layer], cut) for layer, cut in _reading(groups)), original)
    zeroed, small = zero_(original.double(), going), model.double()
    (x,) = inputs(example, 0)
    try:
        with untouched(zeroed, small):
            return f"{apart(zeroed(*x), small(*x)):.1e}"
    except Exception as error:  # the network's own code, on sizes that it does not expect
        return f"does not run: {str(error).splitlines()[0]}"


def _reading(groups: Iterable[Any]) -> Iterable[tuple[nn.Module, Sequence[int]]]:
    """The layers that lost inputs, and which, as they counted them at that moment."""
    for group in groups:
        for dependency, cut in group.items:
            layer, what = dependency.target.module, dependency.handler.__name__
            if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) and what == "prune_in_channels":
                yield layer, cut


def gone(cuts: Iterable[tuple[str, Sequence[int]]], original: nn.Module) -> dict[str, list[int]]:
    """What went of every layer's inputs, as the original counts them, when one cut followed another."""
    left: dict[str, list[int]] = {}
    for name, cut in cuts:
        now, without = left.setdefault(name, [*range(_inputs(original, name))]), set(cut)
        left[name] = [which for at, which in enumerate(now) if at not in without]
    return {name: sorted(set(range(_inputs(original, name))) - set(stay)) for name, stay in left.items()}


def _inputs(model: nn.Module, name: str) -> int:
    layer: Any = model.get_submodule(name)
    if getattr(layer, "groups", 1) > 1 or getattr(layer, "transposed", False):
        raise NotImplementedError(f"{name!r} is a {layer}: only plain convolutions and linear layers are compared")
    return int(layer.weight.shape[1])


@torch.no_grad()
def zero_(model: nn.Module, going: Gone) -> nn.Module:
    """The model, in which these layers multiply these of their inputs by 0 from now on."""
    for name, which in going.items():
        layer: Any = model.get_submodule(name)
        layer.weight[:, list(which)] = 0.0
    return model
