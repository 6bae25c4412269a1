"""Laws of gates: what is closed counts as 0 in evaluation, noise is for training, gradients arrive, no trace stays."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.tiny import seeded
from sapwood.gates import WeightGate, WeightGated
from sapwood.masking import masks
from sapwood.scoring.layers import prunable
from sapwood.scoring.modes import evaluating

Make = Callable[[Tensor], WeightGate]  # a layer's weight -> a gate for it, open as far as a gate is before any training


def check_gate(name: str, make: Make) -> list[Result]:
    """The laws of gates on weights, tried with the gate that `make` returns."""
    return tried(laws(name, make))


def laws(name: str, make: Make) -> Laws:
    """The laws of gates on weights, not yet tried."""
    bodies: dict[str, Callable[[Make], None]] = {
        "made anew, it lets a layer's outputs pass as they are": _open,
        "in evaluation it is the network under the masks of what is kept": _masked,
        "noise is drawn in training only, and anew in every pass": _noise,
        "gradients reach the gate and the network": _gradients,
        "the penalty reaches the gate, and twice the weights have twice the penalty": _penalty,
        "what is kept has higher scores than what goes": _ordered,
        "the network is left as it was, also when a pass fails": _no_trace,
        "its parameters are its own, and flat": _flat,
    }
    return {f"gate {name}: {law}": partial(body, make) for law, body in bodies.items()}


def _networks() -> Iterator[tuple[nn.Module, Tensor]]:
    """One network for each kind of layer, and inputs; no weight is near 0."""
    with seeded(0):
        pairs: list[tuple[nn.Module, Tensor]] = [
            (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(5, 6)),
            (nn.Sequential(nn.Linear(4, 7, bias=False)), torch.randn(5, 2, 4)),
            (nn.Sequential(nn.Conv1d(3, 4, 3, dilation=2), nn.ReLU()), torch.randn(5, 3, 9)),
            (nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2)), torch.randn(5, 2, 8, 8)),
            (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")), torch.randn(5, 2, 4, 4)),
        ]
        for model, inputs in pairs:
            for layer in prunable(model).values():
                layer.weight.data = torch.sign(torch.randn_like(layer.weight)) * (0.2 + torch.rand_like(layer.weight))
            yield model.double(), inputs.double()


def _gated(make: Make, model: nn.Module, *, moved: bool = False) -> WeightGated:
    """All layers of a network gated; `moved`: the gates' parameters are drawn so far apart that some weights go."""
    gated = WeightGated(model, {name: make(layer.weight) for name, layer in prunable(model).items()})
    if moved:
        with torch.no_grad(), seeded(1):
            for parameter in gated.gates.parameters():
                parameter.copy_(5 * torch.randn_like(parameter))
        keep = torch.cat([k.flatten() for k in gated.keep().values()])
        demand(bool(keep.any()) and not bool(keep.all()), "parameters drawn from N(0, 25) keep everything, or nothing")
    return gated


def _open(make: Make) -> None:
    for model, inputs in _networks():
        expected = model(inputs)
        with evaluating(gated := _gated(make, model)):
            demand(torch.equal(gated(inputs), expected), f"{model} has other outputs")


def _masked(make: Make) -> None:
    for model, inputs in _networks():
        gated = _gated(make, model, moved=True)
        with evaluating(gated):
            found = gated(inputs)
        masks.apply_(dict(model.named_parameters()), gated.keep())
        demand(torch.equal(model(inputs), found), f"{model}, masked, has other outputs than gated")


def _noise(make: Make) -> None:
    for model, inputs in _networks():
        gated = _gated(make, model, moved=True)
        with evaluating(gated):
            state = torch.get_rng_state()
            first, second = gated(inputs), gated(inputs)
        demand(torch.equal(first, second), "two evaluations differ")
        demand(torch.equal(torch.get_rng_state(), state), "evaluation drew random numbers")
        with seeded(2):
            first, second = gated(inputs), gated(inputs)
        with seeded(2):
            third = gated(inputs)
        demand(not torch.equal(first, second), "two passes in training have the same noise")
        demand(torch.equal(first, third), "noise is not drawn from torch's generator")


def _gradients(make: Make) -> None:
    for model, inputs in _networks():
        gated = _gated(make, model)
        with seeded(2):
            gated(inputs).square().sum().backward()
        _demand_slopes(gated)


def _penalty(make: Make) -> None:
    for model, _ in _networks():
        gated = _gated(make, model, moved=True)
        total = gated.penalty()
        demand(total.dim() == 0 and bool(torch.isfinite(total)), f"the penalty is {total}, not one finite number")
        demand(total.requires_grad, "the penalty has no gradient")
        total.backward()  # type: ignore[no-untyped-call]
        _demand_slopes(gated.gates)
        for layer in prunable(model).values():
            w = layer.weight.detach()
            twice = torch.cat([w, w])
            once, both = make(w).penalty(w), make(twice).penalty(twice)
            demand(torch.allclose(both, 2 * once), f"a weight, and two of it: penalties {once:g} and {both:g}")


def _demand_slopes(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        slope = parameter.grad
        demand(slope is not None and bool(torch.isfinite(slope).all() and slope.any()), f"no gradient reaches {name}")


def _ordered(make: Make) -> None:
    for model, _ in _networks():
        gated = _gated(make, model, moved=True)
        for name, keep in gated.keep().items():
            score = gated.scores()[name]
            demand(keep.shape == score.shape == model.get_parameter(name).shape, "scores or keep have another shape")
            if bool(keep.any()) and not bool(keep.all()):
                demand(bool(score[keep].min() > score[~keep].max()), f"a weight of {name} goes before one that stays")


def _no_trace(make: Make) -> None:
    for model, inputs in _networks():
        names, weights = list(model.state_dict()), [p.detach().clone() for p in model.parameters()]
        gated = _gated(make, model, moved=True)
        with seeded(2):
            gated(inputs)
        with suppress(RuntimeError):
            gated(inputs[..., :1])  # no layer takes this
        demand(not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()), "hooks are on the network")
        demand(list(model.state_dict()) == names, "the network's state_dict has other names")
        demand(all(torch.equal(*pair) for pair in zip(model.parameters(), weights, strict=True)), "weights have moved")


def _flat(make: Make) -> None:
    for model, _ in _networks():
        theirs = {id(p) for p in model.parameters()}
        mine = dict(_gated(make, model).gates.named_parameters())
        demand(bool(mine) and not any(id(p) in theirs for p in mine.values()), "a gate has weights for parameters")
        shapes = {name: tuple(p.shape) for name, p in mine.items() if p.dim() != 1}
        demand(not shapes, f"parameters would pass for weights: {shapes}")
