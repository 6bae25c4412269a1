"""Sharing: weights of one layer that are in one cluster have one value, and learn as one.

A hook before the optimiser's step gives every weight the gradient of its centroid, the sum over its cluster; another,
after it, gives the cluster the value that its first weight has got. To an optimiser that treats weights one by one
(SGD, Adam, RMSprop, Adagrad), with momentum and weight decay, that is one trained parameter for each cluster. It must
begin without state, or the weights of a cluster bring different momentum along.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes
from sapwood.codec.kmeans import gathered, kmeans
from sapwood.errors import InputError
from sapwood.selection import thresholds

NOWHERE = -1  # the label of a weight that has been removed
BITS = 15  # labels are int16
Clusters = dict[str, tuple[Tensor, Tensor]]  # parameter -> values, labels


def widths(bits: str, tensors: Iterable[str], option: str = "bits") -> dict[str, int]:
    """Bits for each tensor from an option's words: "6" for all of them, or "8 8 5 5" one by one."""
    found = thresholds.numbers(option, bits, tensors)
    if any(width not in range(1, BITS + 1) for width in found.values()):
        raise InputError(
            f"{option} is {bits!r}; give whole numbers in 1..{BITS}, for 2^bits different values in a layer"
        )
    return {name: int(width) for name, width in found.items()}


def clustered(w: Tensor, keep: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Up to 2^bits values for the weights that are kept, and labels of w's shape: which of them; -1 where none is kept.

    Every value has a weight.
    """
    centroids, nearest = kmeans(w.detach()[keep], 2**bits)
    used, within = nearest.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    labels = torch.full_like(w, NOWHERE, dtype=torch.int16)
    labels[keep] = within.to(torch.int16)
    return centroids[used], labels


def clusters_of(model: nn.Module, keep: Mapping[str, Tensor], bits: Mapping[str, int]) -> Clusters:
    """Clusters of the parameters that `bits` names; of one that has no mask in `keep`, all entries are kept."""
    processes.refuse_sharded(model, "let its weights share values")
    of = {name: model.get_parameter(name) for name in bits}
    return {
        name: clustered(w, keep.get(name, torch.ones_like(w, dtype=torch.bool)), bits[name]) for name, w in of.items()
    }


class Sharing:
    """Clusters in force on a model and its optimiser, until `release`. Also a context manager."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, clusters: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """{parameter: (values, labels)}, as `clustered` gives them: weights take their values now, removed ones 0."""
        self._clusters = [_clusters(model.get_parameter(name), *each) for name, each in clusters.items()]
        self._hooks = [
            optimizer.register_step_pre_hook(lambda *_: self._gather()),
            optimizer.register_step_post_hook(lambda *_: self._spread()),
        ]

    @torch.no_grad()
    def _gather(self) -> None:
        for each in self._clusters:
            if each.weight.grad is not None:
                sums = gathered(each.weight.grad[each.places], each.labels, len(each.first[0]))
                each.weight.grad[each.places] = sums.to(each.weight.dtype)[each.labels]

    @torch.no_grad()
    def _spread(self) -> None:
        """Equal numbers under equal operations need not stay equal to the last bit: how they are grouped may matter."""
        for each in self._clusters:
            each.weight[each.places] = each.weight[each.first][each.labels]

    def release(self) -> None:
        """Weights of a cluster may differ again."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> "Sharing":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


class _Clusters(NamedTuple):
    weight: nn.Parameter
    places: tuple[Tensor, ...]  # of the weights that are kept, an index for each dimension
    labels: Tensor  # [weights kept]
    first: tuple[Tensor, ...]  # of the first weight of each cluster


@torch.no_grad()
def _clusters(weight: nn.Parameter, values: Tensor, labels: Tensor) -> _Clusters:
    places = (labels != NOWHERE).nonzero(as_tuple=True)
    kept = labels[places].long()
    number = torch.arange(len(kept), device=kept.device)
    first = torch.full_like(values, len(kept), dtype=torch.int64).scatter_reduce(0, kept, number, "amin")
    weight.zero_()
    weight[places] = values[kept]
    return _Clusters(weight, places, kept, tuple(index[first] for index in places))
