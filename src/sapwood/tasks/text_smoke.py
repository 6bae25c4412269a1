"""text_smoke: text on a fiftieth of its data, to see in a minute whether a study of a language model runs at all.

The first 200,000 bytes train (3,125 windows, 98 steps an epoch), the first 20,000 of each other part validate and test.
Its numbers say nothing about any paper.
"""

from dataclasses import replace

from sapwood.task import Task
from sapwood.tasks.text import text, windows


def text_smoke() -> Task:
    """The same language model on little text."""
    return replace(text(), name="text_smoke", data=windows(train=200_000, others=20_000))
