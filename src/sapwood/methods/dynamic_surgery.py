"""Dynamic surgery: removed weights go on learning behind their masks, and come back when they have grown.

    kept from |w| >= (1 + band) t on, removed at |w| < (1 - band) t, in between as it was
    t = max(mean|w| + c std|w|, 0) of each layer, once, when surgery begins
    looked at again after each step with probability (1 + gamma * step)^(-power)

Paper: Guo, Yao, Chen, "Dynamic network surgery for efficient DNNs", arXiv:1608.04493, NeurIPS 2016.
Differs: t and band are from the authors' code; biases count, and are masked, only with `biases`. `sparsity`, not in the
paper, puts t where that share lies below it, of the layer or of all ("everywhere"); either way how much goes is found
out. All layers take part at once, not convolutions and others in turn. After surgery masks stay; training goes on.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch

from sapwood import thresholds
from sapwood.errors import InputError, refuse_unless
from sapwood.masks import Masks
from sapwood.observe import chosen, hidden
from sapwood.run import Run
from sapwood.train import Moment, train

Parts = Mapping[str, Sequence[str]]  # layer -> its parameters that share a threshold


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
        raise InputError(f"band={band}, gamma={gamma}, power={power}, surgery={surgery}, epochs={epochs}: need band in "
                         "[0, 1), gamma and power of 0 or more, and 0 <= surgery <= epochs")  # fmt: skip
    refuse_unless("scope", scope, thresholds.SCOPES)
    layers = chosen(run.model, None if output else hidden(run.model))
    factors = thresholds.numbers("c", c, layers)
    kinds = ("weight", "bias")[: 1 + biases]
    parts = {n: [f"{n}.{kind}" for kind in kinds if getattr(m, kind) is not None] for n, m in layers.items()}
    yield from train(run, epochs=dense_epochs)
    cuts = run.remember("cuts", lambda: _cuts(run, parts, factors, sparsity, scope))
    run.dense = True
    for now in train(run, epochs=surgery):
        luck = torch.Generator().manual_seed((run.seed * 8_191 + run.step) % 2**63)
        if torch.rand((), generator=luck) < (1 + gamma * (run.step - run.begun)) ** -power:
            run.prune(_operated(run, cuts, band))
        yield now
    run.dense = False
    run.prune(run.masks)
    yield from train(run, epochs=epochs - surgery)


def _cuts(run: Run, parts: Parts, c: Mapping[str, float], sparsity: float, scope: str) -> dict[str, float]:
    """The threshold of each parameter."""
    weights = {name: p.detach().flatten() for name, p in run.model.named_parameters()}
    values = {layer: torch.cat([weights[name] for name in names]) for layer, names in parts.items()}
    if sparsity:
        found = thresholds.below_in(values, sparsity, scope)
    else:
        found = {layer: thresholds.surgical(each, c[layer]) for layer, each in values.items()}
    return {name: found[layer] for layer, names in parts.items() for name in names}


def _operated(run: Run, cuts: Mapping[str, float], band: float) -> Masks:
    weights = {name: run.model.get_parameter(name).detach() for name in cuts}
    before = {name: run.masks.get(name, torch.ones_like(w, dtype=torch.bool)) for name, w in weights.items()}
    return {name: thresholds.spliced(w, before[name], cuts[name], band) for name, w in weights.items()}
