"""Saliency: scores of weights that need the whole network at once, not one layer and what it saw. Higher stays.

What a `Criterion` cannot say, since what it may look at is a sum over samples of one layer's own inputs, outputs and
gradients: a product with the Hessian of all layers, and a gradient of the network with other weights than its own.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.currency import Scores
from sapwood.errors import InputError
from sapwood.scoring import batches
from sapwood.scoring.gradients import along, differentiable, refuse_unused, tensors
from sapwood.scoring.layers import weights
from sapwood.scoring.modes import eagerly, evaluating


def grasp(
    model: nn.Module,
    batch: Any,
    loss: Callable[[Any, Any], Tensor],
    *,
    only: Iterable[str] | None = None,
    temperature: float = 200.0,
) -> Scores:
    """w * Hg: those weights stay whose removal would lower the gradient's norm, g and H those of loss(y / T, batch).

    Removing weight q changes |g|^2 by -2 w_q (Hg)_q, to first order. A batch is what `observe` takes; the model's
    outputs are one tensor.
    *Paper:* Wang, Zhang, Grosse 2020, "Picking winning tickets before training by preserving gradient flow",
    arXiv:2002.07376, with the sign turned: there the highest go.
    *Differs:* one batch at once, in evaluation mode; T is from the authors' code.
    """
    processes.refuse_sharded(model, "take the scores of grasp(), which goes backward twice,")
    watched = weights(model, only)
    with evaluating(model), eagerly():
        ((given, arguments),) = batches.each(model, [batch], "grasp()")
        with differentiable(model, watched) as used:
            outputs = arguments.call(model)
            if not isinstance(outputs, Tensor):
                raise InputError(f"the model gave a {type(outputs).__name__}; grasp() needs one tensor of outputs")
            gradients, _ = along(loss(outputs / temperature, given), used, create_graph=True)
            refuse_unused([name for name, g in gradients.items() if g is None])
            products, _ = along(
                torch.stack([(g.detach() * g).sum() for g in gradients.values() if g is not None]).sum(), used
            )
    return {
        each.parameter: each.tensor.detach() * (torch.zeros_like(each.tensor) if h is None else h)
        for each, h in zip(watched, products.values(), strict=True)
    }


def synflow(model: nn.Module, inputs: Tensor, *, only: Iterable[str] | None = None) -> Scores:
    """|w| * dR/d|w|, R the sum of the outputs of the network with all its numbers made positive, on an input of ones.

    The scores of a layer without biases sum to R, whatever the layer: those of a thin one are high, and it is not
    emptied before the others. `inputs` only gives the shape. In float64, since products over many layers overflow.
    *Paper:* Tanaka, Kunin, Yamins, Ganguli 2020, "Pruning neural networks without any data by iteratively conserving
    synaptic flow", arXiv:2006.05467. *Differs:* the model's own numbers stay, so no signs have to be put back.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        given = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise InputError(f"inputs are {given}; synflow() sends ones through the network, so give one tensor of floats")
    processes.refuse_sharded(model, "take the scores of synflow(), which computes with other numbers than the model's,")
    watched = weights(model, only)
    with torch.no_grad():
        positive = {name: _positive(value) for name, value in (*model.named_buffers(), *model.named_parameters())}
    with evaluating(model), eagerly(), differentiable(model, watched) as used:
        for each in watched:
            if used[each.name]:
                used[each.name] = [positive[each.parameter]]
        ones = torch.ones_like(inputs[:1], dtype=torch.float64)
        outputs = tensors(torch.func.functional_call(model, positive, (ones,)))
        gradients, _ = along(torch.stack([y.sum() for y in outputs if y.is_floating_point()]).sum(), used)
    refuse_unused([name for name, g in gradients.items() if g is None])
    return {
        each.parameter: used[each.name][0].detach() * g
        for each, g in zip(watched, gradients.values(), strict=True)
        if g is not None
    }


def _positive(value: Tensor) -> Tensor:
    """|value| in float64; of parameters with a gradient of its own."""
    positive = value.detach().abs()
    if value.is_floating_point():
        positive = positive.double().requires_grad_(isinstance(value, nn.Parameter))
    return positive
