"""Nuclear norm: training that is drawn towards low rank, by shrinking the singular values of all hidden weights.

    σ_i <- max(σ_i - steps * learning rate * strength * a_i, 0),    a_i = 1, or weighted: 1 / (σ_i + ε)

Paper: Cai, Candès & Shen, "A singular value thresholding algorithm for matrix completion", 2010, theorem 2.1; weights:
Gu et al., "Weighted nuclear norm minimization with application to image denoising", 2014. Ganguli & Chong 2024,
equation 4, say that activation-based pruning is equivalent to a penalty of this kind: here it is, itself.
Differs: one step of `every` times the size after `every` updates instead of one after each (every=1), which a
decomposition costs too much for; one more at each epoch's end, for the updates since the last, so that what is measured
there has just been shrunk. a_i is fixed during a step. Momentum, if any, is the loss's alone.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.methods.parts import phases
from sapwood.reconstruction.factors import shrunk
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import matrix, shaped
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@declares()
def nuclear(
    run: Run,
    *,
    strength: float = 0.003,
    weighted: bool = False,
    epsilon: float = 0.1,
    every: int = 100,
    epochs: int = 40,
    target: float = 0.98,
    stop: str = "epochs",
) -> Iterator[Moment]:
    """Trains with `strength` times the (weighted) nuclear norm of each hidden weight as a penalty.

    With every=100 and a learning rate of 0.01, `strength` is what each σ_i loses each time. Nothing is masked.
    """
    _refuse_bad(strength=strength, epsilon=epsilon, every=every)
    layers, ended = chosen(run.model, run.hidden()), phases.ending(target=target, stop=stop, goal=run.task.goal)
    for now in train(run, epochs=epochs, acts=lambda step: _since_last(run, step, every) == every):
        steps = _since_last(run, now.step, every)
        if steps == every or now.ends_epoch:
            size = steps * run.optimizer.param_groups[0]["lr"] * strength
            for layer in layers.values():
                w = layer.weight.detach()
                shrink_(w_OI := matrix(layer, w), size, epsilon if weighted else None)
                w.copy_(shaped(layer, w_OI, w))
        over = ended(run, now)
        yield now
        if over:
            return


def shrink_(w: Tensor, size: float, epsilon: float | None) -> None:
    """Every singular value of w (flattened to [O, I * kernel positions]) loses `size`, or `size` / (σ_i + epsilon)."""
    w_OI = w.flatten(1)
    by = size if epsilon is None else size / (torch.linalg.svdvals(w_OI) + epsilon)
    w.copy_(shrunk(w_OI, by).view_as(w))


def _since_last(run: Run, step: int, every: int) -> int:
    """Updates made since the last shrinking; counted within each epoch."""
    within = (step - 1) % run.task.steps_per_epoch + 1
    return within % every or every


def _refuse_bad(*, strength: float, epsilon: float, every: int) -> None:
    if strength < 0:
        raise InputError(f"strength is {strength}; give a factor of the penalty of 0 or more")
    if epsilon <= 0:
        raise InputError(f"epsilon is {epsilon}; give what is added to singular values before dividing, above 0")
    if every < 1:
        raise InputError(f"every is {every}; give the updates from one shrinking to the next, at least 1")
