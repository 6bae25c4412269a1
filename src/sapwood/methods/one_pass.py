"""One pass: what `sapwood.one_shot` removes from a network, as a method, so that studies can compare its rules.

    block by block, each on what the pruned blocks before it give for `samples` training samples

Paper: none; `sapwood.one_shot` names those of its rules.
Differs: nothing known from `one_shot`, on training samples drawn by the run's seed.
"""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

import torch

from sapwood.errors import InputError
from sapwood.export.block_by_block import one_shot
from sapwood.export.shot import OneShot
from sapwood.export.units_by_block import Going
from sapwood.methods.parts.phases import tuned
from sapwood.training.declared import declares
from sapwood.training.draws import luck
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@declares("masks")
def one_pass(
    run: Run, *, sparsity: float = 0.5, pattern: str = "", by: str = "wanda", ratios: str = "uniform",
    refit: bool = False, samples: int = 128, epochs: int = 0, tune: int = 0, rate: float = 0.01,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, prunes in one pass, trains on for `tune` epochs at `rate` times the learning rate.

    `sparsity` is the fraction removed of each layer; `pattern`, as in "2:4", says it in its place. `by`, `ratios` and
    `refit` are those of `one_shot`, which looks at `samples` training samples. Noted: the relative squared errors of
    the layers' outputs on these, `error_1` onwards in the order of the layers, `error_mean` and `error_worst`; and
    `masked_mean`, with the weights that are kept as they were.
    """
    if samples < 1 or rate < 0:
        raise InputError(f"{samples=}, {rate=}: need at least one sample, and a factor of 0 or more")
    amount: dict[str, Any] = {"pattern": pattern} if pattern else {"sparsity": sparsity}
    yield from train(run, epochs=epochs)

    def passed() -> dict[str, Any]:
        shot = one_shot(run.model, calibration(run, samples), by=by, ratios=ratios, refit=refit, **amount)
        return {"masks": shot.masks, "notes": errors(shot)}

    found = run.remember("pass", passed)
    run.become(run.model)
    run.prune(found["masks"])
    run.note(**found["notes"])
    yield from tuned(run, epochs=tune, rate=rate)


def calibration(run: Run, samples: int) -> list[torch.Tensor]:
    """The inputs of so many training samples, or of all if there are no more, as many at once as in an evaluation."""
    split = run.task.data.train
    order = torch.randperm(len(split), generator=luck(run.seed, "one_pass"))[:samples]
    return [split.take(index.to(run.device)).inputs for index in torch.split(order, run.task.at_once)]


def errors(shot: OneShot | Going) -> dict[str, float]:
    """What the pass did to the layers' outputs, in numbers with names."""
    each = [layer.error for layer in shot.layers]
    named = {f"error_{number}": error for number, error in enumerate(each, start=1)}
    masked = fmean(layer.masked for layer in shot.layers)
    return named | {"error_mean": fmean(each), "error_worst": max(each), "masked_mean": masked}
