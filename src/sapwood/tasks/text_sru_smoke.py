"""text_sru_smoke: text_sru with a network of 15,488 numbers on 5,000 bytes, to see in seconds whether a study runs.

Windows of 4 bytes, batches of 32 of them (40 steps an epoch), windows of 64 for the first 1,000 bytes of each other
part. Its numbers say nothing about any paper.
"""

from dataclasses import replace
from functools import partial

from sapwood.models.sru import sru
from sapwood.tasks.text_sru import text_sru, windows
from sapwood.training.task import Task


def text_sru_smoke() -> Task:
    """The same language model, tiny, on little text."""
    data = windows(5_000, 1_000, length=4, longer=64)
    model = partial(sru, features=16, width=24, rank=16)
    return replace(text_sru(), name="text_sru_smoke", model=model, data=data)
