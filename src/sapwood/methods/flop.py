"""FLOP: matrices are products of two, and gates learn which rank-one components of these stay, to a size that is given.

    y = Q diag(z) P x + b,  z hard-concrete gates;  min over w, z, max over λ:  loss + λ1 (s - t) + λ2 (s - t)²
    s the expected share of the components' parameters that is gone, t rises linearly to `sparsity`

Paper: Wang, Wohlwend, Lei, "Structured pruning of large language models", arXiv:1910.04732, EMNLP 2020. From the
authors' code: factors without gates train first, their number such that the size stays; gates begin with a `drop` rate
of 0.1 (their WikiText-103); weights go on learning beside them; what an evaluation multiplies by is built in.
Differs: as many components go as the size needs, all layers' log α in one ranking, where each layer of theirs rounds
its own; log α stays within [-7, 2.2], and rates fall with the root of time. Of an embedding that one
layer reads, the columns go and count with its features; theirs stay. `tune`, not in the paper, trains on afterwards.
"""

from collections.abc import Iterator

from torch import Tensor

from sapwood.currency import Keep
from sapwood.errors import InputError, refuse_unless
from sapwood.methods.parts.components import FACTORS, budget, components, elsewhere, factorise, norms, ordered_, shares
from sapwood.methods.parts.constrained import learned, settled
from sapwood.methods.parts.controls import drawn_for_its_size
from sapwood.methods.parts.phases import tuned
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run

ARMS = ("gates", "shuffled", "svd", "magnitude", "fresh")


@declares("rebuilds", unmet={"a file of the network loads to the same outputs": FACTORS})
def flop(
    run: Run, *, sparsity: float = 0.8, by: str = "gates", rank: int = 0, drop: float = 0.1, rate: float = 0.1,
    rise: float = 0.4, epochs: int = 100, gate_epochs: int = 100, tune: int = 0,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, with gates for `gate_epochs`, removes components, trains on for `tune` epochs.

    `sparsity` is the share of the parameters of all components that goes. `by`, controls of equal size and as many
    epochs: "shuffled" takes other components of each layer than the gates; "svd" the smallest singular values, the same
    share of each layer; "magnitude" the smallest norms; "fresh" trains a network of that size, ranks in proportion.
    """
    refuse_unless("by", by, ARMS)
    if not 0 < sparsity < 1 or not 0 < drop < 1 or not rate > 0 or not 0 <= rise <= 1 or min(rank, epochs) < 0:
        raise InputError(f"{sparsity=}, {drop=}, {rate=}, {rise=}, {rank=}, {epochs=}: need shares in (0, 1), a rate "
                         "above 0, a share in [0, 1] and whole numbers of 0 or more")  # fmt: skip
    factorise(run, rank)
    found = components(run.apart.several)
    size = budget(run.model, found)

    def keep() -> Keep:
        kept = size.within(norms(run.model, found) if by == "magnitude" else scores or shares(found), sparsity)
        left = [float(each.double().mean()) for each in kept.values()]
        run.note(sparsity_of_components=float(size.sparsity(kept)), spread=max(left) - min(left))
        return elsewhere(kept, run.seed) if by == "shuffled" else kept

    scores = dict[str, Tensor]()
    if by == "fresh":
        run.shrink(keep, found)
        drawn_for_its_size(run)
        yield from train(run, epochs=epochs + gate_epochs + tune)
        return
    yield from train(run, epochs=epochs)
    if by == "svd":
        ordered_(run.model, found)
    if by in ("gates", "shuffled"):
        yield from learned(run, found, size, sparsity=sparsity, drop=drop, rate=rate, rise=rise, epochs=gate_epochs)
        scores = settled(run, found, size)

    run.shrink(keep, found)
    yield from tuned(run, epochs=tune + (0 if by in ("gates", "shuffled") else gate_epochs), rate=1.0)
