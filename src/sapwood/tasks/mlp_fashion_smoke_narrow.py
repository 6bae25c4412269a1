"""mlp_fashion_smoke_narrow: mlp_fashion_narrow's network on the data and with the recipe of mlp_fashion_smoke.

For the smallest scale of a study that compares the two widths. Its numbers say nothing about any paper.
"""

from functools import partial

from torch.optim import SGD

from sapwood.data import fashion_mnist
from sapwood.models.mlp import mlp
from sapwood.task import Task
from sapwood.tasks.mlp_fashion_narrow import WIDTHS
from sapwood.tasks.split import first, split


def mlp_fashion_smoke_narrow() -> Task:
    """The narrower network on little data."""
    return Task(
        "mlp_fashion_smoke_narrow",
        model=partial(mlp, *WIDTHS),
        data=split(first(fashion_mnist.load(), train=6_000, test=1_000), valid=600),
        optimizer=partial(SGD, lr=0.1),
        batch_size=32,
        classes=10,
    )
