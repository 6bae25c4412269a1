"""Laws of gates on units: 0 is the network without the unit, baked is as gated, costs have slopes, no trace stays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cache, partial
from inspect import signature
from typing import cast
from unittest.mock import patch

import torch
from torch import Tensor, nn

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.checks.tiny import TinyStream, seeded
from sapwood.gates import Gated, UnitGate
from sapwood.gates.point import scale_
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.scaling import points
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site

# A number of units, and reads=, the channels of the layer's input, where it takes that -> a gate, not trained yet.
Make = Callable[..., UnitGate]


def check_unit_gate(name: str, make: Make) -> list[Result]:
    """The laws of gates on units, tried with the gate that `make` returns for a number of units.

    Where `make` takes `reads`, it is also given the number of channels that the layer of the units reads.
    """
    return tried(laws(name, make))


def laws(name: str, make: Make) -> Laws:
    """The laws of gates on units, not yet tried."""
    bodies: dict[str, Callable[[Make], None]] = {
        "values and what is open are from 0 to 1, one for each unit; exactly what goes is 0": _values,
        "with units closed it is the network without them": _closed,
        "what a sample does not keep is as removed, per sample": _closed_for_one,
        "baked, it gives what the gated network gives; per sample it refuses": _baked,
        "noise is drawn in training only, and the same in every pass of `drawn`": _noise,
        "each sample passes as it would alone": _alone,
        "gradients reach the gate and the network": _gradients,
        "the slope of the expected cost is that of differences": _slope,
        "costs of several samples are those of each": _costs,
        "the network is left as it was, also when a pass fails": _no_trace,
        "its parameters are its own, and flat": _flat,
    }
    return {f"unit gate {name}: {law}": partial(body, make) for law, body in bodies.items()}


@cache
def _anatomies() -> tuple[Anatomy, ...]:
    """Of the networks that every law is tried on; nobody changes these, so they are taken apart once."""
    return tuple(Anatomy(model, inputs) for model, inputs in _networks())


def _networks() -> Iterator[tuple[nn.Module, Tensor]]:
    """Networks with norms behind their layers and without, and inputs; no weight or statistic is near 0."""
    with seeded(0):
        pairs: list[tuple[nn.Module, Tensor]] = [
            (TinyStream(), torch.randn(4, 3, 4, 4)),
            (nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(4, 5)),
            (nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 2)), torch.randn(4, 5)),
        ]
        for model, inputs in pairs:
            for tensor in (*model.parameters(), *model.buffers()):
                if tensor.is_floating_point():
                    tensor.data = torch.rand_like(tensor) + 0.2
                    if tensor.dim() > 1:
                        tensor.data *= torch.sign(torch.randn_like(tensor))
            yield model.double(), inputs.double()


def _gated(make: Make, *, moved: bool = True) -> Iterator[tuple[Gated, Anatomy, Tensor]]:
    """Gates on all sites of each network; `moved`: their parameters are drawn so far apart that some units go."""
    for anatomy in _anatomies():
        with seeded(0):
            gates = {site.name: _made(make, anatomy.model, site).double() for site in sites(anatomy)}
            gated = Gated(deepcopy(anatomy.model), gates, points(anatomy))
            if moved:
                with torch.no_grad(), seeded(1):
                    for parameter in gated.gates.parameters():
                        parameter.copy_(3 * torch.randn_like(parameter) - 1.5)
            yield gated, anatomy, cast(Tensor, anatomy.example)


def _made(make: Make, model: nn.Module, site: Site) -> UnitGate:
    """A gate for a site, told what the layer that makes the units reads if it asks."""
    reads = cast(Tensor, model.get_submodule(site.name).weight).shape[1]
    return make(site.units, reads=reads) if "reads" in signature(make).parameters else make(site.units)


def _static(gated: Gated) -> dict[str, UnitGate]:
    """Those that decide the same for all samples."""
    return {name: gate for name, gate in gated.by_site().items() if not gate.per_sample}


def _alike(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-9)


def _values(make: Make) -> None:
    for gated, anatomy, inputs in _gated(make):
        keeps = gated.eval().keep()
        with torch.no_grad():
            gated(inputs)  # what is open per sample is that of the last draw
        for site in sites(anatomy):
            gate, keep, shares = gated.by_site()[site.name], keeps[site.name], gated.open()[site.name]
            demand(
                keep.dtype is torch.bool and keep.shape == (site.units,), f"keep is {keep.dtype} {tuple(keep.shape)}"
            )
            demand(shares.shape[-1:] == (site.units,) and _within(shares), f"open is {shares.tolist()}")
            if not gate.per_sample:
                value = gate.draw(None)
                demand(value.shape == (site.units,) and _within(value, gate.most), f"it draws {value.tolist()}")
                demand(torch.equal(value != 0, keep), f"it keeps {keep.tolist()}, its values are {value.tolist()}")
        every = torch.cat(list(keeps.values()))
        demand(bool(every.any()) and (not _static(gated) or not bool(every.all())), "all units stay, or all go")


def _within(values: Tensor, most: float = 1.0) -> bool:
    return bool(((values >= 0) & (values <= most)).all())


def _closed(make: Make) -> None:
    for gated, anatomy, inputs in _gated(make):
        keep = {name: _some(kept) for name, kept in gated.eval().keep().items() if name in _static(gated)}
        if keep:
            baked, _ = gated.bake()
            small = shrink(baked, keep, sites(anatomy), example=inputs, check=False).model
            with evaluating(gated), evaluating(small), torch.no_grad():
                demand(_alike(gated(inputs), small(inputs)), "without these units it answers otherwise")


def _closed_for_one(make: Make) -> None:
    """Each sample by itself, with what its gates let through multiplied into the weights and the rest cut out."""
    for gated, anatomy, inputs in _gated(make):
        gated.eval()
        for sample in inputs[:, None] if _static(gated).keys() < gated.by_site().keys() else ():
            with torch.no_grad():
                told, drawn = _watched(gated, sample)
                baked = deepcopy(gated.model)
                scale_(dict(baked.named_parameters()), gated.points, drawn)
                keep = {name: _some(value != 0) for name, value in drawn.items()}
                small = shrink(baked, keep, sites(anatomy), example=sample, check=False).model.eval()
                demand(_alike(told, small(sample)), "without the units that it closes a sample is answered otherwise")


def _watched(gated: Gated, sample: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The outputs for one sample, and what each gate let through, {site: [U]}."""
    drawn, draw = dict[str, Tensor](), gated._draw
    with patch.object(gated, "_draw", lambda name, x: drawn.setdefault(name, draw(name, x))):
        told = gated(sample)
    return told, {name: value.flatten() for name, value in drawn.items()}


def _some(keep: Tensor) -> Tensor:
    """At least one stays, since a site cannot lose all of its units."""
    return keep if bool(keep.any()) else torch.arange(len(keep)) == 0


def _baked(make: Make) -> None:
    for gated, _, inputs in _gated(make):
        gated.eval()
        if len(_static(gated)) < len(gated.by_site()):
            demand_refused(gated.bake, "baking a gate that is per sample")
            continue
        baked, keep = gated.bake()
        demand(set(keep) == set(gated.by_site()), f"it tells what stays of {sorted(keep)}")
        with evaluating(baked), torch.no_grad():
            demand(_alike(gated(inputs), baked(inputs)), "baked, it answers otherwise")


def _noise(make: Make) -> None:
    for gated, _, inputs in _gated(make):
        with evaluating(gated), torch.no_grad():
            state = torch.get_rng_state()
            demand(torch.equal(gated(inputs), gated(inputs)), "two evaluations differ")
            demand(torch.equal(torch.get_rng_state(), state), "evaluation drew random numbers")
        gated.model.eval()  # the gates alone are in training
        with torch.no_grad():
            with seeded(2):
                first, second = gated(inputs), gated(inputs)
            with seeded(2):
                third = gated(inputs)
            with gated.drawn():
                shared = gated(inputs), gated(inputs)
        demand(
            torch.equal(first, third),
            "two passes under one seed differ: take noise from torch's generator, and let `draw` change nothing",
        )
        demand(torch.equal(*shared), "two passes of `drawn` differ")
        noisy = not torch.equal(first, second)
        demand(not noisy or _drawn_anew(gated, inputs, shared[0]), "`drawn` draws the same every time")


def _drawn_anew(gated: Gated, inputs: Tensor, before: Tensor) -> bool:
    """Whether another draw gives something else; a single one may be the same by luck."""
    for _ in range(8):
        with gated.drawn():
            if not torch.equal(gated(inputs), before):
                return True
    return False


def _alone(make: Make) -> None:
    for gated, _, inputs in _gated(make):
        with evaluating(gated), torch.no_grad():
            together, alone = gated(inputs), torch.cat([gated(x[None]) for x in inputs])
        demand(_alike(together, alone), "a sample passes otherwise beside others")


def _gradients(make: Make) -> None:
    for gated, _, inputs in _gated(make, moved=False):
        with seeded(2):
            for _ in range(8):  # in a single pass all units of a site may be at an end, where nothing moves them
                gated(inputs).square().sum().backward()
        penalty = gated.penalty()
        demand(penalty.dim() == 0 and bool(torch.isfinite(penalty)), f"the penalty is {penalty}, not one finite number")
        for name, parameter in gated.named_parameters():
            slope = parameter.grad
            demand(slope is not None and bool(torch.isfinite(slope).all()), f"no gradient reaches {name}")
        for site, gate in gated.by_site().items():
            demand(any(bool(p.grad.any()) for p in gate.parameters() if p.grad is not None), f"site {site}: all are 0")


def _slope(make: Make) -> None:
    """Along a random direction of the gates' parameters, a little from where they start."""
    for gated, anatomy, inputs in _gated(make, moved=False):
        cost, parameters = macs_of(anatomy), list(gated.gates.parameters())
        with torch.no_grad(), seeded(3):
            ways = [torch.rand_like(parameter) + 0.5 for parameter in parameters]
            _move(parameters, ways, -0.3)
        expected = partial(_expected, gated, cost, inputs)
        slopes = torch.autograd.grad(expected(), parameters, allow_unused=True)
        told = sum(float((slope * way).sum()) for slope, way in zip(slopes, ways, strict=True) if slope is not None)
        ends = []
        for step in (1e-5, -2e-5):
            _move(parameters, ways, step)
            ends.append(expected().item())
        seen = (ends[0] - ends[1]) / 2e-5
        gap = f"the slope is {told:.9g}, differences say {seen:.9g}; is `open` smooth? Hard decisions belong to `draw`"
        demand(abs(seen - told) <= 1e-5 * max(1.0, abs(seen)), gap)
        demand(seen != 0, "the cost does not depend on the gates")


def _move(parameters: Sequence[Tensor], ways: Sequence[Tensor], by: float) -> None:
    with torch.no_grad():
        for parameter, way in zip(parameters, ways, strict=True):
            parameter.add_(way, alpha=by)


def _expected(gated: Gated, cost: Callable[[Mapping[str, Tensor]], Tensor], inputs: Tensor) -> Tensor:
    """The mean over samples."""
    with evaluating(gated):
        gated(inputs)
    return cost(gated.open()).mean()


def _costs(make: Make) -> None:
    for gated, anatomy, inputs in _gated(make):
        cost = macs_of(anatomy)
        with torch.no_grad(), evaluating(gated):
            gated(inputs)
            one = {name: values.expand(len(inputs), -1) for name, values in gated.open().items()}
        with seeded(4):
            many = {name: values * torch.rand_like(values) for name, values in one.items()}
        alone = torch.stack([cost({name: values[n] for name, values in many.items()}) for n in range(len(inputs))])
        demand(torch.allclose(cost(many), alone, rtol=1e-12, atol=0), "together they cost otherwise than each")


def _no_trace(make: Make) -> None:
    for gated, _, inputs in _gated(make):
        model = gated.eval().model
        names, before = list(model.state_dict()), [p.detach().clone() for p in model.parameters()]
        gated(inputs)
        with suppress(Exception):
            gated(inputs[:, :1])  # no layer takes this
        with suppress(Exception):
            gated.bake()
        demand(not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()), "hooks are on the network")
        demand(list(model.state_dict()) == names, "the network's state_dict has other names")
        demand(all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True)), "weights have moved")


def _flat(make: Make) -> None:
    for gated, _, _ in _gated(make):
        theirs = {id(p) for p in gated.model.parameters()}
        mine = dict(gated.gates.named_parameters())
        demand(bool(mine) and not any(id(p) in theirs for p in mine.values()), "a gate has weights for parameters")
        shapes = {name: tuple(p.shape) for name, p in mine.items() if p.dim() != 1}
        demand(not shapes, f"parameters would pass for weights: {shapes}")
