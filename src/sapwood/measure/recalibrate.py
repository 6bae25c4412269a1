"""Recalibrate: the running statistics of batch norms, found anew for a network whose weights have changed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sapwood.errors import InputError
from sapwood.measure.example import as_tuple, call
from sapwood.measure.untouched import untouched


def recalibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the running mean and variance of every batch norm to the average over `batches`, in place.

    running = (1/B) sum_b (mean of batch b), and likewise for the variance (unbiased, as torch does it): all batches
    count alike, whatever the momentum. While it runs batch norms normalise by the batch, everything else is in
    evaluation mode, so that dropout adds no noise. A batch is what the model is called with: a tensor, a tuple of
    arguments, a mapping of keyword arguments, or something with `.inputs`. Weights, momentum, modes and random numbers
    are left as they were; if anything fails, so are the statistics. *Paper:* Li et al. 2020 (EagleEye, arXiv
    2007.02491) find statistics anew so ("adaptive batch normalization") to compare pruned networks before they are
    trained. *Differs:* there with the network's own momentum, over a part of the training data.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        raise InputError(f"{type(model).__name__} has no batch norm with running statistics; nothing to recalibrate")
    with untouched(model), _averaging(norms):
        seen = 0
        for seen, batch in enumerate(batches, start=1):  # noqa: B007
            call(model, _inputs(batch))
        if not seen:
            raise InputError("recalibrate() was given no batches; give at least one (an exhausted generator is empty)")


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


def _inputs(batch: Any) -> tuple[Any, ...]:
    given = getattr(batch, "inputs", batch)  # before tuples: a Batch is one, of inputs and targets
    if not isinstance(given, tuple | Mapping | Tensor):
        raise InputError(
            f"a batch is a {type(batch).__name__}; give a tensor, a tuple of arguments, a mapping of keyword "
            "arguments, or something with .inputs"
        )
    if isinstance(given, Tensor) and (given.dim() == 0 or len(given) == 0):
        raise InputError(f"a batch has shape {tuple(given.shape)}; give at least one sample")
    return as_tuple(given)
