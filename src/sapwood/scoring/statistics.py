"""The statistics: what can be seen of a layer, each a sum over samples (and positions).

Shape suffixes: N samples times positions, I inputs times kernel positions, O outputs. Sums over many
samples are kept in float64 or int64, so that the order of batches changes nothing that matters.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sapwood.errors import Names
from sapwood.scoring.evidence import Sight, Statistic, counted


def counting(name: str, rows: Callable[[Sight], Tensor]) -> Statistic:
    """The statistic that counts rows: `rows` makes a new tensor [N, O] of zeros and ones, in the outputs' type."""
    statistic = Statistic(name, lambda sight: counted(rows(sight)))
    statistic.rows = rows
    return statistic


def _bias(s: Sight) -> Tensor | float:
    """The layer's own, so that what is left is what its weights have to give."""
    bias = getattr(s.layer, "bias", None)
    return bias.detach().double() if isinstance(bias, Tensor) else 0.0


def _fires(s: Sight) -> Tensor:
    # A comparison that writes bool is several times slower than these two passes.
    return s.y_NO.relu().sign_()


count = Statistic("count", lambda s: torch.full((), s.y_NO.shape[0], device=s.y_NO.device))  # waits for no copy
active = counting("active", _fires)
inactive = counting("inactive", lambda s: 1 - _fires(s))
output_sum = Statistic("output_sum", lambda s: s.y_NO.relu().sum(0, dtype=torch.float64))
output_square = Statistic("output_square", lambda s: s.y_NO.relu().double().square().sum(0))
input_square = Statistic("input_square", lambda s: s.x_NI.double().square().sum(0))
gram = Statistic("gram", lambda s: s.x_NI.double().T @ s.x_NI.double())
cross = Statistic("cross", lambda s: s.x_NI.double().T @ (s.wanted_NO.double() - _bias(s)), wants=True)
weight_grad = Statistic("weight_grad", lambda s: s.gw_OI.double(), backward=True, of_weight=True)

STATISTICS = Names(
    "statistic",
    {str(s): s for s in (count, active, inactive, output_sum, output_square, input_square, gram, cross, weight_grad)},
)

ABOUT = {  # y is the layer's output before the activation function, x its input; sums over samples and positions
    "count": "how many samples and positions",
    "active": "how many with y > 0: the neuron fired",
    "inactive": "how many with y <= 0",
    "output_sum": "sum of relu(y); for y itself write a statistic of your own",
    "output_square": "sum of relu(y)^2",
    "input_square": "sum of x^2, for each input",
    "gram": "sum of x x^T, inputs by inputs",
    "cross": "sum of x times what the original network's layer gives, without the bias, inputs by outputs",
    "weight_grad": "sum of the loss's gradients with respect to the weights",
}
