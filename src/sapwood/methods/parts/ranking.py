"""Ranking: scores of units that methods cut by, and the samples that criteria look at."""

import torch

from sapwood.export.members import unit_scores as unit_scores
from sapwood.training.draws import luck
from sapwood.training.run import Run
from sapwood.training.task import Batch

AT_ONCE = 256  # samples in one pass


def drawn(run: Run, samples: int, what: str) -> list[Batch]:
    """So many training samples, or all if there are no more, in batches; for one purpose always the same."""
    split = run.task.data.train
    order = torch.randperm(len(split), generator=luck(run.seed, what))[:samples]
    return [split.take(index.to(run.device)) for index in torch.split(order, AT_ONCE)]
