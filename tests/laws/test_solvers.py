"""Every solver of the room `reconstruction` under the laws of solvers."""

import pytest

from sapwood import reconstruction, select
from sapwood.checks import solver
from sapwood.reconstruction import lasso_channels, reduced_rank, refit, sparsegpt, surgeon, thinet


def refitted(w_OI, gram_II, sparsity):
    """`refit` of the largest weights."""
    return refit(w_OI, gram_II, keep=select.per_layer({"": w_OI.abs()}, sparsity)[""])


def by(solve, **options):
    return lambda w_OI, gram_II, sparsity: solve(w_OI, gram_II, sparsity=sparsity, **options)


SOLVERS = {  # name -> (solver, what it removes, what it refits)
    "refit": (refitted, "weights", "weights"),
    "thinet": (by(thinet), "units", "scales"),
    "thinet, remove": (by(thinet, rule="remove"), "units", "scales"),
    "lasso_channels": (by(lasso_channels), "units", "weights"),
    "sparsegpt": (by(sparsegpt), "weights", "nothing"),
    "sparsegpt, in blocks": (by(sparsegpt, block=8), "weights", "nothing"),
    "surgeon": (by(surgeon), "units", "weights"),
    "surgeon, four at once": (by(surgeon, at_once=4), "units", "weights"),
    "reduced_rank": (by(reduced_rank), "ranks", "nothing"),
}
LAWS = {
    law: body
    for name, (solve, of, refits) in SOLVERS.items()
    for law, body in solver.laws(name, solve, of=of, refitted=refits).items()
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_solver(law):
    law()


def test_every_solver_is_under_laws():
    public = {name for name, thing in vars(reconstruction).items() if callable(thing)}
    assert public - {"output_error", "contributions", "layerwise"} == {name.partition(",")[0] for name in SOLVERS}
