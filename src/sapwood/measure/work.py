"""FLOPs: multiplications and additions of a network's layers for one sample, dense or of the non-zero weights only.

These are counts of operations, not speed: dense kernels multiply zeros as fast as anything. `latency` measures speed.
"""

from collections import Counter
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood import processes
from sapwood.errors import InputError
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.layers import every_layer
from sapwood.scoring.layout import Layer, rows
from sapwood.scoring.untouched import untouched, watching

# These multiply weights without calling a Linear or Conv, so a count would silently be too small.
UNCOUNTED = (
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.Bilinear,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def macs(model: nn.Module, example: Example, *, sparse: bool = False) -> dict[str, int]:
    """Multiply-adds of every Linear and Conv1d-3d for the first sample of `example`, by layer name.

    positions * entries of the weight; with `sparse`, positions * non-zero entries. A position is one place where the
    weight is applied: a pixel of a convolution's output, any leading index of a Linear's. Padding is multiplied too.
    A layer called twice counts twice; one that is never called counts 0. Products of activations with each other,
    as in attention, are not counted; modules that hide their weights' products are refused.
    """
    found = every_layer(model)
    positions = _positions(model, found, example)
    weights = {name: processes.whole(layer.weight) if sparse else layer.weight for name, layer in found.items()}
    return {name: positions[name] * (int(w.count_nonzero()) if sparse else w.numel()) for name, w in weights.items()}


def flops(model: nn.Module, example: Example, *, sparse: bool = True) -> int:
    """2 * multiply-adds over all layers for one sample: of the non-zero weights, or with sparse=False of all.

    Biases and activation functions are left out, the output layer is in. 784-300-200-100-50-10 has 641 400.
    *Paper:* Ganguli & Chong 2024, table 5. The dense count is that of `torch.utils.flop_counter`.

    >>> net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
    >>> measure.flops(net, torch.rand(1, 784))
    476400
    """
    return 2 * sum(macs(model, example, sparse=sparse).values())


def activation_density(model: nn.Module, example: Example) -> dict[str, float]:
    """The share of numbers read by each layer that are not 0, over all samples of `example`, by layer name.

    Kept apart from `flops`: zeros in activations depend on the data and need other kernels than zeros in weights.
    Layers that are never called are left out.
    """
    live: Counter[str] = Counter()
    read: Counter[str] = Counter()

    def see(name: str, x: Tensor, y: Tensor) -> None:
        live[name] += int(x.count_nonzero())
        read[name] += x.numel()

    with untouched(model), watching(every_layer(model), see):
        call(model, _samples(example))
    return {name: live[name] / read[name] for name in read if read[name]}


def _positions(model: nn.Module, found: dict[str, Layer], example: Example) -> Counter[str]:
    """In how many places each layer's weight is applied for the first sample."""
    _refuse_uncounted(model)
    positions: Counter[str] = Counter()

    def see(name: str, x: Tensor, y: Tensor) -> None:
        positions[name] += len(rows(found[name], y))

    with untouched(model), watching(found, see):
        call(model, pytree.tree_map_only(Tensor, lambda x: x[:1], _samples(example)))
    return positions


def _samples(example: Example) -> tuple[Any, ...]:
    """The inputs, of each of whose tensors the first dimension counts samples."""
    inputs = as_tuple(example)
    tensors = [x for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor)]
    if not tensors or any(x.ndim == 0 or len(x) == 0 for x in tensors):
        raise InputError(f"example has shapes {[tuple(x.shape) for x in tensors]}; give at least one sample")
    return inputs


def _refuse_uncounted(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, UNCOUNTED):
            raise InputError(
                f"{name or 'the model'!r} is {type(module).__name__}, whose multiply-adds are not counted "
                "here; measure its latency, or count with torch.utils.flop_counter"
            )
