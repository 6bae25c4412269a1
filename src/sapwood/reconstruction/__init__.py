"""Reconstruction: weights chosen and changed so that a layer's outputs stay what they were, from sums over samples.

Every solver is a function (w_OI, gram_II[, cross_IO], ...) -> (w_OI, keep): w_OI is the weight as a matrix, one row per
output, gram_II and cross_IO what `observe` sums up by the statistics `gram` and `cross`. It computes in float64 and
gives the same bits every time; sparsity 0 gives the weights back. `layerwise` goes through a network with one.

refitting.py  least squares for what is kept      greedy.py      ThiNet: units, with one scale each
lasso.py      LASSO on units, then least squares  columnwise.py  SparseGPT: weights, column by column
ranks.py      the nearest outputs of lower rank   factors.py     a weight of lower rank as two factors
units.py      what each unit adds to the outputs  blocks.py      layer after layer, on what the pruned ones give
normal.py     least squares from sums over samples  centring.py    the same about the means, for a bias beside it
surgery.py    units, one after another, where the others make up for each
"""

from sapwood.reconstruction.blocks import layerwise as layerwise
from sapwood.reconstruction.columnwise import sparsegpt as sparsegpt
from sapwood.reconstruction.greedy import thinet as thinet
from sapwood.reconstruction.lasso import lasso_channels as lasso_channels
from sapwood.reconstruction.normal import output_error as output_error
from sapwood.reconstruction.ranks import reduced_rank as reduced_rank
from sapwood.reconstruction.refitting import refit as refit
from sapwood.reconstruction.surgery import surgeon as surgeon
from sapwood.reconstruction.units import contributions as contributions
