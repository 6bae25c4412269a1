"""L1 filters: once trained, the filters with the smallest sums of absolute weights go, and the rest is tuned.

    s_j = sum |w_j|;   of layer l, int(filters * (1 - ratio_l)) stay

Paper: Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient ConvNets", arXiv:1608.08710, ICLR 2017.
Defaults: Liu, Sun, Zhou, Huang, Darrell, "Rethinking the value of network pruning", arXiv:1810.05270, ICLR 2019, for
CIFAR-10. In residual networks the filters inside of blocks go.
Differs: scores do not depend on what goes elsewhere (the paper's independent way); a layer keeps one filter. Not in
the paper: other criteria, `macs`, and ratios that are read off a scan in place of being chosen by looking at it.
"""

from collections.abc import Iterator

from sapwood.criteria import UNIT_CRITERIA
from sapwood.currency import Keep
from sapwood.errors import InputError, picked
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.ranking import drawn, unit_scores
from sapwood.methods.parts.widths import Asked, removable
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@declares("rebuilds")
def l1_filters(
    run: Run, *, pruned: float = 0.5, ratios: str = "", macs: float = 0.0, allocation: str = "uniform",
    by: str = "l1", samples: int = 512, streams: bool = False, multiple: int = 1,
    epochs: int = 160, tune: int = 40, rate: float = 0.01, budget: str = "",
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, takes filters out at once, trains on for `tune` epochs at `rate` times the learning rate.

    `pruned` is the share of the filters that goes, of each layer ("uniform"), or of all in one ranking: by their scores
    ("everywhere"), or by what the goal loses when a layer alone loses as many ("sensitivity"). `macs`, if not 0, asks
    for a share of the multiply-adds instead; `budget` for one of them or of other quantities, as in "parameters=0.5",
    "bytes=0.5" or "ms=0.5", which is measured. `ratios` sets the layers' shares by hand, as in "layer1=0.6 layer1.7=0";
    what it does not name stays. `by`: a criterion of units, which may look at `samples`. Widths of layers that lose
    filters are multiples of `multiple`; `streams`: the filters of residual streams may go too.
    """
    if rate < 0:
        raise InputError(f"{rate=}: give a factor of 0 or more")
    picked("unit criterion", by, UNIT_CRITERIA)
    found = removable(run, streams)
    asked = Asked(found, pruned, ratios, macs, allocation, multiple, budget)
    yield from train(run, epochs=epochs)

    def chosen() -> Keep:
        return asked.keep(run, unit_scores(by, run.model, found, run.task, drawn(run, samples, "l1_filters")))

    run.shrink(chosen, found)
    yield from tuned(run, epochs=tune, rate=rate)
