"""Budgets: the options with which a fully connected network has as many weights as a compression leaves."""

from dataclasses import dataclass
from itertools import pairwise


def sparsity(fold: float) -> float:
    """Sparsity of all weights at a compression: 1 / fold of them stay."""
    return 1 - 1 / fold


@dataclass(frozen=True)
class Connected:
    """A fully connected network by its widths, from the inputs to the outputs."""

    widths: tuple[int, ...]

    @property
    def hidden(self) -> int:
        """The weights of the hidden layers."""
        return sum(one * other for one, other in pairwise(self.widths[:-1]))

    @property
    def output(self) -> int:
        """The weights of the last layer."""
        return self.widths[-2] * self.widths[-1]

    @property
    def weights(self) -> int:
        """All weights, without biases."""
        return self.hidden + self.output

    def hidden_sparsity(self, fold: float) -> float:
        """Sparsity of the hidden layers at a compression, when the output layer keeps all that it has."""
        return 1 - (self.weights / fold - self.output) / self.hidden

    def each_round(self, fold: float, rounds: int) -> float:
        """The e that leaves 1 / fold of all: (1 - e)^rounds of the hidden layers, (1 - e / 2)^rounds of the last."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            left = self.hidden * (1 - middle) ** rounds + self.output * (1 - middle / 2) ** rounds
            low, high = (middle, high) if left > self.weights / fold else (low, middle)
        return (low + high) / 2

    def narrow(self, fold: float, least: int = 10) -> tuple[int, int]:
        """Widths of the widest network with two hidden layers, of about this one's proportion, within 1 / fold weights.

        The second has `least` neurons at least: 1 or 2 would be a bottleneck that nobody builds, for a few weights.
        """
        inputs, first, second, outputs = self.widths
        sizes = {
            (wide, short): wide * inputs + wide * short + short * outputs
            for wide in range(1, first + 1)
            for short in {max(least, wide * second // first), max(least, wide * second // first + 1)}
        }
        return max((pair for pair, size in sizes.items() if size <= self.weights / fold), key=lambda p: (sizes[p], p))
