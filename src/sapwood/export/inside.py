"""Inside: the units in the blocks of a model that can go and leave its stream as wide as it is: heads, and widths."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.export.offers import belongs, channels, names_in, step
from sapwood.export.pretrained import said_by_config, takes_heads
from sapwood.export.trunk import Trunk
from sapwood.scoring.layers import Weight
from sapwood.shrinking.cutting.units import reading_layer, unit_of_columns
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Pinned, Site

HEADS, WIDTHS = KINDS = ("heads", "widths")


@dataclass(frozen=True, eq=False)
class Place:
    """Units of one kind, and the layer that reads them, in one block."""

    site: Site
    block: str
    kind: str
    reader: Weight
    unit_of_I: Tensor  # of each of the reader's columns
    may: tuple[int, ...]  # the numbers of units that may go, rising from 0
    weights: int  # that one unit has, in all layers

    @property
    def name(self) -> str:
        """The site's name."""
        return self.site.name

    def near(self, units: float) -> int:
        """The number of units that may go which is nearest to this."""
        return min(self.may, key=lambda number: abs(number - units))


@dataclass(frozen=True)
class Inside:
    """All places in a model's blocks, and what stays whole there, with the reason."""

    places: tuple[Place, ...]
    stays: tuple[Pinned, ...]
    weights: int  # in all layers of the blocks that could be pruned

    @cached_property
    def of_block(self) -> Mapping[str, list[Place]]:
        """{block: its places}."""
        found: dict[str, list[Place]] = {}
        for place in self.places:
            found.setdefault(place.block, []).append(place)
        return found

    def of_kind(self, kind: str) -> list[Place]:
        """The places of one kind."""
        return [place for place in self.places if place.kind == kind]


def inside(
    anatomy: Anatomy, trunk: Trunk, *, keep: Collection[str] = (), multiple: int = 1, saved: bool = False
) -> Inside:
    """The places in the blocks of a network where one layer reads the units, and nothing else does.

    Heads are units that take several columns side by side, with all that makes them: of grouped queries, a group of
    heads with its key and value. With `saved` a Hugging Face model's units stay whose number its config cannot say.
    InputError: `keep` has an unknown name, `multiple` is below 1, nothing may go.
    """
    if not isinstance(multiple, int) or isinstance(multiple, bool) or multiple < 1:
        raise InputError(f"multiple is {multiple!r}; widths are rounded to multiples of a whole number of 1 or more")
    model, couplings_ = anatomy.model, couplings(anatomy)
    kept = names_in(model, keep, {site.name for site in couplings_.sites})
    places = tuple(_without_insides(_places(model, couplings_.sites, trunk, multiple)))
    why = _unsaid(model, places) if saved else {}
    if saved:
        places = tuple(_read_back(model, place) for place in places)
    for place in places:
        if named := [name for name in kept if _sits_on(place.site, name)]:
            why[place.name] = f"keep= names {named[0]!r}"
        elif len(place.may) == 1:
            why[place.name] = f"multiple={multiple} leaves no smaller width; multiple=1 may"
    free = tuple(place for place in places if place.name not in why)
    stays = tuple(Pinned(place.name, place.site.units, why[place.name]) for place in places if place.name in why)
    if not free:
        reasons = dict.fromkeys(f"{pin.name!r} stays: {pin.because}" for pin in (*stays, *couplings_.pinned))
        raise InputError(f"nothing in the blocks of {type(model).__name__} can be removed: {'; '.join([*reasons][:2])}")
    return Inside(free, stays, sum(trunk.sizes.values()))


def _places(model: nn.Module, sites: Sequence[Site], trunk: Trunk, multiple: int) -> Iterator[Place]:
    """The sites that one layer in a block reads, in the order of the blocks."""
    layers = {each.name: (block, each) for block, inside in trunk.inside.items() for each in inside}
    found = {block: list[Place]() for block in trunk.names}
    for site in sites:
        reader = reading_layer(model, site)
        if reader in layers and len(layers[reader][1].layers) == 1:
            block, weight = layers[reader]
            [slot] = site.at("reads")
            kind = HEADS if channels(site) > 1 else WIDTHS
            by = step(site, multiple)
            may = (0, *sorted(site.units - left for left in range(by, site.units, by)))
            units = unit_of_columns(model, slot)
            found[block].append(Place(site, block, kind, weight, units, may, _weights(model, site)))
    order = {name: at for at, name in enumerate(layers)}
    for each in found.values():
        yield from sorted(each, key=lambda place: order[place.reader.name])


def _without_insides(places: Iterator[Place]) -> Iterator[Place]:
    """Without channels inside of heads: what is left of a head keeps its width."""
    every = list(places)
    heads = {place.reader.name for place in every if place.kind == HEADS}
    yield from (place for place in every if place.kind == HEADS or place.reader.name not in heads)


def _weights(model: nn.Module, site: Site) -> int:
    """The numbers of one unit in matrices."""
    slots = [slot for slot in site.slots if slot.role != "holds"]
    sizes = [model.get_parameter(slot.tensor).numel() // len(slot.unit_of) for slot in slots]
    return sum(size * int((slot.unit_of >= 0).sum()) for size, slot in zip(sizes, slots, strict=True)) // site.units


def _sits_on(site: Site, name: str) -> bool:
    return site.name == name or any(belongs(slot.tensor, name) for slot in site.slots)


def _unsaid(model: nn.Module, places: Sequence[Place]) -> dict[str, str]:
    """Why units of a Hugging Face model stay that its config has no number for."""
    said = said_by_config(model, [place.site for place in places])
    because = "the config has no number for them, so the folder could not be loaded; uniform=False removes them"
    return {place.name: because for place, is_said in zip(places, said, strict=True) if not is_said}


def _read_back(model: Any, place: Place) -> Place:
    """Of heads only those numbers may go with which the config can be read from its file."""
    if place.kind != HEADS:
        return place
    units = place.site.units
    return replace(place, may=tuple(n for n in place.may if not n or takes_heads(model.config, units - n, units)))
