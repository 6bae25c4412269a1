"""Unit rules: which units of a layer go, as sums over what it reads say, and what becomes of its weights."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sapwood.currency import Keep
from sapwood.errors import InputError, refuse_unless
from sapwood.export.amounts import Sparsity, share_of
from sapwood.export.inside import Place
from sapwood.reconstruction.centring import input_sum
from sapwood.reconstruction.normal import output_error
from sapwood.reconstruction.refitting import refit
from sapwood.reconstruction.surgery import losses_of_units, outputs_of_units, surgeon
from sapwood.reconstruction.units import columns_of
from sapwood.scoring.layout import matrix, shaped
from sapwood.scoring.statistics import count, gram
from sapwood.selection import select
from sapwood.shrinking.cutting.units import per_unit

SURGEON, OUTPUTS, MAGNITUDE = RULES = ("surgeon", "outputs", "magnitude")
STEPS = 128  # in which the surgeon removes all units of a layer at most


class Reader(NamedTuple):
    """The layer that reads units, as a matrix. A bias that may be refitted is a last column, whose input is 1."""

    w_OI: Tensor
    gram_II: Tensor
    unit_of_I: Tensor
    bias: bool


class Solved(NamedTuple):
    """What becomes of a reader."""

    keep: Tensor  # bool [units]
    weight: Tensor  # shaped like the layer's, 0 where units are gone
    bias: Tensor | None  # None: as it was
    masked: float  # the error of its outputs, relative and squared, with the units gone and nothing else changed
    error: float  # with what it has now


@dataclass(frozen=True)
class UnitRule:
    """What is asked for, known to make sense."""

    sparsity: Sparsity
    by: str = OUTPUTS
    refit: bool = True
    uniform: bool = True
    multiple: int = 8
    keep: Collection[str] = ()

    def __post_init__(self) -> None:
        """InputError where it makes none."""
        refuse_unless("by", self.by, RULES)
        share_of(self.sparsity)

    def __str__(self) -> str:
        given = self.sparsity if isinstance(self.sparsity, Mapping) else {"weights": self.sparsity}
        amount = ", ".join(f"{100 * share:g} % of the {of}" for of, share in given.items())
        return f"{self.by}, {amount}{', refitted' * self.refit}{', uniform' * self.uniform}"

    def losses(self, model: nn.Module, place: Place, sums: Mapping[str, Tensor]) -> Tensor:
        """What the layer's outputs lose with each unit, as a share, so that layers can be compared. [units]"""
        if self.by == MAGNITUDE:
            sizes = _sizes(model, place)
            return sizes / sizes.sum()
        w_OI, gram_II, unit_of_I, _ = self._reader(place, sums)
        of = losses_of_units if self.by == SURGEON else outputs_of_units
        whole = (w_OI.double() @ gram_II * w_OI.double()).sum()
        return of(w_OI, gram_II, unit_of_I) / whole.clamp(min=torch.finfo(torch.float64).tiny)

    def solved(self, model: nn.Module, place: Place, sums: Mapping[str, Tensor], gone: int) -> Solved:
        """The layer that reads a place, without so many of its units."""
        reader = self._reader(place, sums)
        w_OI, gram_II, unit_of_I, bias = reader
        if not bool(torch.isfinite(gram_II).all()):
            raise InputError(
                f"layer {place.reader.name!r}: what it reads holds NaN or infinite values; check the model, its type "
                "and its data"
            )
        found, keep = self._chosen(model, place, reader, gone)
        stay_I = columns_of(keep, unit_of_I)
        masked = w_OI * stay_I
        if self.refit and self.by != SURGEON:
            found, _ = refit(w_OI, gram_II, keep=stay_I)
        found = found if self.refit else masked
        errors = [
            max(0.0, output_error(each, w_OI, gram_II)) for each in (masked, found)
        ]  # of 0, rounding may leave less
        layer, before = place.reader.layers[0], place.reader.tensor.detach()
        weight = shaped(layer, found[:, :-1] if bias else found, before)
        return Solved(keep.cpu(), weight, found[:, -1] if bias else None, *errors)

    def _chosen(self, model: nn.Module, place: Place, reader: Reader, gone: int) -> tuple[Tensor, Tensor]:
        """Which units stay; and the weights, if the surgeon chose, as it solves for them."""
        w_OI, gram_II, unit_of_I, _ = reader
        units = place.site.units
        if self.by == SURGEON:
            return surgeon(w_OI, gram_II, sparsity=gone / units, unit_of_I=unit_of_I, at_once=max(1, units // STEPS))
        size = _sizes(model, place) if self.by == MAGNITUDE else outputs_of_units(w_OI, gram_II, unit_of_I)
        sizes = size.to(w_OI.device)
        keep: Keep = select.by_count({"": sizes}, {"": units - gone})
        return w_OI, keep[""]

    def _reader(self, place: Place, sums: Mapping[str, Tensor]) -> Reader:
        layer, weight = place.reader.layers[0], place.reader.tensor.detach()
        w_OI, gram_II, bias = matrix(layer, weight), sums[gram], getattr(layer, "bias", None)
        if not self.refit or bias is None:
            return Reader(w_OI, gram_II, place.unit_of_I, False)
        s_I1, n_11 = sums[input_sum][:, None].to(gram_II), sums[count].to(gram_II).view(1, 1)
        more = torch.cat([torch.cat([gram_II, s_I1], 1), torch.cat([s_I1.T, n_11], 1)])
        beside = torch.cat([w_OI, bias.detach()[:, None].to(w_OI)], 1)
        return Reader(beside, more, torch.cat([place.unit_of_I, torch.tensor([-1])]), True)


def _sizes(model: nn.Module, place: Place) -> Tensor:
    """The sum of squares of all weights that touch a unit: of a group, as it is called."""
    tensors = {slot.tensor for slot in place.site.slots}
    squares = {name: p.detach().cpu().double().square() for name, p in model.named_parameters() if name in tensors}
    return per_unit(squares, [place.site], touching="both")[place.name]
