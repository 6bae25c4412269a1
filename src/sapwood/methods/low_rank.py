"""Low rank: each hidden layer of a trained network is replaced by its nearest weight of a given rank.

    w <- μ 1ᵀ + truncated(w - μ 1ᵀ, k), μ the mean of each neuron's weights;     uncentred: w <- truncated(w, k)

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, tables 11-13 (PCA).
Differs: the decomposition is exact; `epochs`, 0 in the paper, trains on afterwards, each layer as two factors at a
learning rate that makes their product move as far as the undivided weight would (`low_rank.rates`).
"""

from collections.abc import Iterator, Mapping

from sapwood.errors import InputError
from sapwood.measure.ranks import rank
from sapwood.methods.parts.phases import fit
from sapwood.reconstruction.factors import factored, rates, truncated
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import Layer, matrix, shaped
from sapwood.training.declared import declares
from sapwood.training.loop import Moment
from sapwood.training.run import Given, Run


@declares(
    "rebuilds",
    "solves",
    unmet={
        "the network with its units at 0 answers, in evaluation, as the one that is built": "layers go, no units",
        "a file of the network loads to the same outputs": "its factors are layers that the task's network has not",
        "interrupted just before rebuilding and resumed: the same bits": "it does so before any training",
        "interrupted just after rebuilding and resumed: the same bits": "it does so before any training",
    },
)
def low_rank(
    run: Run, *, ranks: str = "", centred: bool = True, epochs: int = 0, target: float = 0.98, stop: str = "spikes"
) -> Iterator[Moment]:
    """Approximates the hidden layers at `ranks`, as in "78 80 40 21", or at those of the trial it is to be like.

    It begins from the weights it finds: give it a trained network to start from. With `epochs`, each layer becomes two
    and is trained on. A layer that is to keep all the rank it can have is left alone.
    """
    layers = chosen(run.model, run.hidden())
    kept = _kept(layers, _asked(ranks, layers) if ranks else _found(run.given, layers))
    run.note(**{f"rank_kept_{i}": k for i, k in enumerate(kept.values(), start=1)})
    changed = {name: k for name, k in kept.items() if k < _full(layers[name])}
    if not epochs:
        for layer, k in ((layers[name], k) for name, k in changed.items()):
            w_OI = truncated(matrix(layer, layer.weight.detach()), k, centred=centred)
            layer.weight.detach().copy_(shaped(layer, w_OI, layer.weight))
        return
    for name, pair in [(name, factored(name, layers[name], k, centred=centred)) for name, k in changed.items()]:
        run.model.set_submodule(name, pair)
    run.become(run.model, run.task.optimizer(rates(run.model, run.optimizer.param_groups[0]["lr"])))  # type: ignore[arg-type]
    yield from fit(run, epochs=epochs, target=target, stop=stop)


def _asked(ranks: str, layers: Mapping[str, Layer]) -> list[int]:
    words = ranks.split()
    if len(words) != len(layers) or not all(word.isdecimal() for word in words):
        raise InputError(f"ranks is {ranks!r}; give {len(layers)} whole numbers, one for each of {', '.join(layers)}")
    return [int(word) for word in words]


def _found(given: Mapping[str, Given], layers: Mapping[str, Layer]) -> list[int]:
    if "like" not in given:
        raise InputError("low_rank does not know which ranks; give ranks, or use another trial: after(like=...)")
    weights, names = given["like"].weights, [f"{name}.weight" for name in layers]
    if missing := [name for name in names if name not in weights]:
        raise InputError(f"the trial to be like has no weight {missing[0]!r}; give one of the same network, or ranks")
    return [rank(weights[name] * given["like"].masks.get(name, True)) for name in names]


def _kept(layers: Mapping[str, Layer], ranks: list[int]) -> dict[str, int]:
    kept = dict(zip(layers, ranks, strict=True))
    if bad := [name for name, k in kept.items() if not 1 <= k <= _full(layers[name])]:
        raise InputError(f"layer {bad[0]!r} is to have rank {kept[bad[0]]}; give one in 1..{_full(layers[bad[0]])}")
    return kept


def _full(layer: Layer) -> int:
    return min(matrix(layer, layer.weight).shape)
