"""Sparse low rank (SLR): truncated singular values, of which what matters least keeps even fewer.

    w = U V, rank k;  U[o, k_s:] = 0 for the outputs o, V[k_s:, i] = 0 for the inputs i of least significance
    k_s = floor(lower * k);  floor(reduced * n) of n inputs, and as many in proportion of the outputs;
    kept of a layer: k (m + n) - (k - k_s) (floor(reduced * m) + floor(reduced * n))

Paper: Swaminathan, Garg, Kannan, Andres, "Sparse low rank factorization for deep neural network compression",
Neurocomputing 398, 2020. From the authors' code: both shares are 0.5; significance is Σ |w| ("weights", SLR-w) or
Σ |a| over training samples ("activations", SLR-a); no training afterwards.
Differs: k follows from a budget, the same share of every product's components, and what is 0 counts as gone, where
their printed sizes are those of truncated SVD. Exactly so many are reduced, ties or not; a is what a layer gives,
before what is not linear. √σ goes to each factor. No SLR-c, which asks for the loss once for every neuron. `by="luck"`
and `tune` are ours. The zeros are masks: dense layers are as fast with them as without.
"""

from collections.abc import Iterator

from sapwood.currency import Keep
from sapwood.errors import InputError, refuse_unless
from sapwood.methods.parts.components import FACTORS, budget, components, factorise, ordered_, paced, shares
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.significance import SIGNIFICANCES, least, significance, tails, zeros
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@declares("rebuilds", "masks", unmet={"a file of the network loads to the same outputs": FACTORS})
def sparse_low_rank(
    run: Run, *, sparsity: float = 0.8, by: str = "weights", reduced: float = 0.5, lower: float = 0.5,
    samples: int = 1000, rank: int = 0, epochs: int = 50, tune: int = 0,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, truncates and zeroes, trains on for `tune` epochs with the zeros held.

    `sparsity` is the share of the parameters of all components that goes. `reduced` is the share of the inputs and of
    the outputs that keep the share `lower` of the rank; 0, or a `lower` of 1, is truncated SVD. `by` says which:
    "weights", "activations" (of `samples` training samples) or "luck". `rank`: how many components a layer begins with
    at most; 0: as many as cost no more than the layer did.
    """
    refuse_unless("by", by, SIGNIFICANCES)
    if not 0 < sparsity < 1 or not 0 <= reduced <= 1 or not 0 <= lower <= 1 or samples < 1 or min(rank, epochs) < 0:
        raise InputError(f"{sparsity=}, {reduced=}, {lower=}, {samples=}, {rank=}, {epochs=}: need a sparsity in "
                         "(0, 1), shares in [0, 1], a sample or more, whole numbers of 0 or more")  # fmt: skip
    factorise(run, rank)
    found = components(run.apart.several)
    size = budget(run.model, found)
    yield from train(run, epochs=epochs)
    low = least(run.remember("significance", lambda: significance(run, found, by, samples)), reduced)
    ordered_(run.model, found)

    def keep() -> Keep:
        kept = size.within(shares(found), sparsity, lambda kept: zeros(kept, low, lower))
        gone = float(size.sparsity(kept)) + zeros(kept, low, lower) / (size.whole - size.least)
        run.note(sparsity_of_components=gone, truncated=float(size.sparsity(kept)))
        return kept

    run.shrink(keep, found)
    paced(run)
    found = components(run.apart.several)
    run.prune(tails(run.model, found, low, lower))
    yield from tuned(run, epochs=tune, rate=1.0)
