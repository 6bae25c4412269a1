"""Width choice: a preference for each of a few widths of a site; a pass tries two of them, drawn by chance.

    p = softmax(a),   s = (log p + Gumbel noise) / τ,   two different sizes drawn by softmax(s) + 1e-7
    z = Σ w_j [unit < C_j],  w = softmax of the two s;     P(unit stays) = Σ p_j [unit < C_j]

Paper: Dong & Yang, "Network pruning via transformable architecture search", NeurIPS 2019, arXiv:1905.09717. From the
authors' code: sizes of 0.3, 0.4, ... 1.0 of the units, rounded down; a is drawn from N(0, 0.01²).
Differs: noise is bounded, so that no draw has to be made again. In `Gated` a pass multiplies, which is the mean of the
two widths, each with zeros behind it; `Interpolated` mixes them as the paper does.
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.gates.unit_gate import UnitGate

TENTHS, RARE = range(3, 11), 1e-7


@final
class WidthChoice(UnitGate):
    """The first units stay, as many as the size that is preferred most.

    sizes: how many units can stay, increasing; none given: those of the paper. several: how many sizes a pass tries;
    0: all, as for a number of blocks. `temperature` is to be lowered in training; near 0 one size alone counts.
    """

    within_KU: Tensor  # bool: whether a size has the unit

    def __init__(self, units: int, *, sizes: Sequence[int] = (), several: int = 2, temperature: float = 5.0) -> None:
        super().__init__(units)
        self.sizes = tuple(sizes) or usual_sizes(units)
        if list(self.sizes) != sorted({*self.sizes}) or not 1 <= self.sizes[0] <= self.sizes[-1] <= units:
            raise InputError(f"sizes are {self.sizes}; give increasing numbers from 1 to {units}, the units")
        if several < 0 or not temperature > 0:
            raise InputError(f"{several=}, {temperature=}: need 1 size or more, or 0 for all, and a number above 0")
        self.several, self.temperature = several or len(self.sizes), temperature
        self.preference = nn.Parameter(0.01 * torch.randn(len(self.sizes)))
        within = torch.arange(units) < torch.tensor(self.sizes)[:, None]
        self.register_buffer("within_KU", within, persistent=False)

    def choose(self) -> tuple[list[int], Tensor]:
        """Which sizes count in this pass, and their weights, which add up to 1; in evaluation it is the one preferred.

        Sizes are numbered from 0, in the order in which they were drawn.
        """
        a = self.preference
        if not self.training:
            return [self.preferred()], a.new_ones(1)
        noise = torch.empty_like(a).exponential_().clamp(min=torch.finfo(a.dtype).tiny).log()
        s = (a.log_softmax(0) - noise) / self.temperature
        index = torch.arange(len(a), device=a.device)
        if self.several < len(a):
            index = torch.multinomial(s.detach().softmax(0) + RARE, self.several)
        return index.tolist(), s[index].softmax(0)

    def preferred(self) -> int:
        """The number of the size that is preferred most; of equals the first."""
        return int(self.preference.argmax())

    def spread(self) -> float:
        """The entropy of the probabilities, as a share of the largest there can be; 0 where there is one size only."""
        p = self.preference.detach().softmax(0)
        most = torch.tensor(float(len(p))).log()
        return float(-torch.special.xlogy(p, p).sum() / most) if len(p) > 1 else 0.0

    def draw(self, x: Tensor | None) -> Tensor:
        """z, [U]."""
        index, weight = self.choose()
        return weight @ self.within_KU[index].to(weight)

    def open(self) -> Tensor:
        """The probability that the width is above the unit's number, [U]."""
        p = self.preference.softmax(0)
        return (1 - p @ (~self.within_KU).to(p)).clamp(0, 1)  # exactly 1 where every size has the unit

    def keep(self) -> Tensor:
        """The units of the size preferred most, bool [U]."""
        return self.within_KU[self.preferred()]


def usual_sizes(units: int) -> tuple[int, ...]:
    """0.3, 0.4, ... 1.0 of the units, rounded down, each once; at least 1."""
    return tuple(sorted({max(1, units * tenth // 10) for tenth in TENTHS}))
