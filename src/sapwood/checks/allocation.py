"""Laws of allocations: the total is exact, no density leaves (0, 1], order does not matter, ratios as published."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise, product

import torch

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.selection.allocate import Allocation

Ratio = Callable[[tuple[int, ...]], float]  # shape -> the density it should have, up to one factor for all
Network = dict[str, tuple[int, ...]]
NETWORKS: tuple[Network, ...] = (
    {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)},
    {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (10, 500)},
    {"narrow": (1, 7), "square": (8, 8), "wide": (1000, 2000), "kernel": (3, 5, 7)},
    {"alone": (4, 6)},
)
DENSITIES = (1e-4, 0.01, 0.1, 0.2, 0.5, 0.9, 1.0)


def check_allocation(name: str, allocate: Allocation, *, ratio: Ratio | None = None) -> list[Result]:
    """The laws of allocations, tried on `allocate`. `ratio`: what its densities are proportional to, capped at 1."""
    return tried(laws(name, allocate, ratio=ratio))


def laws(name: str, allocate: Allocation, *, ratio: Ratio | None = None) -> Laws:
    """The laws of allocations about `allocate`, not yet tried."""
    bodies: dict[str, Callable[[Allocation], None]] = {
        "the kept entries add up to the density of all": _total,
        "densities lie in (0, 1]": _capped,
        "more density never means less for an entry": _monotone,
        "the order of the entries changes nothing": _order,
        "tensors and their shapes mean the same": _tensors,
        "a density outside (0, 1] and no entries are refused": _refuses,
    }
    if ratio is not None:
        bodies["densities are min(1, c ratio) for one c"] = partial(_published, ratio)
    return {f"allocation {name}: {law}": partial(body, allocate) for law, body in bodies.items()}


def _total(allocate: Allocation) -> None:
    for shapes, density in product(NETWORKS, DENSITIES):
        found, sizes = allocate(shapes, density), {n: math.prod(s) for n, s in shapes.items()}
        demand(list(found) == list(shapes), f"keys {list(found)}, expected {list(shapes)}")
        kept = math.fsum(found[n] * size for n, size in sizes.items())
        asked = density * sum(sizes.values())
        demand(math.isclose(kept, asked, rel_tol=1e-12), f"density {density} of {list(shapes)}: {kept}, not {asked}")


def _capped(allocate: Allocation) -> None:
    for shapes, density in product(NETWORKS, DENSITIES):
        found = allocate(shapes, density)
        demand(all(0 < d <= 1 for d in found.values()), f"density {density}: {found}")


def _monotone(allocate: Allocation) -> None:
    for shapes in NETWORKS:
        found = [allocate(shapes, density) for density in DENSITIES]
        for less, more in pairwise(found):
            # Rounding in the last place may go either way where both are the same number.
            demand(all(less[n] <= more[n] * (1 + 1e-12) for n in shapes), f"{less} at less, {more} at more")


def _order(allocate: Allocation) -> None:
    for shapes, density in product(NETWORKS, DENSITIES):
        plain, turned = allocate(shapes, density), allocate(dict(reversed(shapes.items())), density)
        same = all(math.isclose(plain[n], turned[n], rel_tol=1e-12) for n in shapes)
        demand(same, f"density {density}: {plain}, in another order {turned}")


def _tensors(allocate: Allocation) -> None:
    for shapes, density in product(NETWORKS, DENSITIES):
        tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        same = allocate(tensors, density) == allocate(shapes, density)
        demand(same, f"density {density}: tensors get other densities than their shapes")


def _refuses(allocate: Allocation) -> None:
    for density in (0.0, -0.1, 1.1, float("nan")):
        demand_refused(partial(allocate, NETWORKS[0], density), f"density {density}")
    demand_refused(partial(allocate, {}, 0.5), "an empty dict")


def _published(ratio: Ratio, allocate: Allocation) -> None:
    """The factor is found here by bisection, which knows nothing of how the allocation finds it."""
    for shapes, density in product(NETWORKS, DENSITIES):
        ratios, sizes = {n: ratio(s) for n, s in shapes.items()}, {n: math.prod(s) for n, s in shapes.items()}
        low, high = 0.0, 1 / min(ratios.values())
        for _ in range(200):
            c = (low + high) / 2
            kept = math.fsum(min(1, c * ratios[n]) * size for n, size in sizes.items())
            low, high = (c, high) if kept < density * sum(sizes.values()) else (low, c)
        expected, found = {n: min(1, high * r) for n, r in ratios.items()}, allocate(shapes, density)
        same = all(math.isclose(found[n], expected[n], rel_tol=1e-9) for n in shapes)
        demand(same, f"density {density}: {found}, published {expected}")
