"""SVD training: matrices are U diag(|s|) Vᵀ from the start, s becomes sparse, and the small s are dropped by energy.

    loss + λ_o Σ ‖UᵀU - I‖²_F / r² + ‖VᵀV - I‖²_F / r² + λ_s Σ ‖s‖_1 / ‖s‖_2
    dropped: the smallest s of each layer while their Σ s² is at most the share e of all; e is what meets `sparsity`

Paper: Yang, Tang, Wen, Yan, Hu, Li, Li, Chen, "Learning low-rank deep neural networks via singular vector orthogonality
regularization and singular value sparsification", CVPR workshops 2020, arXiv:2004.09031. From the authors' code: the
sums are over layers, |s| is what counts, λ_o 1; λ_s 0.07 for their ResNet-20, 0.01 with "hoyer_square", 0.3 with "l1".
Differs: one e for all layers is found by a budget (`energy` gives it, as theirs). Linear layers and embeddings only, at
first with as many components as cost no more than the layer; a `rank` as large as a layer is theirs. The factors train
on without λ_o after the cut. No weight decay on U, V, s, which would move scale from one to the other; theirs is Adam,
and SGD learns them at lower rates (`parts.singular`).
"""

from collections.abc import Iterator

from sapwood.currency import Keep
from sapwood.errors import InputError, refuse_unless
from sapwood.methods.parts.components import FACTORS, budget, components, factorise, paced
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.singular import MEASURES, decomposed, energies, joined, penalise
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@declares("rebuilds", unmet={"a file of the network loads to the same outputs": FACTORS})
def svd_training(
    run: Run, *, sparsity: float = 0.8, energy: float = 0.0, measure: str = "hoyer", strength: float = 0.07,
    orthogonal: float = 1.0, rank: int = 0, epochs: int = 164, sparse_epochs: int = 164, tune: int = 164,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs` with λ_o, `orthogonal`, for `sparse_epochs` with λ_s, `strength`, too; cuts, trains on.

    `sparsity` is the share of the parameters of all components that goes; with `energy`, if not 0, what goes follows
    from it. `measure` of s: "hoyer", "hoyer_square" or "l1". Noted: the share that went, of parameters and of a layer's
    energy at most, and by how many points layers differ.
    """
    refuse_unless("measure", measure, MEASURES)
    if not 0 < sparsity < 1 or not 0 <= energy < 1 or min(strength, orthogonal, rank, epochs, sparse_epochs) < 0:
        raise InputError(f"{sparsity=}, {energy=}, {strength=}, {orthogonal=}, {rank=}, {epochs=}, {sparse_epochs=}: "
                         "need shares in (0, 1), numbers of 0 or more")  # fmt: skip
    factorise(run, rank)
    found = components(run.apart.several)
    size = budget(run.model, found)
    decomposed(run, found)
    penalise(run, found, orthogonal=orthogonal, strength=0.0, measure=measure)
    yield from train(run, epochs=epochs)
    penalise(run, found, orthogonal=orthogonal, strength=strength, measure=measure)
    yield from train(run, epochs=sparse_epochs)
    values = joined(run, found)

    def keep() -> Keep:
        scores = energies(values)
        kept = {name: each > energy for name, each in scores.items()} if energy else size.within(scores, sparsity)
        gone = max(float(each[~kept[name]].amax()) if not kept[name].all() else 0.0 for name, each in scores.items())
        left = [float(each.double().mean()) for each in kept.values()]
        run.note(sparsity_of_components=float(size.sparsity(kept)), energy=gone, spread=max(left) - min(left))
        return kept

    run.shrink(keep, found)
    paced(run)
    yield from tuned(run, epochs=tune, rate=1.0)
