"""Reconstructing: a layer takes its outputs in the original network as its aim, and makes do with fewer inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sapwood.reconstruction import lasso_channels, refit
from sapwood.reconstruction.centring import ABOUT_MEANS, centred, intercept
from sapwood.reconstruction.units import columns_of
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import matrix, shaped
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import cross, gram
from sapwood.shrinking.cutting.units import reading_layer, unit_of_columns
from sapwood.shrinking.tracing.site import Site
from sapwood.training.task import Batch


@torch.no_grad()
def reconstruct_(
    model: nn.Module, original: nn.Module, site: Site, batches: Sequence[Batch], keep: Tensor, *, lasso: bool
) -> Tensor:
    """Which units of the site stay, bool [units]; the layer that reads them gets new weights, and 0 for the others.

    As many stay as in `keep`: LASSO says which, or without it `keep` itself. Weights, and the bias of a layer that has
    one, are the least squares from what the layer reads in `model` to what it gives in `original`. One pass of each.
    """
    name = reading_layer(model, site)
    (layer,), (slot, *_) = chosen(model, [name]).values(), site.at("reads")
    bias_O = getattr(layer, "bias", None)
    needs = (gram, cross) if bias_O is None else ABOUT_MEANS
    seen = observe(model, batches, *needs, only=[name], wanted=original)[name]
    sums = (seen[gram], seen[cross]) if bias_O is None else centred(seen, bias_O)
    w_OI, unit_of_I = matrix(layer, layer.weight), unit_of_columns(model, slot)
    if lasso:
        sparsity = 1 - int(keep.sum()) / site.units
        w_OI, keep = lasso_channels(w_OI, *sums, sparsity=sparsity, unit_of_I=unit_of_I)
    else:
        w_OI, _ = refit(w_OI, *sums, keep=columns_of(keep.to(w_OI.device), unit_of_I))
    layer.weight.copy_(shaped(layer, w_OI, layer.weight))
    if bias_O is not None:
        bias_O.copy_(intercept(w_OI, seen, bias_O))
    return keep
