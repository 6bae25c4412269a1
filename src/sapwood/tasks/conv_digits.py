"""conv_digits: a convolutional network with batch norms on scikit-learn's digits; needs no files.

Three convolutions of 16, 32 and 32 channels on 8 x 8 pixels (15,418 parameters, 121,088 multiply-adds an image). Data
and recipe of mlp_digits: SGD with learning rate 0.1, batches of 16, 73 steps an epoch. Made for tests and examples of
methods that take channels out; no paper uses it.
"""

from functools import partial

from torch.optim import SGD

from sapwood.data import digits
from sapwood.models.conv import conv
from sapwood.models.initial import glorot
from sapwood.task import Task
from sapwood.tasks.split import split


def conv_digits() -> Task:
    """Channels with scales of their own, on tiny images."""
    return Task(
        "conv_digits",
        model=partial(conv, 1, 16, 32, 32, side=8, classes=10, norms=True),
        data=split(digits.load(), valid=288, white=16, flat=False),
        optimizer=partial(SGD, lr=0.1),
        batch_size=16,
        classes=10,
        fresh=glorot,
    )
