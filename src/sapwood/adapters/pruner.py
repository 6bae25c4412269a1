"""Pruner: what a user of an adapter asks for."""

from collections.abc import Collection
from typing import Self

from sapwood.adapters.chosen import Wish, wished
from sapwood.adapters.due import Amount, At, due
from sapwood.adapters.life import Life
from sapwood.errors import InputError
from sapwood.export.worth import NORM
from sapwood.measure.example import Example
from sapwood.scoring.criterion import Criterion


class Pruner(Life):
    """Prunes the model that a trainer trains, holds what was removed at 0, and makes the model smaller in the end.

    Give one amount. `sparsity` is the share of single weights that is removed; `macs` or `parameters` is what may be
    left when whole units are removed, as a share or a number, as for `sapwood.prune`. It is reached after `at` epochs;
    of several, each removes the same fraction of what is left. {epochs: amount}, or a function of the epochs that are
    over, such as `schedule.linear` gives, says it step by step. What was removed stays removed.

    `by` is a criterion or its name. Left out, weights go by their size, and units as `sapwood.prune` removes them.
    A criterion that needs statistics observes the epoch before each pruning. `scope` says who competes: "per_layer",
    "everywhere", "er", "erk". `only` names the layers to prune (else all but the output), `keep` modules and parameters
    that stay whole; `multiple` and `uniform` are those of `sapwood.prune`. With `shrink` what was removed is cut out of
    the model at the end of training, in place, proven equal on `example`: what the model is called with, a tensor, a
    tuple of arguments or a dict of keywords.

    `masks` and `units` say what stays. `release()`, or a `with` block around the training, frees a model whose
    training was broken off.
    """

    def __init__(
        self,
        sparsity: Amount | None = None,
        *,
        macs: Amount | None = None,
        parameters: Amount | None = None,
        at: At | None = None,
        by: str | Criterion | None = None,
        scope: str = "per_layer",
        only: Collection[str] | None = None,
        keep: Collection[str] = (),
        multiple: int = 8,
        uniform: bool = False,
        shrink: bool = False,
        example: Example | None = None,
    ) -> None:
        wanted = due(at, {"sparsity": sparsity, "macs": macs, "parameters": parameters})
        criterion = wished("magnitude" if by is None else by, scope)
        of_units = NORM if by is None else criterion
        wish = Wish(criterion, of_units, scope, only, keep, multiple, uniform, example)
        if wanted.whole_units and example is None:
            raise InputError(
                f"{wanted.kind}= removes whole units, which are found by a call of the model; give example="
            )
        if shrink and example is None:
            raise InputError("shrink=True proves that the smaller model computes the same; give example=")
        if wish.by.needs and wanted.last is not None and wanted.amount(0) is not None:
            raise InputError(f"by={by!r} needs to see an epoch of training first; set at=1 or later")
        super().__init__(wanted, wish, shrink)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()
