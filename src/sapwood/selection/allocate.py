"""Allocation: how one global density becomes a density for each tensor, and densities become whole counts."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from sapwood.errors import InputError, Names, picked, unknown

Shapes = Mapping[str, Tensor | tuple[int, ...]]  # tensors, or their shapes: (outputs, inputs, *kernel)
Allocation = Callable[[Shapes, float], dict[str, float]]  # (shapes, global density) -> {name: density}


def uniform(shapes: Shapes, density: float) -> dict[str, float]:
    """The global density everywhere: d_l = d."""
    _refuse_bad_density(density)
    return dict.fromkeys(_plain(shapes), density)


def er(shapes: Shapes, density: float) -> dict[str, float]:
    """Densities proportional to (n_out + n_in) / (n_out n_in), capped at 1: wide layers get fewer per weight.

    The kernel positions of a convolution do not enter the ratio; `erk` counts them. For matrices the two agree.
    *Paper:* Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity
    inspired by network science", arXiv 1707.04780 (Erdős-Rényi random topology).
    *Differs:* solved for a given global density; the paper gives the scale itself.
    """
    return _proportional({name: shape[:2] for name, shape in _layers(shapes).items()}, shapes, density)


def erk(shapes: Shapes, density: float, power: float = 1.0) -> dict[str, float]:
    """Densities proportional to (sum of the shape / product of the shape)^power, capped at 1.

    `power` 0 is `uniform`; more than 1 spreads the densities further apart.
    *Paper:* Evci et al. 2020, "Rigging the Lottery: Making All Tickets Winners", arXiv 1911.11134, section 3
    (Erdős-Rényi-Kernel). *Differs:* nothing known.
    """
    if not 0 <= power < math.inf:
        raise InputError(f"power is {power}; give a finite number of at least 0")
    return _proportional(_layers(shapes), shapes, density, power)


def counts(shapes: Shapes, densities: Mapping[str, float], total: int | None = None) -> dict[str, int]:
    """How many entries each tensor keeps: d_l N_l rounded down or up so that the counts sum to `total` exactly.

    Largest remainder: all are rounded down, then those with the largest fractions get one more; ties go to the
    tensor named first. Without `total` it is sum d_l N_l, rounded half to even.
    """
    sizes = {name: math.prod(shape) for name, shape in _plain(shapes).items()}
    _refuse_bad_densities(densities, sizes)
    quotas = {name: densities[name] * size for name, size in sizes.items()}
    kept = {name: math.floor(quota) for name, quota in quotas.items()}
    fractional = sorted((n for n in quotas if quotas[n] > kept[n]), key=lambda n: kept[n] - quotas[n])
    low = sum(kept.values())
    goal = round(math.fsum(quotas.values())) if total is None else total
    if not low <= goal <= low + len(fractional):
        raise InputError(
            f"total is {goal}; rounding these densities gives {low} to {low + len(fractional)}; "
            "choose densities whose sum of d_l N_l is the total"
        )
    for name in fractional[: goal - low]:
        kept[name] += 1
    return kept


def _proportional(
    dims: Mapping[str, tuple[int, ...]], shapes: Shapes, density: float, power: float = 1.0
) -> dict[str, float]:
    """d_l = min(1, c (sum dims_l / prod dims_l)^power), with c such that sum d_l N_l = density * N.

    Capping hands budget on, so c only grows from one pass to the next: what was capped once stays capped.
    """
    _refuse_bad_density(density)
    sizes = {name: math.prod(shape) for name, shape in _plain(shapes).items()}
    ratios = {name: sum(dim) / math.prod(dim) for name, dim in dims.items()}
    budget = density * sum(sizes.values())
    densities: dict[str, float] = dict.fromkeys(sizes, 1.0)
    free = set(sizes)
    while free:
        most = max(ratios[name] for name in free)  # dividing by it keeps a high power from underflowing everywhere
        weights = {name: (ratios[name] / most) ** power for name in sizes if name in free}
        left = max(0.0, budget - sum(size for name, size in sizes.items() if name not in free))  # 0.0: rounding
        scale = left / math.fsum(weight * sizes[name] for name, weight in weights.items())
        over = {name for name, weight in weights.items() if scale * weight > 1}
        if not over:
            return densities | {name: scale * weight for name, weight in weights.items()}
        free -= over
    return densities


def _plain(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    if not shapes:
        raise InputError("no shapes to allocate to; give at least one named tensor or shape")
    plain = {name: tuple(s.shape) if isinstance(s, Tensor) else tuple(s) for name, s in shapes.items()}
    for name, shape in plain.items():
        if any(dim < 1 for dim in shape):
            raise InputError(f"{name!r} has shape {shape}; leave out tensors without entries")
    return plain


def _layers(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    plain = _plain(shapes)
    for name, shape in plain.items():
        if len(shape) < 2:
            raise InputError(f"{name!r} has shape {shape}; needed is (outputs, inputs, *kernel): leave out biases")
    return plain


def _refuse_bad_density(density: float) -> None:
    if not 0 < density <= 1:
        raise InputError(f"density is {density}; give the fraction kept, above 0 and at most 1")


def _refuse_bad_densities(densities: Mapping[str, float], sizes: Mapping[str, int]) -> None:
    for name in sizes:
        if name not in densities:
            raise InputError(f"{name!r} has no density; give one for each of the {len(sizes)} shapes")
    for name, density in densities.items():
        if name not in sizes:
            raise unknown("tensor in densities", name, sizes)
        if not 0 <= density <= 1:
            raise InputError(f"the density of {name!r} is {density}; give a fraction kept in [0, 1]")


ALLOCATIONS: dict[str, Allocation] = Names("allocation", {"uniform": uniform, "er": er, "erk": erk})


def named(name: str) -> Allocation:
    """The allocation called `name` in ALLOCATIONS."""
    return picked("allocation", name, ALLOCATIONS)
