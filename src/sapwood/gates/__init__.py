"""Gates: sparsity decided by training; what a layer's output becomes meanwhile, and what is kept in the end."""

from sapwood.gates.gate import Gate as Gate
from sapwood.gates.gate import Gated as Gated
from sapwood.gates.gate import decided as decided
from sapwood.gates.variational_dropout import VariationalDropout as VariationalDropout

GATES: dict[str, type[Gate]] = {"variational_dropout": VariationalDropout}  # each is made for a layer's weight
