"""Removal: how many weights of each layer are removed, by which rule, and whether the others are refitted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sapwood.criteria import CRITERIA
from sapwood.errors import InputError, refuse_unless, unknown
from sapwood.export.trunk import Trunk
from sapwood.reconstruction.columnwise import sparsegpt
from sapwood.reconstruction.refitting import refit
from sapwood.scoring.layout import matrix
from sapwood.scoring.statistics import input_square
from sapwood.selection import select

RULES = ("wanda", "sparsegpt", "magnitude")
RATIOS = ("uniform", "owl")
COLUMNS = 128  # from which SparseGPT chooses together
Ratios = str | Mapping[str, float]


@dataclass(frozen=True)
class Removal:
    """What is asked for, known to make sense."""

    by: str
    sparsity: float  # of all weights; of a pattern, what it removes
    pattern: tuple[int, int] | None
    ratios: Ratios
    refit: bool

    def __str__(self) -> str:
        amount = (
            f"{100 * self.sparsity:g} %" if self.pattern is None else f"{self.pattern[0]} of {self.pattern[1]} kept"
        )
        shared = "" if self.ratios == "uniform" else ", ratios by outliers" if self.ratios == "owl" else ", own ratios"
        return f"{self.by}, {amount}{shared}{', refitted' * self.refit}"

    def solved(self, w_OI: Tensor, gram_II: Tensor, sparsity: float) -> tuple[Tensor, Tensor]:
        """The new weights of a layer with this Gram matrix, and keep, bool [O, I]."""
        if self.by == "sparsegpt":
            block = COLUMNS if self.pattern is None else max(1, COLUMNS // self.pattern[1]) * self.pattern[1]
            found, keep = sparsegpt(w_OI, gram_II, sparsity=sparsity, pattern=self.pattern, block=block)
        else:
            keep = self._kept(w_OI, gram_II, sparsity)
            found = torch.where(keep, w_OI, 0)
        return refit(w_OI, gram_II, keep=keep) if self.refit else (found, keep)

    def _kept(self, w_OI: Tensor, gram_II: Tensor, sparsity: float) -> Tensor:
        scores = {"": CRITERIA[self.by].score(w_OI, {input_square: gram_II.diagonal()})}
        if self.pattern is not None:
            return select.n_of_m(scores, *self.pattern)[""]
        return (select.per_row if self.by == "wanda" else select.everywhere)(scores, sparsity)[""]


def removal_of(
    sparsity: float | None, pattern: str | None, by: str, ratios: Ratios, refit: bool, trunk: Trunk
) -> Removal:
    """What was asked for; InputError where it makes no sense, or does not fit the layers."""
    refuse_unless("by", by, RULES)
    own = isinstance(ratios, Mapping)
    if sum(each is not None for each in (sparsity, pattern)) + own != 1:
        raise InputError(
            f"sparsity is {sparsity!r}, pattern {pattern!r}{', ratios a dict' * own}; give one of sparsity=0.5, "
            "pattern='2:4' and ratios={block: sparsity}"
        )
    if isinstance(ratios, Mapping):
        return Removal(by, _of_all(ratios, trunk), None, ratios, refit)
    refuse_unless("ratios", ratios, RATIOS)
    if pattern is not None:
        return Removal(by, *_patterned(pattern, ratios, trunk), ratios, refit)
    return Removal(by, _share("sparsity", sparsity), None, ratios, refit)


def _share(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 or math.isnan(value):
        raise InputError(f"{what} is {value!r}; it is the fraction removed and must lie in [0, 1)")
    return float(value)


def _of_all(ratios: Mapping[str, float], trunk: Trunk) -> float:
    """The sparsity of all blocks together."""
    sizes = trunk.sizes
    for name, value in ratios.items():
        if name not in sizes:
            raise unknown("block in ratios", name, sizes)
        _share(f"the ratio of {name!r}", value)
    if missing := [name for name in sizes if name not in ratios]:
        raise InputError(f"block {missing[0]!r} has no ratio; give one for each of the {len(sizes)} blocks")
    return sum(ratios[name] * size for name, size in sizes.items()) / sum(sizes.values())


def _patterned(pattern: str, ratios: str, trunk: Trunk) -> tuple[float, tuple[int, int]]:
    kept, colon, of = pattern.partition(":")
    if not colon or not kept.isdigit() or not of.isdigit() or not 1 <= int(kept) <= int(of):
        raise InputError(f"pattern is {pattern!r}; give how many of how many are kept, as in '2:4' or '4:8'")
    n, m = int(kept), int(of)
    if ratios != "uniform":
        raise InputError(f"ratios is {ratios!r} and pattern {pattern!r}: a pattern removes the same of every layer")
    for each in (each for name in trunk.pruned for each in trunk.inside[name]):
        inputs = matrix(each.layer, each.tensor).shape[1]
        if inputs % m:
            raise InputError(
                f"layer {each.name!r} has {inputs} inputs, no multiple of {m}; leave it out by only=[...], or give "
                "another pattern"
            )
    return 1 - n / m, (n, m)
