"""Networks for files: one that shares few values, one with all that a state_dict can have."""

import torch
from torch import nn


def plain() -> nn.Sequential:
    """20-30-10, one layer of which is pruned and shares 8 values."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
    with torch.no_grad():
        shared = torch.linspace(-1, 1, 8)[torch.randint(8, (30, 20))]
        model[0].weight.copy_(shared.masked_fill_(torch.rand(30, 20) > 0.2, 0))
    return model


class Tied(nn.Module):
    """Words that are also the output's; a norm with running statistics; numbers that are not in the state_dict."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.conv = nn.Conv2d(2, 3, 3, dtype=torch.bfloat16)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 9)
        self.out.weight = self.words.weight
        self.register_buffer("table", torch.arange(5), persistent=False)


MAKE = {"plain": plain, "Tied": Tied}
