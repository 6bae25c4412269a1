"""Compression: every meaning of "how much smaller" side by side, because no two of them agree."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.errors import InputError, unknown
from sapwood.measure.clock import Ratio
from sapwood.measure.example import Example
from sapwood.measure.ranks import as_matrix
from sapwood.measure.work import flops
from sapwood.scoring.layers import prunable as layers

Weights = dict[str, Tensor]
POINTER_BITS = 32
SHORT_INDEX_BITS = 16


@dataclass(frozen=True)
class Compression:
    """How much smaller a network is, in all the usual senses.

    N entries of the reference (the network itself unless another is given), n entries that are not 0 now, b bits per
    entry as stored in memory (32 for float32). Sums run over "all" parameters (weights, biases, norms; not buffers) or
    over the "prunable" weights. Every number is a sum over layers before it is a quotient: averages of layer
    sparsities appear nowhere. Ratios are reference / now, larger is smaller, inf when nothing is left.
    """

    prunable_sparsity: float
    """1 - n / N over the prunable weights."""
    all_sparsity: float
    """1 - n / N over all parameters; a bias that happens to be 0 counts as removed."""
    nonzero_ratio: float
    """N / n over all parameters."""
    storage_ratio_bitmask: float
    """N b / (N' + n b) over all parameters: one bit per entry N' of the network now, then the values."""
    storage_ratio_csr: float
    """N b / (Σ prunable (n (b + c) + 32 (rows + 1)) + Σ others N' b): compressed sparse rows, one row per output,
    column index of c = 16 bits where the columns number at most 65 536, else 32; the rest stored densely."""
    stored_bits_ratio: float
    """N b / (Σ prunable (H(mask) + H(levels) + b * levels in use) + Σ others N' b), an entropy BOUND, not a file size.

    H are Shannon entropies in bits, summed over entries: of zero or not, and of the survivors rounded to 2^bits evenly
    spaced levels between the layer's smallest and largest survivor; then one codebook value per level in use. No code
    that treats entries as independent is shorter; real ones add their tables and padding."""
    flops_dense_ratio: float
    """Dense FLOPs of the reference / dense FLOPs now: what ordinary kernels save. 1 until the network is compacted."""
    flops_sparse_ratio: float
    """Dense FLOPs of the reference / FLOPs of the non-zero weights now: what ideal sparse kernels would save."""
    memory_ratio: float
    """Bytes of parameters and buffers as they lie in memory, reference / now. 1 until the network is compacted."""
    measured: Ratio | None = None
    """Time now / time of the reference from `latency` and `ratio`; None when it was not measured."""


@torch.no_grad()
def compression(
    model: nn.Module,
    example: Example,
    *,
    prunable: Collection[str] | None = None,
    bits: int = 5,
    reference: nn.Module | None = None,
    measured: Ratio | None = None,
) -> Compression:
    """All senses of compression of a network with zeros in it.

    `prunable` names parameters (default: the weights of all Linear and Conv layers). `reference` is the network it is
    compared with, needed once the network has been compacted. `measured` is passed on.

    >>> net = nn.Linear(10, 10)
    >>> with hold(net, torch.optim.SGD(net.parameters()), {"weight": torch.eye(10) > 0}):
    ...     round(measure.compression(net, torch.rand(1, 10)).nonzero_ratio, 1)  # 110 numbers, 20 of them not 0
    5.5
    """
    if not 1 <= bits <= 16:
        raise InputError(f"bits is {bits}; survivors are rounded to 2^bits levels, give 1 to 16")
    dense = model if reference is None else reference
    processes.refuse_sharded(model, "measure its compression")
    weights, original = _weights(model), _weights(dense)
    names, before = _prunable(model, dense, weights, original, prunable)
    chosen, rest = {name: weights[name] for name in names}, [w for name, w in weights.items() if name not in names]
    dense_bits, rest_bits = _dense_bits(original.values()), _dense_bits(rest)
    dense_flops = flops(dense, example, sparse=False)
    return Compression(
        prunable_sparsity=1 - _nonzero(chosen.values()) / _entries(original[name] for name in before),
        all_sparsity=1 - _nonzero(weights.values()) / _entries(original.values()),
        nonzero_ratio=_over(_entries(original.values()), _nonzero(weights.values())),
        storage_ratio_bitmask=_over(dense_bits, sum(_bitmask_bits(w) for w in weights.values())),
        storage_ratio_csr=_over(dense_bits, rest_bits + sum(_csr_bits(w) for w in chosen.values())),
        stored_bits_ratio=_over(dense_bits, rest_bits + sum(_entropy_bits(w, bits) for w in chosen.values())),
        flops_dense_ratio=_over(dense_flops, flops(model, example, sparse=False)),
        flops_sparse_ratio=_over(dense_flops, flops(model, example)),
        memory_ratio=_over(_held_bits(dense), _held_bits(model)),
        measured=measured,
    )


def _weights(model: nn.Module) -> Weights:
    """All parameters by name, each tensor once however many layers share it."""
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, w in weights.items():
        if not bool(torch.isfinite(w).all()):
            raise InputError(f"parameter {name!r} holds NaN or infinite values; it cannot be stored or counted")
    return weights


def _prunable(
    model: nn.Module, dense: nn.Module, now: Weights, original: Weights, given: Collection[str] | None
) -> tuple[list[str], list[str]]:
    """The prunable parameters' names in the network as it is now, and in the reference, in their orders.

    Names that are given must be in both; layers may differ, as where one layer has become two factors.
    """
    both = [
        (weights, _layer_weights(net) if given is None else given) for net, weights in ((model, now), (dense, original))
    ]
    if not both[0][1]:
        raise InputError("prunable names no parameter; name at least one, or leave it out for all layers' weights")
    for weights, names in both:
        if missing := [name for name in names if name not in weights]:
            raise unknown("prunable parameter", missing[0], weights)
    first, second = ([name for name in weights if name in names] for weights, names in both)
    return first, second


def _layer_weights(model: nn.Module) -> list[str]:
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    for name, layer in layers(model).items():
        if id(layer.weight) not in name_of:
            raise InputError(
                f"the weight of layer {name!r} is computed, not a parameter, so its zeros are not stored; "
                "remove the parametrization first (torch.nn.utils.prune.remove, or its like)"
            )
    return [name_of[id(layer.weight)] for layer in layers(model).values()]


def _over(reference: float, now: float) -> float:
    return reference / now if now else math.inf


def _entries(tensors: Iterable[Tensor]) -> int:
    return sum(w.numel() for w in tensors)


def _nonzero(tensors: Iterable[Tensor]) -> int:
    return sum(int(w.count_nonzero()) for w in tensors)


def _width(w: Tensor) -> int:
    """Bits of one entry in memory."""
    return 8 * w.element_size()


def _dense_bits(tensors: Iterable[Tensor]) -> int:
    return sum(w.numel() * _width(w) for w in tensors)


def _held_bits(model: nn.Module) -> int:
    return _dense_bits(chain(model.parameters(), model.buffers()))


def _bitmask_bits(w: Tensor) -> int:
    return w.numel() + int(w.count_nonzero()) * _width(w)


def _csr_bits(w: Tensor) -> int:
    rows, columns = as_matrix(w).shape
    index = SHORT_INDEX_BITS if columns <= 2**SHORT_INDEX_BITS else 32
    return int(w.count_nonzero()) * (_width(w) + index) + POINTER_BITS * (rows + 1)


def _entropy_bits(w: Tensor, bits: int) -> float:
    """Entropy bound of where the survivors are and which level each has, plus the codebook."""
    survivors = w[w != 0].double()
    mask = _code_bits(torch.tensor([len(survivors), w.numel() - len(survivors)]))
    if not len(survivors):
        return mask
    low, high = survivors.aminmax()
    level = ((survivors - low) / (high - low).clamp(min=torch.finfo(torch.float64).tiny) * (2**bits - 1)).round()
    used = level.long().bincount()
    return mask + _code_bits(used) + int(used.count_nonzero()) * _width(w)


def _code_bits(counts: Tensor) -> float:
    """Σ c log2(total / c): what an ideal code spends on symbols that occur c times each."""
    counts = counts[counts > 0].double()
    return float((counts * (counts.sum() / counts).log2()).sum())
