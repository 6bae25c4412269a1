"""One pass over units: what `sapwood.one_shot_units` takes out of a network, as a method, so that studies can compare.

    heads and widths, block by block, each on what the smaller blocks before it give for `samples` training samples

Paper: none; `sapwood.one_shot_units` names those of its rules.
Differs: nothing known from `one_shot_units`, on training samples drawn by the run's seed.
"""

from collections.abc import Iterator
from typing import Any

from sapwood.errors import InputError
from sapwood.export.unit_rules import UnitRule
from sapwood.export.units_by_block import going
from sapwood.methods.one_pass import calibration, errors
from sapwood.methods.parts.phases import tuned
from sapwood.shrinking.finding import sites
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@declares("rebuilds", "solves")
def one_pass_units(
    run: Run, *, sparsity: float = 0.2, by: str = "outputs", refit: bool = True, uniform: bool = True,
    multiple: int = 8, samples: int = 128, epochs: int = 0, tune: int = 0, rate: float = 0.01,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, takes units out in one pass, trains on for `tune` epochs at `rate` times the learning rate.

    `sparsity` is the fraction removed of the weights in the blocks. `by`, `refit`, `uniform` and `multiple` are those
    of `one_shot_units`, which looks at `samples` training samples. Noted: `blocks_removed`, that fraction as it came
    out; the relative squared errors of the outputs of layers that read units, `error_1` onwards, `error_mean` and
    `error_worst`; and `masked_mean`, with the units gone and nothing else changed.
    """
    if samples < 1 or rate < 0:
        raise InputError(f"{samples=}, {rate=}: need at least one sample, and a factor of 0 or more")
    asked = UnitRule(sparsity, by, refit, uniform, multiple)
    yield from train(run, epochs=epochs)
    anatomy = run.apart.several

    def solved() -> dict[str, Any]:
        found = going(anatomy, calibration(run, samples), asked)
        found.run_()
        return {"keep": found.keep, "notes": errors(found) | {"blocks_removed": found.sparsity}}

    found = run.remember("pass", solved)
    run.shrink(found["keep"], sites(anatomy))
    run.note(**found["notes"])
    yield from tuned(run, epochs=tune, rate=rate)
