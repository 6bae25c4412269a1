"""Variational dropout: noise of its own on every weight, learned; weights that drown in theirs are taken out.

    loss = mean cross-entropy + r(t) Σ KL(α) / N, N training samples (the paper's sum over them, divided by N)
    r rises from 0 at epoch `begin` to `strength` at epoch `end`; weights with log α >= threshold go

Paper: Molchanov, Ashukha, Vetrov, "Variational dropout sparsifies deep neural networks", arXiv:1701.05369, ICML 2017.
The formulas are in `gates.variational_dropout`. Defaults: the authors' LeNet-300-100 (their LeNet-5: `decay` 0).
Differs: batch size and initial weights are the task's; r and the learning rate change by step, not by epoch.
`sparsity`, `strength` and `tune`, not in the paper, put it on a curve; the threshold alone decides with `sparsity` 0.
"""

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn
from torch.optim import Adam

from sapwood import masks, select
from sapwood.errors import InputError
from sapwood.gates import VariationalDropout, WeightGated
from sapwood.observe import chosen
from sapwood.run import Run
from sapwood.task import Batch
from sapwood.train import Moment, train


def variational_dropout(
    run: Run,
    *,
    sparsity: float = 0.0,
    threshold: float = 3.0,
    strength: float = 1.0,
    begin: float = 5.0,
    end: float = 20.0,
    log_sigma2: float = -10.0,
    clipped: bool = True,
    output: bool = True,
    lr: float = 1e-3,
    decay: float = 0.5,
    epochs: int = 200,
    tune: int = 0,
) -> Iterator[Moment]:
    """Trains weights and variances by Adam for `epochs`, prunes once, trains on under the masks for `tune` epochs.

    The learning rate falls linearly to 0 from the share `decay` of the epochs on, unless the task has a course for it;
    tuning is by the task's optimiser. With `sparsity`, exactly that share of all weights goes, the highest log α first.
    """
    if not 0 <= begin <= end <= epochs or not 0 <= decay <= 1:
        raise InputError(f"begin={begin}, end={end}, epochs={epochs}, decay={decay}: need 0 <= begin <= end <= epochs "
                         "and decay in [0, 1]")  # fmt: skip
    if not strength >= 0 or not lr > 0 or not 0 <= sparsity < 1:
        raise InputError(f"strength={strength}, lr={lr}, sparsity={sparsity}: need 0 or more, above 0, and in [0, 1)")
    made = partial(VariationalDropout, log_sigma2=log_sigma2, threshold=threshold, clipped=clipped)
    layers = chosen(run.model, None if output else run.hidden())
    gated = WeightGated(run.model, {name: made(layer.weight) for name, layer in layers.items()})
    per_epoch, samples = run.task.steps_per_epoch, len(run.task.data.train)

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        weight = strength * _risen(run.step - run.begun, begin * per_epoch, end * per_epoch)
        return run.task.loss(model, batch, outputs) + (weight / samples * gated.penalty() if weight else 0)

    run.become(gated, Adam(gated.parameters(), lr=lr, fused=True))
    run.loss = loss
    for now in train(run, epochs=epochs):
        for group in run.optimizer.param_groups:
            group["lr"] = lr * (1 - _risen(run.step - run.begun, decay * epochs * per_epoch, epochs * per_epoch))
        yield now
    keep = gated.keep()
    run.note(sparsity_by_threshold=masks.sparsity(keep))
    if sparsity:
        keep = select.everywhere(gated.scores(), sparsity)
    run.become(gated.model)
    run.loss = run.task.loss
    run.prune(keep)
    yield from train(run, epochs=tune)


def _risen(step: float, begin: float, end: float) -> float:
    """0 until `begin`, 1 from `end` on, straight in between."""
    return float(step >= end) if begin == end else min(max((step - begin) / (end - begin), 0.0), 1.0)
