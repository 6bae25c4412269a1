"""Networks as a user's own module has them: another process imports this file and builds them again."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn


def image(count=2):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 36, 5),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 10, 1), nn.Conv2d(10, 6, 1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.head(F.relu(x + self.norm(self.b(F.relu(self.a(x))))).mean((2, 3)))


class Attention(nn.Module):
    """Torch's own attention, which has another class when it has lost heads."""

    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 4, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x + self.attention(x, x, x, need_weights=False)[0])


@dataclass(frozen=True)
class Sizes:
    inner: int
    name: str = "sizes"


class Tied(nn.Module):
    """One matrix read twice, a table that state_dict leaves out, and numbers on itself and on a shared config."""

    def __init__(self, inner=6):
        super().__init__()
        self.config = SimpleNamespace(width=inner, parts=(2, inner // 2), deeper=Sizes(inner))
        self.width, self.frozen = inner, nn.Parameter(torch.ones(4), requires_grad=False)
        self.words, self.out = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.out.weight = self.words.weight
        self.one, self.two = Block(self.config), Block(self.config)
        self.register_buffer("table", torch.arange(4.0), persistent=False)

    def forward(self, x):
        return self.out(self.two(self.one((self.words(x) + self.table) * self.frozen)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.up, self.down = config, nn.Linear(4, config.width), nn.Linear(config.width, 4)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).view(*x.shape[:-1], self.config.deeper.inner))


MAKE = {"plain": plain, "Residual": Residual, "Tied": Tied, "Attention": Attention}
EXAMPLE = {"plain": image(), "Residual": image(), "Tied": torch.tensor([[1, 2, 3]]),
           "Attention": image().flatten(2)[:, :, :8]}  # fmt: skip
