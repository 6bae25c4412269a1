"""Iterative magnitude: train, remove the smallest weights, train on from what they have become, and again.

    by share: density (1 - sparsity)^(r / rounds) after round r      by threshold: |w| < q_l * std(w_l) goes
    dropout while retraining: D_r = D_o sqrt(C_r / C_o), C the weights of the layer that it follows

Paper: Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", NeurIPS 2015.
`criterion` "lamp" with `scope` "everywhere" is Lee et al., arXiv:2010.07611, 2021.
Differs: the standard deviation is taken once a round, of the weights still kept; all layers are retrained together, not
convolutions and others in turn; neurons that nothing reads, or that read nothing, are not taken out (`dead` counts
their weights); biases stay. The optimiser begins anew each round.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sapwood import criteria
from sapwood.scoring.criterion import score
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import is_layer
from sapwood.selection import schedule, thresholds
from sapwood.selection.scope import selected
from sapwood.training.loop import Moment, at_ends, train
from sapwood.training.run import Run

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def iterative_magnitude(
    run: Run,
    *,
    sparsity: float = 0.9,
    rounds: int = 5,
    quality: str = "",
    criterion: str = "magnitude",
    scope: str = "per_layer",
    output: bool = True,
    first_epochs: int = 20,
    round_epochs: int = 20,
    rate: float = 0.1,
) -> Iterator[Moment]:
    """Trains, then prunes and retrains `rounds` times, at `rate` times the learning rate; the output layer too.

    `quality`, q of every layer ("1.2") or of each ("1.2 1.2 0.8"), replaces `sparsity`, `criterion` and `scope`.
    """
    layers = chosen(run.model, None if output else run.hidden())
    judge, shares = criteria.named(criterion), schedule.geometric_rounds(sparsity, rounds)
    factors = thresholds.numbers("quality", quality or "0", [f"{name}.weight" for name in layers])
    original = {name: module.p for name, module in run.model.named_modules() if isinstance(module, DROPOUT)}
    yield from train(run, epochs=first_epochs, acts=at_ends)
    for number, share in enumerate(shares, start=1):
        if quality:
            weights = {f"{name}.weight": layer.weight.detach() for name, layer in layers.items()}
            keep = thresholds.of_deviations(weights, run.masks, factors)
        else:
            keep = selected(score(run.model, judge, only=layers), share, scope, among=run.masks)
        run.become(run.model)
        for group in run.optimizer.param_groups:
            group["lr"] *= rate
        run.prune(keep)
        for name, p in run.remember(f"dropout {number}", partial(scaled, run.model, original, keep)).items():
            run.model.get_submodule(name).p = p  # type: ignore[assignment]
        yield from train(run, epochs=round_epochs, acts=at_ends)


def scaled(model: nn.Module, original: Mapping[str, float], keep: Mapping[str, Tensor]) -> dict[str, float]:
    """New rate of each dropout: the old one times the root of the density of the layer before it, if there is one."""
    found, factor = {}, 1.0
    for name, module in model.named_modules():
        if is_layer(module):
            mask = keep.get(f"{name}.weight")
            factor = 1.0 if mask is None else (int(torch.count_nonzero(mask)) / mask.numel()) ** 0.5
        elif name in original:
            found[name] = original[name] * factor
    return found
