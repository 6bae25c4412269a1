"""Sparse training: never more weights than in the end; the smallest give way to others while training goes on.

    every `every` steps until step T: in each layer k = floor(f(t) * kept) of the lowest |w| go and k come,
    f(t) = first / 2 (1 + cos(pi t / T)); the new ones begin at 0, where |dL/dw| is largest or anywhere

`grow` "gradient" is Evci, Gale, Menick, Castro, Elsen, "Rigging the lottery", arXiv:1911.11134, ICML 2020, algorithm 1
(RigL); "random" is the same with new weights anywhere, as SET is there: Mocanu et al., arXiv:1707.04780, 2018; "none"
leaves the first masks as they are (static). The first masks are drawn at random, at densities by `allocation`.
Differs: weights move after an optimiser step and by that step's gradient, not instead of a step; SET's own share is
constant, of positive and negative weights separately, once an epoch. Biases stay.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from sapwood.errors import InputError, refuse_unless
from sapwood.scoring.layers import chosen
from sapwood.selection import allocate, schedule, select
from sapwood.selection.regrow import regrow
from sapwood.training.draws import luck
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


def sparse_training(
    run: Run,
    *,
    sparsity: float = 0.9,
    allocation: str = "erk",
    grow: str = "gradient",
    first: float = 0.3,
    every: int = 100,
    until: float = 0.75,
    output: bool = True,
    epochs: int = 40,
) -> Iterator[Moment]:
    """Trains with `sparsity` from before the first step; weights move until the share `until` of the training."""
    refuse_unless("grow", grow, ("gradient", "random", "none"))
    if every < 1 or not 0 <= until <= 1:
        raise InputError(f"every={every}, until={until}: give at least 1 step, and a share of the training in [0, 1]")
    weights = {f"{n}.weight": m.weight for n, m in chosen(run.model, None if output else run.hidden()).items()}
    densities = allocate.named(allocation)(weights, 1 - sparsity)
    run.prune(select.by_count(_luck(run, weights), allocate.counts(weights, densities)))
    last = round(until * epochs * run.task.steps_per_epoch)
    for now in train(run, epochs=epochs):
        if grow != "none" and run.step % every == 0 and run.step < last:
            sizes = {name: w.detach().abs() for name, w in weights.items()}
            come = _gradients(weights) if grow == "gradient" else _luck(run, weights)
            run.prune(regrow(run.masks, sizes, come, schedule.cosine_share(run.step, last, first)))
        yield now


def _luck(run: Run, weights: Mapping[str, Tensor]) -> select.Scores:
    """A number drawn for each weight: a function of seed and step."""
    drawn = luck(run.seed, "moving weights", run.step)
    return {name: torch.rand(w.shape, generator=drawn).to(w.device) for name, w in weights.items()}


def _gradients(weights: Mapping[str, Tensor]) -> select.Scores:
    """Of the last step, at removed weights too: their masks are put on them after the step, not in the forward pass."""
    return {name: w.grad.detach().abs() for name, w in weights.items() if w.grad is not None}
