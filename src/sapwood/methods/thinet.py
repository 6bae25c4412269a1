"""ThiNet: which channels a layer can lose is read off the layer behind it, whose outputs the others must make up for.

    x_c: what channel c adds to an output of the layer behind; y = sum of x_c, its output before the bias
    S = {}; add the c that lowers |y - sum over S of w_c x_c|² most; refit w; again.      W[:, c] <- w_c W[:, c]

Paper: Luo, Wu, Lin, "ThiNet: a filter level pruning method for deep neural network compression", arXiv:1707.06342, ICCV
2017 (rule "remove"); Luo et al., "ThiNet: pruning CNN filters for a thinner net", TPAMI 2018 (rule "keep").
Differs: all outputs and places of `samples` images count, through the Gram matrix, not a sample of them; a ridge of
1e-9 in place of a pseudo-inverse; dense layers by the same rule. Only units that one layer reads are pruned: in
residual networks those inside of blocks. Not in the papers: `macs` and `budget`.
"""

from collections.abc import Iterator
from functools import partial

import torch

from sapwood.errors import InputError
from sapwood.methods.parts import ranking
from sapwood.methods.parts.widths import Asked
from sapwood.reconstruction import thinet as solved
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import matrix, shaped
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import gram
from sapwood.shrinking.cutting.units import reading_layer, unit_of_columns
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.site import Site
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run
from sapwood.training.task import Batch


@declares("rebuilds", "solves")
def thinet(
    run: Run, *, kept: float = 0.5, spared: int = 0, rule: str = "keep", samples: int = 1000,
    epochs: int = 20, between: int = 1, recover: int = 10, rate: float = 0.1, macs: float = 0.0, budget: str = "",
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`; then, layer by layer from the inputs on, prunes and trains for `between`; `recover` at last.

    `kept` is the share of each layer's units that stay, rounded down, one at least; the last `spared` layers that could
    be pruned are left alone. `macs`, if not 0, asks for a share of the multiply-adds instead, `budget` for one of other
    quantities, as in "bytes=0.5": the same share of each layer then stays. After the first pruning it trains at `rate`
    times the learning rate.
    """
    if not 0 < kept <= 1 or spared < 0 or samples < 1 or rate < 0:
        raise InputError(f"{kept=}, {spared=}, {samples=}, {rate=}: give a share in (0, 1], 0 or more layers, at least "
                         "one sample, and a factor of 0 or more")  # fmt: skip
    found = [site for site in sites(run.apart.one) if reading_layer(run.model, site)]
    asked = Asked(found[: max(0, len(found) - spared)], 1 - kept, "", macs, "uniform", 1, budget)
    counts = asked.widths(run)
    yield from train(run, epochs=epochs)
    for name, count in counts.items():
        site = next(each for each in sites(run.apart.one) if each.name == name)
        keep = run.remember(f"keep {name}", partial(solve_, run, site, count, rule, samples))
        run.shrink({name: keep}, [site])
        factor = run.remember(f"rate {name}", lambda: rate)  # a run resumed here has its saved optimiser by now
        for group in run.optimizer.param_groups:
            group["lr"] *= factor
        yield from train(run, epochs=between)
    yield from train(run, epochs=recover)


def solve_(run: Run, site: Site, count: int, rule: str, samples: int) -> torch.Tensor:
    """Which `count` units stay, bool [units]; the layer that reads them gets its new weights."""
    name = reading_layer(run.model, site)
    (layer,), (slot, *_) = chosen(run.model, [name]).values(), site.at("reads")
    seen = observe(run.model, drawn(run, samples), gram, only=[name])[name]
    w_OI, keep = solved(matrix(layer, layer.weight), seen[gram], sparsity=1 - count / site.units, rule=rule,
                        unit_of_I=unit_of_columns(run.model, slot))  # fmt: skip
    layer.weight.detach().copy_(shaped(layer, w_OI, layer.weight))
    return keep


def drawn(run: Run, samples: int) -> list[Batch]:
    """Training samples, the same for every layer; all of them if there are no more."""
    return ranking.drawn(run, samples, "thinet")
