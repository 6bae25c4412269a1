"""Scope: who competes with whom when a share of the weights goes; one way of calling `select`, by name."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapwood.errors import refuse_unless
from sapwood.selection import allocate, select

SCOPES = ("everywhere", "per_layer", "er", "erk")


def selected(
    scores: Mapping[str, Tensor], sparsity: float, scope: str, *, among: Mapping[str, Tensor] | None = None
) -> select.Keep:
    """What stays of `scores` when the share `sparsity` of all of them has gone, lowest first.

    scope: one ranking over all ("everywhere"), or each layer alone: all to the same sparsity ("per_layer"), or to
    densities that its shape gives it ("er", "erk"; see `allocate`). What `among` has removed counts and stays removed.
    """
    refuse_unless("scope", scope, SCOPES)
    if scope == "everywhere":
        return select.everywhere(scores, sparsity, among=among)
    if scope == "per_layer":
        return select.per_layer(scores, sparsity, among=among)
    counts = allocate.counts(scores, allocate.named(scope)(scores, 1 - sparsity))
    return {name: _to_count(name, s, counts[name], among or {}) for name, s in scores.items()}


def _to_count(name: str, scores: Tensor, count: int, among: Mapping[str, Tensor]) -> Tensor:
    """The `count` highest of what is left stay."""
    mine = {name: among[name]} if name in among else None
    left = int(torch.count_nonzero(among[name])) if mine else scores.numel()
    return select.drop({name: scores}, max(0, left - count), among=mine)[name]
