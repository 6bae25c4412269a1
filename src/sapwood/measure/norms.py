"""Recalibrate: the running statistics of batch norms, found anew for a network whose weights have changed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sapwood.errors import InputError
from sapwood.scoring import batches as batching
from sapwood.scoring.modes import eagerly
from sapwood.scoring.untouched import untouched


def recalibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the running mean and variance of every batch norm to the average over `batches`, in place.

    running = (1/B) sum_b (mean of batch b), and likewise for the variance (unbiased, as torch does it): all batches
    count alike, whatever the momentum. While it runs batch norms normalise by the batch, everything else is in
    evaluation mode, so that dropout adds no noise. Batches are what a DataLoader gives (see `observe`). Weights,
    momentum, modes and random numbers are left as they were; if anything fails, so are the statistics.
    *Paper:* Li et al. 2020 (EagleEye, arXiv 2007.02491) find statistics anew so ("adaptive batch normalization") to
    compare pruned networks before they are trained. *Differs:* there with the network's own momentum, over a part of
    the training data.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        raise InputError(f"{type(model).__name__} has no batch norm with running statistics; nothing to recalibrate")
    with untouched(model), eagerly(), _averaging(norms):
        for _, arguments in batching.each(model, batches, "recalibrate()"):
            arguments.call(model)
        names = {id(module): name for name, module in model.named_modules()}
        if unseen := [names[id(norm)] for norm in norms if not norm.num_batches_tracked]:
            raise InputError(
                f"batch norm {', '.join(map(repr, unseen))} saw no batch; it would forget what it has learned"
            )


@contextmanager
def _averaging(norms: list[_BatchNorm]) -> Iterator[None]:
    """Statistics start at nothing and average over all batches; on an error they are as they were."""
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        yield
    except BaseException:
        for buffer, value in before:
            buffer.copy_(value)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
