"""Deep compression: prune, let the weights that stay share few values, train these, and count the bytes of a file.

    k-means of each layer's weights that are kept, 2^bits values;    dL/dv = sum of dL/dw over the weights that have v

Paper: Han, Mao, Dally, "Deep compression", arXiv:1510.00149, ICLR 2016. Pruning is `iterative_magnitude` (its
reference 2); Huffman coding is what `codec` does, and notes: `stored_bytes`, of the whole file, and `stored_fold`.
Differs: `codec` takes its shortest layout for each layer; the 0 of fillers is one value more; biases stay. Not in the
paper: `biases` that share, and the `coder` "shortest", adaptive codes where Huffman's are longer, all bytes noted.
"""

from collections.abc import Iterator
from functools import partial

from sapwood import codec, processes
from sapwood.codec.sharing import Sharing, clusters_of, widths
from sapwood.errors import refuse_unless
from sapwood.masking import masks as mask
from sapwood.methods.iterative_magnitude import iterative_magnitude
from sapwood.scoring.layers import prunable
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, evaluate, train
from sapwood.training.run import Run

CODERS = ("huffman", "shortest")


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
    biases: str = "",
    coder: str = CODERS[0],
) -> Iterator[Moment]:
    """Prunes as `iterative_magnitude` does, output layer included; then `share_epochs` at `share_rate` times the task's
    learning rate. `bits`: one number, or one for each layer; so are `biases`, which stay when left out. With rounds=0
    nothing is pruned here: what is 0 after the first epochs stays 0. Pruned elsewhere: start there, first_epochs=0.
    """  # fmt: skip
    processes.refuse_sharded(run.model, "let its weights share values")
    layers = prunable(run.model)
    weights = [f"{name}.weight" for name in layers]
    refuse_unless("coder", coder, CODERS)
    own = [f"{name}.bias" for name, layer in layers.items() if layer.bias is not None]
    of = widths(bits, weights) | (widths(biases, own, "biases") if biases else {})
    if rounds:
        yield from iterative_magnitude(
            run, sparsity=sparsity, rounds=rounds, quality=quality, scope=scope,
            first_epochs=first_epochs, round_epochs=round_epochs, rate=rate,
        )  # fmt: skip
    else:
        yield from train(run, epochs=first_epochs)
    keep = run.masks if rounds else {name: run.model.get_parameter(name).detach() != 0 for name in weights}
    notes = run.remember("pruned", partial(_noted, run, "pruned"))
    clusters = run.remember("clusters", partial(clusters_of, run.model, keep, of))
    run.become(run.model)
    for group in run.optimizer.param_groups:
        group["lr"] *= share_rate
    run.prune(keep)
    with Sharing(run.model, run.optimizer, clusters):
        notes |= run.remember("shared", partial(_noted, run, "shared"))
        yield from train(run, epochs=share_epochs)
    mask.apply_(dict(run.model.named_parameters()), run.masks)  # held weights may be -0.0, which is not nothing
    sizes = codec.encode(run.model, adaptive=coder != CODERS[0])[1]
    run.note(**notes, stored_bytes=sizes.bytes, stored_fold=sizes.fold)
    if coder != CODERS[0]:
        run.note(**sizes.parts(), by_huffman_bytes=codec.encode(run.model, adaptive=False)[1].bytes)


def _noted(run: Run, when: str) -> dict[str, float]:
    """What it gets right on the validation split, before sharing and before what is shared is trained."""
    return {f"{when}_valid_{name}": value for name, value in evaluate(run).items()}
