"""Dynamic surgery: removed weights go on learning behind their masks, and come back when they have grown.

    kept from |w| >= (1 + band) t on, removed at |w| < (1 - band) t, in between as it was
    t = max(mean|w| + c std|w|, 0) of each layer, once; or, each time, what a share `sparsity` of all |w| lies below
    looked at again after each step with probability (1 + gamma * step)^(-power)

Paper: Guo, Yao, Chen, "Dynamic network surgery for efficient DNNs", arXiv:1608.04493, NeurIPS 2016.
Differs: t and band are from their code; biases only with `biases`; all layers take part at once; masks stay after it.
`c`, the paper's way, fixes t. `sparsity`, ours, recomputes t each time: masked weights would outgrow a fixed one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from sapwood.currency import Masks
from sapwood.errors import InputError, refuse_unless
from sapwood.scoring.layers import chosen
from sapwood.selection import select, thresholds
from sapwood.training.draws import luck
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run

Groups = Mapping[str, Sequence[str]]  # a layer, or everything -> the parameters that share a threshold


def dynamic_surgery(
    run: Run,
    *,
    c: str = "1.0",
    sparsity: float = 0.0,
    scope: str = "per_layer",
    band: float = 0.1,
    gamma: float = 1e-4,
    power: float = 1.0,
    biases: bool = False,
    output: bool = True,
    dense_epochs: int = 10,
    surgery: int = 20,
    epochs: int = 30,
) -> Iterator[Moment]:
    """Trains, operates until epoch `surgery` of `epochs`, trains on. `c` is one number, or one for each layer."""
    if not 0 <= band < 1 or gamma < 0 or power < 0 or not 0 <= surgery <= epochs:
        raise InputError(f"{band=}, {gamma=}, {power=}, {surgery=}, {epochs=}: need band in "
                         "[0, 1), gamma and power of 0 or more, and 0 <= surgery <= epochs")  # fmt: skip
    refuse_unless("scope", scope, thresholds.SCOPES)
    layers = chosen(run.model, None if output else run.hidden())
    kinds = ("weight", "bias")[: 1 + biases]
    groups: Groups = {n: [f"{n}.{k}" for k in kinds if getattr(m, k) is not None] for n, m in layers.items()}
    if sparsity and scope == "everywhere":
        groups = {scope: [name for names in groups.values() for name in names]}
    cuts = partial(_cuts, run, groups, thresholds.numbers("c", c, layers), sparsity)
    yield from train(run, epochs=dense_epochs)
    fixed = None if sparsity else run.remember("cuts", cuts)
    run.dense = True
    for now in train(run, epochs=surgery):
        drawn = torch.rand((), generator=luck(run.seed, "surgery", run.step))
        if drawn < (1 + gamma * (run.step - run.begun)) ** -power:
            run.prune(_operated(run, fixed or cuts(), band))
        yield now
    run.dense = False
    exact = [select.everywhere(_sizes(run, names), sparsity) for names in groups.values()] if sparsity else [run.masks]
    run.prune({name: keep for each in exact for name, keep in each.items()})
    yield from train(run, epochs=epochs - surgery)


def _sizes(run: Run, names: Iterable[str]) -> dict[str, Tensor]:
    return {name: run.model.get_parameter(name).detach().abs() for name in names}


def _cuts(run: Run, groups: Groups, c: Mapping[str, float], sparsity: float) -> dict[str, float]:
    of = lambda layer, w: thresholds.below(w, sparsity) if sparsity else thresholds.surgical(w, c[layer])  # noqa: E731
    return thresholds.shared({layer: _sizes(run, names) for layer, names in groups.items()}, of)


def _operated(run: Run, cuts: Mapping[str, float], band: float) -> Masks:
    every, sizes = torch.tensor(True), _sizes(run, cuts)
    return {n: thresholds.spliced(size, run.masks.get(n, every), cuts[n], band) for n, size in sizes.items()}
