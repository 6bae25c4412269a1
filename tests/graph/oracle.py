"""An oracle that knows nothing of graphs: fill a unit with NaN, run the network, and see where NaN arrives."""

from contextlib import ExitStack

import torch
from torch import nn

from sapwood.shrinking.graph import as_tuple

CONTRACTIONS = (nn.Linear, nn.modules.conv._ConvNd)
LAYERS = (*CONTRACTIONS, nn.modules.batchnorm._NormBase)


def by_itself(layer):
    """A depthwise convolution passes channels on, as a normalisation does."""
    return isinstance(layer, nn.modules.batchnorm._NormBase) or getattr(layer, "groups", 1) == getattr(
        layer, "in_channels", 0
    )


def channels_first(layer, x):
    return x.movedim(-1 if isinstance(layer, nn.Linear) else x.dim() - _channel(layer, x), 0).flatten(1)


def _channel(layer, x):
    return x.dim() - 1


def arrivals(model, example, spoilt):
    """{layer: which of its input channels a NaN reaches}, after `spoilt` = {layer: rows} give NaN."""
    found = {}

    def before(name):
        def hook(layer, inputs):
            (x,) = inputs
            nan = channels_first(layer, x).isnan().any(1)
            found[name] = found.get(name, torch.zeros_like(nan)) | nan
            return x if by_itself(layer) else x.nan_to_num(0.0)

        return hook

    def after(rows):
        def hook(layer, inputs, y):
            y = y.clone()
            y.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0)[rows] = torch.nan
            return y

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, LAYERS):
                hooks.callback(layer.register_forward_pre_hook(before(name)).remove)
            if name in spoilt:
                hooks.callback(layer.register_forward_hook(after(spoilt[name])).remove)
        output = model(*as_tuple(example))
    return found, output
