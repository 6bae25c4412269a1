"""Gates: sparsity decided by training; what a layer's output becomes meanwhile, and what is kept in the end."""

import warnings

from sapwood.errors import Names
from sapwood.gates.beta_bernoulli import BetaBernoulli as BetaBernoulli
from sapwood.gates.clamp import Clamp as Clamp
from sapwood.gates.dependent_beta_bernoulli import DependentBetaBernoulli as DependentBetaBernoulli
from sapwood.gates.factor import Factor as Factor
from sapwood.gates.gated import Gated as Gated
from sapwood.gates.gated import decided as decided
from sapwood.gates.hard_concrete import HardConcrete as HardConcrete
from sapwood.gates.interpolated import Interpolated as Interpolated
from sapwood.gates.lagrangian import Lagrangian as Lagrangian
from sapwood.gates.point import Point as Point
from sapwood.gates.point import Points as Points
from sapwood.gates.saliency import Saliency as Saliency
from sapwood.gates.unit_gate import UnitGate as UnitGate
from sapwood.gates.variational_dropout import VariationalDropout as VariationalDropout
from sapwood.gates.weight_gate import WeightGate as WeightGate
from sapwood.gates.weight_gate import WeightGated as WeightGated
from sapwood.gates.width_choice import WidthChoice as WidthChoice

# Each is made for a layer's weight.
GATES: dict[str, type[WeightGate]] = Names("gate", {"variational_dropout": VariationalDropout})
# Each is made for a number of units, and `saliency` for the number of channels of its layer's input besides.
UNIT_GATES: dict[str, type[UnitGate]] = Names(
    "gate of units",
    {
        "beta_bernoulli": BetaBernoulli,
        "clamp": Clamp,
        "dependent_beta_bernoulli": DependentBetaBernoulli,
        "factor": Factor,
        "hard_concrete": HardConcrete,
        "saliency": Saliency,
        "width_choice": WidthChoice,
    },
)


def __getattr__(name: str) -> object:
    """`Gate`, the older name of `WeightGate`, for one release."""
    if name != "Gate":
        raise AttributeError(f"module 'sapwood.gates' has no name {name!r}")
    warnings.warn("sapwood.gates.Gate is WeightGate now", DeprecationWarning, stacklevel=2)
    return WeightGate
