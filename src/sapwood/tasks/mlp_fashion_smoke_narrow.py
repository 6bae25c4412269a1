"""mlp_fashion_smoke_narrow: mlp_fashion_narrow's network on the data and with the recipe of mlp_fashion_smoke.

For the smallest scale of a study that compares the two widths. Its numbers say nothing about any paper.
"""

from dataclasses import replace
from functools import partial

from sapwood.models.mlp import mlp
from sapwood.tasks.mlp_fashion_narrow import WIDTHS
from sapwood.tasks.mlp_fashion_smoke import mlp_fashion_smoke
from sapwood.training.task import Task


def mlp_fashion_smoke_narrow() -> Task:
    """The narrower network on little data."""
    return replace(mlp_fashion_smoke(), name="mlp_fashion_smoke_narrow", model=partial(mlp, *WIDTHS))
