"""LASSO channels: a penalty on the scales of a layer's inputs says which it needs; least squares makes up for the rest.

    min over β of 1/2 |Y - sum of β_c X_c W_cᵀ|² + α |β|_1: the first α at which as many as stay are not 0
    then W, b = argmin |Y - X_S Wᵀ - b|²       X: what the layer reads, already pruned;  Y: what it gave in the original

Paper: He, Zhang, Sun, "Channel pruning for accelerating very deep neural networks", arXiv:1707.06168, ICCV 2017.
Defaults: as l1_filters.
Differs: β and W once, as the authors' code, which the paper alternates; all outputs and places of `samples` images, not
10 places each; batch norms are not merged, and a layer without a bias gets none; in residual networks only channels
inside of blocks go (no sampler), and Y is not corrected by what the shortcut has lost. Not in the paper: `macs`, widths
by other criteria, and `lasso=False`.
"""

from collections.abc import Iterator
from copy import deepcopy

from sapwood.criteria import UNIT_CRITERIA
from sapwood.currency import Keep
from sapwood.errors import InputError, picked
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.ranking import drawn, unit_scores
from sapwood.methods.parts.reconstructing import reconstruct_
from sapwood.methods.parts.widths import Asked
from sapwood.reconstruction.lasso import lars
from sapwood.shrinking.cutting.units import reading_layer
from sapwood.shrinking.finding import sites
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@declares("rebuilds", "solves")
def lasso_channels(
    run: Run, *, pruned: float = 0.5, ratios: str = "", macs: float = 0.0, allocation: str = "uniform",
    by: str = "l1", lasso: bool = True, samples: int = 1000, multiple: int = 1,
    epochs: int = 160, tune: int = 40, rate: float = 0.01, budget: str = "",
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, solves layer after layer from the inputs on, takes channels out, trains on for `tune`.

    Widths are those that l1_filters finds by the criterion `by` from `pruned`, `ratios`, `macs`, `budget`, `allocation`
    and `multiple`; which channels stay, LASSO says, or with lasso=False `by` itself, a control with the same least
    squares. Layers that lose nothing are left alone. Needs scikit-learn.
    """
    if rate < 0 or samples < 1:
        raise InputError(f"{rate=}, {samples=}: give a factor of 0 or more and at least one sample")
    picked("unit criterion", by, UNIT_CRITERIA)
    if lasso:
        lars()  # so that its absence is told before anything is trained
    found = tuple(site for site in sites(run.apart.several) if reading_layer(run.model, site))
    if not found:
        raise InputError(f"{type(run.model).__name__} has no units that one layer makes and one reads; l1_filters with "
                         "streams=True takes others")  # fmt: skip
    asked = Asked(found, pruned, ratios, macs, allocation, multiple, budget)
    yield from train(run, epochs=epochs)

    def chosen() -> Keep:
        batches, original = drawn(run, samples, "lasso_channels"), deepcopy(run.model)
        keep = dict(asked.keep(run, unit_scores(by, original, found, run.task, batches)))
        for site in found:
            if not keep[site.name].all():
                stay = keep[site.name]
                keep[site.name] = reconstruct_(run.model, original, site, batches, stay, lasso=lasso)
        return keep

    run.shrink(run.remember("keep", chosen), found)
    yield from tuned(run, epochs=tune, rate=rate)
