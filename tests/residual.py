"""A residual network and a task so small that every step of a life can be looked at."""

from functools import partial

from torch import nn
from torch.optim import SGD

from sapwood import Data, Task
from sapwood.checks.tiny import CLASSES, INPUTS, tiny_samples


class Block(nn.Module):
    """A residual block whose last is a norm, and a ReLU behind the sum."""

    def __init__(self, width=6):
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(width, 5), nn.BatchNorm1d(5)
        self.fc2, self.bn2 = nn.Linear(5, width), nn.BatchNorm1d(width)

    def forward(self, x):
        return (x + self.bn2(self.fc2(self.bn1(self.fc1(x)).relu()))).relu()


class Residual(nn.Module):
    """A first layer, blocks, a last layer; float64."""

    def __init__(self, blocks=2):
        super().__init__()
        self.stem, self.blocks = nn.Linear(INPUTS, 6), nn.Sequential(*(Block() for _ in range(blocks)))
        self.head = nn.Linear(6, CLASSES)
        self.double()

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def residual_task(blocks=2, batch_size=16, **recipe):
    """48 samples whose class is the largest of three numbers; 3 steps an epoch."""
    data = Data(tiny_samples(), tiny_samples(16, seed=1), tiny_samples(16, seed=2))
    optimizer = partial(SGD, **({"lr": 0.1, "momentum": 0.9} | recipe))
    return Task("residual", partial(Residual, blocks), data, optimizer, batch_size=batch_size, classes=CLASSES)
