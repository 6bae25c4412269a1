"""Deep compression: prune, let the weights that stay share few values, train these, and count the bytes of a file.

    k-means of each layer's weights that are kept, 2^bits values;    dL/dv = sum of dL/dw over the weights that have v

Paper: Han, Mao, Dally, "Deep compression", arXiv:1510.00149, ICLR 2016. Pruning is `iterative_magnitude` (its
reference 2); Huffman coding is what `codec` does, and notes: `stored_bytes`, of the whole file, and `stored_fold`.
Differs: where weights are is coded by whichever of `codec`'s layouts is shortest for a layer; the 0 of fillers is one
value more; biases stay as they are.
"""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from sapwood import codec
from sapwood.codec.sharing import Sharing, clustered, widths
from sapwood.currency import Masks
from sapwood.masking import masks as mask
from sapwood.methods.iterative_magnitude import iterative_magnitude
from sapwood.scoring.layers import prunable
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, evaluate, train
from sapwood.training.run import Run

Clusters = dict[str, tuple[Tensor, Tensor]]  # weight -> values, labels


@declares("masks", "solves")
def deep_compression(
    run: Run,
    *,
    sparsity: float = 0.92,
    rounds: int = 5,
    quality: str = "",
    scope: str = "per_layer",
    first_epochs: int = 20,
    round_epochs: int = 20,
    rate: float = 0.1,
    bits: str = "6",
    share_epochs: int = 10,
    share_rate: float = 0.01,
) -> Iterator[Moment]:
    """Prunes as `iterative_magnitude` does, output layer included; then `share_epochs` at `share_rate` times the task's
    learning rate. `bits`: one number, or one for each layer. With rounds=0 nothing is pruned here: the weights that
    are 0 after the first epochs stay 0. For a network pruned elsewhere, start from its trial with first_epochs=0.
    """  # fmt: skip
    weights = [f"{name}.weight" for name in prunable(run.model)]
    of = widths(bits, weights)
    if rounds:
        yield from iterative_magnitude(
            run, sparsity=sparsity, rounds=rounds, quality=quality, scope=scope,
            first_epochs=first_epochs, round_epochs=round_epochs, rate=rate,
        )  # fmt: skip
    else:
        yield from train(run, epochs=first_epochs)
    keep = run.masks if rounds else {name: run.model.get_parameter(name).detach() != 0 for name in weights}
    notes = run.remember("pruned", partial(_noted, run, "pruned"))
    clusters = run.remember("clusters", partial(_clusters, run, keep, of))
    run.become(run.model)
    for group in run.optimizer.param_groups:
        group["lr"] *= share_rate
    run.prune(keep)
    with Sharing(run.model, run.optimizer, clusters):
        notes |= run.remember("shared", partial(_noted, run, "shared"))
        yield from train(run, epochs=share_epochs)
    mask.apply_(dict(run.model.named_parameters()), run.masks)  # held weights may be -0.0, which is not nothing
    sizes = codec.encode(run.model)[1]
    run.note(**notes, stored_bytes=sizes.bytes, stored_fold=sizes.fold)


def _clusters(run: Run, keep: Masks, bits: dict[str, int]) -> Clusters:
    return {name: clustered(run.model.get_parameter(name), keep[name], bits[name]) for name in bits}


def _noted(run: Run, when: str) -> dict[str, float]:
    """What it gets right on the validation split, before sharing and before what is shared is trained."""
    return {f"{when}_valid_{name}": value for name, value in evaluate(run).items()}
