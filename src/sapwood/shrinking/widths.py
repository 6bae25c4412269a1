"""Widths: how many positions stay, as a function of what is open; the pieces every cost is a product and sum of.

All units of all sites are numbered one after another; number `always` stands for whatever belongs to no site.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sapwood.errors import InputError, unknown
from sapwood.shrinking.tracing.site import Site


@dataclass(frozen=True)
class Width:
    """sum_r counts[r] * prod_k open[units[r, k]]: positions with the same units are one row."""

    units: Tensor  # int64 [R, K]: numbers of units
    counts: Tensor  # float64 [R]: positions

    def of(self, open_U: Tensor) -> Tensor:
        """The expected number of open positions, [...] of [..., U + 1]; exact where everything is 0 or 1."""
        return open_U[..., self.units].prod(-1) @ self.counts

    def to(self, device: torch.device) -> "Width":
        """The same width on another device."""
        return Width(self.units.to(device), self.counts.to(device))


@dataclass(frozen=True)
class Term:
    """times * the product of widths."""

    times: float
    widths: tuple[Width, ...]

    def of(self, open_U: Tensor) -> Tensor:
        """The term's share of a cost, [...] of what is open, [..., U + 1]."""
        found = open_U.new_full(open_U.shape[:-1], self.times)
        for width in self.widths:
            found = found * width.of(open_U)
        return found

    def to(self, device: torch.device) -> "Term":
        """The same term on another device."""
        return Term(self.times, tuple(width.to(device) for width in self.widths))


class Numbering:
    """The units of all sites, numbered one after another."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self.sites = {site.name: site for site in sites}
        self.start, self.always = dict[str, int](), 0
        self._at: dict[tuple[str, int], list[Tensor]] = {}
        for site in self.sites.values():
            self.start[site.name] = self.always
            self.always += site.units
        for site in self.sites.values():
            for slot in site.slots:
                here = torch.where(slot.unit_of < 0, self.always, slot.unit_of + self.start[site.name])
                self._at.setdefault((slot.tensor, slot.dim), []).append(here)

    def along(self, tensor: str, dim: int) -> Tensor | None:
        """[size, K]: the units at every position of a dimension; None where no site sits."""
        found = self._at.get((tensor, dim))
        return None if found is None else torch.stack(found, 1)

    def open(self, keep: Mapping[str, Tensor]) -> Tensor:
        """How far each unit is open, float64 [..., U + 1]; the last entry, 1, is of everything that cannot be removed.

        The leading dimensions of all values, such as one for samples, are broadcast. The result is on their device.
        """
        for name, values in keep.items():
            if name not in self.sites:
                raise unknown("site", name, self.sites)
            if values.shape[-1:] != (self.sites[name].units,):
                raise InputError(
                    f"what is open of site {name!r} has shape {tuple(values.shape)}; give one bool, or number from 0 "
                    f"to 1, for each of its {self.sites[name].units} units along the last dimension"
                )
        given = list(keep.values())
        device = given[0].device if given else torch.device("cpu")
        leading = torch.broadcast_shapes(*(values.shape[:-1] for values in given))  # type: ignore[no-untyped-call]
        one = torch.ones((), dtype=torch.float64, device=device)
        parts = [
            (keep[name].to(one) if name in keep else one).expand(*leading, site.units)
            for name, site in self.sites.items()
        ]
        return torch.cat([*parts, one.expand(*leading, 1)], -1)


def width(units: Tensor, always: int) -> Width:
    """The width of positions with these units, [P, K]: a unit that is there twice counts once."""
    units = units.sort(1).values
    again = torch.zeros_like(units, dtype=torch.bool)
    again[:, 1:] = units[:, 1:] == units[:, :-1]
    rows = units.masked_fill(again, always).sort(1).values
    few, counts = _distinct(rows[:, : max(1, int((rows < always).sum(1).max()))], always)
    return Width(few, counts.double())


def _distinct(rows: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Different rows in order, and how often each is there. As digits of one number where that is small enough."""
    columns = rows.shape[1]
    if (most + 1) ** columns >= 2**63:
        found: tuple[Tensor, Tensor] = torch.unique(rows, dim=0, return_counts=True)
        return found
    places = torch.tensor([(most + 1) ** place for place in reversed(range(columns))], dtype=torch.int64)
    numbers, counts = torch.unique((rows * places).sum(1), return_counts=True)
    return numbers[:, None] // places % (most + 1), counts


def extent(sizes: Mapping[str, int], placed: Iterable[tuple[Sequence[str], Tensor]], always: int) -> Term:
    """The size of a space: how many of its points stay.

    `sizes` is its extent along each named axis. Each of `placed` says which units sit along some axes: the axes' names
    and numbers of units [.., K], of size 1 along axes where nothing changes. Axes that meet in no tensor are
    independent of each other, so the space is a product of small ones.
    """
    told = [(axes, units) for axes, units in placed if bool((units < always).any())]
    groups: list[tuple[set[str], list[tuple[Sequence[str], Tensor]]]] = []
    for axes, units in told:
        moving = {axis for axis, size in zip(axes, units.shape, strict=False) if size > 1}
        touching = [group for group in groups if group[0] & moving]
        groups = [group for group in groups if not group[0] & moving]
        merged = [each for group in touching for each in group[1]]
        groups.append((moving.union(*(group[0] for group in touching)), [*merged, (axes, units)]))
    covered = set[str]().union(*(group[0] for group in groups))
    times = 1.0
    for axis, size in sizes.items():
        times *= 1 if axis in covered else size
    return Term(times, tuple(width(_grid(sorted(axes), sizes, parts), always) for axes, parts in groups))


def _grid(axes: list[str], sizes: Mapping[str, int], parts: Iterable[tuple[Sequence[str], Tensor]]) -> Tensor:
    """[P, K]: all units at every point of a grid."""
    found = []
    for names, units in parts:
        where = [names.index(axis) if axis in names else None for axis in axes]
        kept = [dim for dim in where if dim is not None]
        rest = [dim for dim in range(units.dim() - 1) if dim not in kept]  # of size 1: nothing changes along these
        moved = units.permute(*rest, *kept, -1)
        moved = moved.reshape(*(1 if dim is None else units.shape[dim] for dim in where), units.shape[-1])
        found.append(moved.expand(*(sizes[axis] for axis in axes), -1).reshape(-1, units.shape[-1]))
    return torch.cat(found, 1)
