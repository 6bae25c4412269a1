"""Wanda: the weight's size times the norm of the input that it reads.

    s_oi = |w_oi| * ||x_i||_2

Over all samples and positions. Wanda compares within each row, by `select.per_row`, or in groups, by `select.n_of_m`.

Paper: Sun, Liu, Bair, Kolter, "A simple and effective pruning approach for large language models", arXiv:2306.11695.
Differs: the norm itself, where their code has a root mean square, which ranks the same; `select.per_row` rounds the
number removed of a row half to even, where their code rounds down.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import input_square


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """|w| times the square root of the sum of x²."""
    return w_OI.abs() * seen[input_square].sqrt()


wanda = Criterion(score, needs=(input_square,))
