"""A recurrent network of few numbers that reads a rhyme: what methods for language models are tried on."""

from functools import partial

import torch
from torch.optim import Adam

from sapwood.models.sru import first_weights, going_on, sru
from sapwood.training.goal import BITS
from sapwood.training.task import Data, Task
from sapwood.training.windows import Windows, next_token_bits, next_token_loss, tokens

RHYME = "the cat sat on the mat, the rat sat on the cat, and that was that. "
SMALL = {"symbols": 128, "features": 6, "width": 8, "rank": 4, "layers": 3}


def recurrent_task(length=3, lr=0.02):
    """Windows of three bytes in batches of 16, four steps an epoch, in float64."""
    numbers = torch.tensor([ord(letter) for letter in (RHYME * 3)[:188]], dtype=torch.uint8)
    parts = Windows(numbers, length), *(Windows(part, 2 * length) for part in (numbers[:40], numbers[30:70]))
    return Task(
        "recurrent", partial(sru, **SMALL, dtype=torch.float64), Data(*parts), partial(Adam, lr=lr), 16,
        loss=next_token_loss, metrics=next_token_bits, count=tokens, goal=BITS,
        carry=going_on, fresh=first_weights,
    )  # fmt: skip
