"""Unstructured magnitude: of all weights of the convolutions together, the smallest go at once, and the rest is tuned.

    w <- 0 where |w| is among the floor(sparsity * n) smallest of n;      the network is not made smaller

Paper: Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", arXiv:1506.02626,
NeurIPS 2015, in the form and with the defaults of Liu, Sun, Zhou, Huang, Darrell, "Rethinking the value of network
pruning", arXiv:1810.05270, ICLR 2019, for CIFAR-10: one threshold, dense layers untouched.
Differs: masks are kept, so that a weight that becomes 0 by itself trains on; where a network has no convolutions, its
hidden layers are pruned.
"""

from collections.abc import Iterator

from torch import nn

from sapwood.criteria import CRITERIA
from sapwood.errors import InputError
from sapwood.methods.parts.phases import tuned
from sapwood.scoring.criterion import score
from sapwood.scoring.layers import chosen
from sapwood.selection import select
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, at_ends, train
from sapwood.training.run import Run

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@declares("masks")
def unstructured_magnitude(
    run: Run, *, sparsity: float = 0.3, dense: bool = False, epochs: int = 160, tune: int = 40, rate: float = 0.01,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, prunes once, trains on for `tune` epochs at `rate` times the learning rate, masks in force.

    `sparsity` is the share of the convolutions' weights that goes; with `dense` all layers are ranked together. The
    optimiser begins anew. Noted beside the accuracy right after pruning: layers that are left empty, `emptied`.
    """
    if not 0 <= sparsity < 1 or rate < 0:
        raise InputError(f"{sparsity=}, {rate=}: need a share in [0, 1) and a factor of 0 or more")
    every = chosen(run.model, None)
    convolutions = [name for name, layer in every.items() if isinstance(layer, CONVOLUTIONS)]
    layers = list(every) if dense else convolutions or run.hidden()
    yield from train(run, epochs=epochs, acts=at_ends)
    masks = run.remember("masks", lambda: smallest(run, layers, sparsity))
    run.become(run.model)
    run.prune(masks)
    run.note(emptied=sum(not bool(keep.any()) for keep in masks.values()))
    yield from tuned(run, epochs=tune, rate=rate)


def smallest(run: Run, layers: list[str], sparsity: float) -> select.Keep:
    """Masks without floor(sparsity * weights) of the layers' weights."""
    scores = score(run.model, CRITERIA["magnitude"], only=layers)
    return select.drop(scores, int(sparsity * sum(s.numel() for s in scores.values())))
