"""Saliency: scores of weights that need the whole network at once, not one layer and what it saw. Higher stays.

What a `Criterion` cannot say, since what it may look at is a sum over samples of one layer's own inputs, outputs and
gradients: a product with the Hessian of all layers, and a gradient of the network with other weights than its own.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.observe import chosen, evaluating
from sapwood.select import Scores


def grasp(
    model: nn.Module,
    batch: Any,
    loss: Callable[[Tensor, Any], Tensor],
    *,
    only: Iterable[str] | None = None,
    temperature: float = 200.0,
) -> Scores:
    """w * Hg: those weights stay whose removal would lower the gradient's norm, g and H those of loss(y / T, batch).

    Removing weight q changes |g|^2 by -2 w_q (Hg)_q, to first order.
    *Paper:* Wang, Zhang, Grosse 2020, "Picking winning tickets before training by preserving gradient flow",
    arXiv:2002.07376, with the sign turned: there the highest go.
    *Differs:* one batch at once, in evaluation mode; T is from the authors' code.
    """
    layers = chosen(model, only)
    weights = [layer.weight for layer in layers.values()]
    with evaluating(model), torch.enable_grad():
        value = loss(model(batch.inputs) / temperature, batch)
        gradients = torch.autograd.grad(value, weights, create_graph=True)
        along = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
        products = torch.autograd.grad(along, weights, materialize_grads=True)
    return {f"{name}.weight": w.detach() * h for name, w, h in zip(layers, weights, products, strict=True)}


def synflow(model: nn.Module, inputs: Tensor, *, only: Iterable[str] | None = None) -> Scores:
    """|w| * dR/d|w|, R the sum of the outputs of the network with all its numbers made positive, on an input of ones.

    The scores of a layer without biases sum to R, whatever the layer: those of a thin one are high, and it is not
    emptied before the others. `inputs` only gives the shape. In float64, since products over many layers overflow.
    *Paper:* Tanaka, Kunin, Yamins, Ganguli 2020, "Pruning neural networks without any data by iteratively conserving
    synaptic flow", arXiv:2006.05467. *Differs:* on a copy, so no signs have to be put back.
    """
    positive = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for values in (*positive.parameters(), *positive.buffers()):
            values.abs_()
    layers = chosen(positive, only)
    weights = [layer.weight.requires_grad_() for layer in layers.values()]
    with torch.enable_grad():
        total = positive(torch.ones_like(inputs[:1], dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(total, weights)
    return {f"{name}.weight": w.detach() * g for name, w, g in zip(layers, weights, gradients, strict=True)}
