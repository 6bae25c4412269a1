"""Components: products of two matrices as sums of rank-one parts, each of which can be removed; their sizes and ranks.

The inner units of a layer in two factors are such parts, and so are the features of an embedding that one linear layer
reads: one matrix makes them, one reads them, and nothing stands between. A part costs a row of one and a column of the
other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sapwood.currency import Keep, Scores
from sapwood.errors import InputError
from sapwood.reconstruction.factors import Factored, decomposed, factored, rates
from sapwood.scoring.layers import chosen
from sapwood.selection import select
from sapwood.shrinking.cost import Cost, fewest, parameters_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site
from sapwood.training.draws import luck
from sapwood.training.run import Run

FACTORS = (
    "a network without factors gets some, and these are layers that the task's network has not"  # so no file loads
)


def factorise(run: Run, rank: int = 0) -> None:
    """Put two factors in place of each hidden linear layer, unless the network has factors.

    `rank`: how many components each gets at most; 0: as many as cost no more than the layer did.
    """
    if any(isinstance(module, Factored) for module in run.model.modules()):
        return
    layers = {name: layer for name, layer in chosen(run.model, run.hidden()).items() if isinstance(layer, nn.Linear)}
    for name, layer in layers.items():
        inputs, outputs = layer.in_features, layer.out_features
        fair = max(1, inputs * outputs // (inputs + outputs))
        run.model.set_submodule(name, factored(name, layer, min(rank or fair, inputs, outputs)))
    groups = rates(run.model, run.optimizer.param_groups[0]["lr"])
    run.become(run.model, run.task.optimizer(groups))  # type: ignore[arg-type]


def paced(run: Run) -> None:
    """Under SGD, the optimiser begins anew at rates that factors stand, as `rates` says; others set their own pace."""
    if isinstance(run.optimizer, SGD):
        groups = rates(run.model, run.optimizer.param_groups[0]["lr"])
        run.become(run.model, run.task.optimizer(groups))  # type: ignore[arg-type]


def components(anatomy: Anatomy) -> tuple[Site, ...]:
    """The sites whose units are components; InputError if there are none."""
    found = tuple(site for site in sites(anatomy) if not site.lossy and _is_product(anatomy.model, site))
    if not found:
        raise InputError(f"{type(anatomy.model).__name__} has no linear layer that can be two factors, no embedding "
                         "that one linear layer reads; give a network that has, as `models.sru`")  # fmt: skip
    return found


class Budget(NamedTuple):
    """How many parameters components have in all, as a share that is gone."""

    cost: Cost
    whole: float  # with all of them
    least: float  # with none

    def sparsity(self, keep: Mapping[str, Tensor]) -> Tensor:
        """The share of the components' parameters that is gone; of P(open) the expected one, with gradients."""
        return (self.whole - self.cost(keep)) / (self.whole - self.least)

    def within(self, scores: Scores, sparsity: float, zeros: Callable[[Keep], int] = lambda keep: 0) -> Keep:
        """The components that stay, the lowest scores removed first until at least the share `sparsity` is gone.

        `zeros` says how many numbers of the components that stay will be 0, and so are gone too.
        """
        most = self.whole - sparsity * (self.whole - self.least)
        return fewest(scores, lambda keep: self.cost(keep) - zeros(dict(keep)), most)


def budget(model: nn.Module, found: Sequence[Site]) -> Budget:
    """The budget of a network's components."""
    cost = parameters_of(model, found)
    none = {site.name: torch.zeros(site.units, dtype=torch.bool) for site in found}
    return Budget(cost, float(cost({})), float(cost(none)))


def norms(model: nn.Module, found: Sequence[Site]) -> Scores:
    """The Frobenius norm of each component, of its column times that of its row."""
    pairs = {site.name: pair(model, site) for site in found}
    return {name: left.detach().norm(dim=0) * right.detach().norm(dim=1) for name, (left, right) in pairs.items()}


def shares(found: Sequence[Site]) -> Scores:
    """Scores by which the last components go first, of each site the same share."""
    return {site.name: 1 - torch.arange(site.units, dtype=torch.float64) / site.units for site in found}


@torch.no_grad()
def ordered_(model: nn.Module, found: Sequence[Site], *, apart: bool = False) -> Scores:
    """Make the components of each product its singular ones, the largest first, in place; what it computes stays.

    Returns the singular values σ. Each matrix holds √σ, or with `apart` neither: the product is U diag(σ) Vᵀ then, and
    the columns of U and of V are orthonormal.
    """
    values = dict[str, Tensor]()
    for site in found:
        left_OK, right_KI = pair(model, site)
        whole = left_OK.double() @ right_KI.double()
        rank = min(site.units, *whole.shape)  # components beyond are 0
        u, sigma, vt = decomposed(whole, rank)
        root = torch.ones_like(sigma) if apart else sigma.sqrt()
        left_OK.zero_()[:, :rank].copy_(u * root)
        right_KI.zero_()[:rank].copy_(root[:, None] * vt)
        values[site.name] = torch.cat([sigma, sigma.new_zeros(site.units - rank)]).to(left_OK)
    return values


def elsewhere(keep: Keep, seed: int) -> Keep:
    """As many components of each site, drawn anew."""
    drawn = luck(seed, "shuffled components")
    lots = {name: torch.rand(len(kept), generator=drawn, dtype=torch.float64) for name, kept in keep.items()}
    return select.by_count(lots, {name: int(kept.sum()) for name, kept in keep.items()})


def _is_product(model: nn.Module, site: Site) -> bool:
    """Whether one matrix makes the units, one reads them, and nothing is between."""
    by_role = {slot.role: slot for slot in site.slots if torch.equal(slot.unit_of, torch.arange(site.units))}
    if len(site.slots) != 2 or set(by_role) != {"makes", "reads"}:
        return False
    maker, reader = (by_role[role].tensor.rpartition(".")[0] for role in ("makes", "reads"))
    first, outer = model.get_submodule(maker), model.get_submodule(maker.rpartition(".")[0])
    both = isinstance(outer, Factored) and model.get_submodule(reader) is outer[1]
    return both or (isinstance(first, nn.Embedding) and isinstance(model.get_submodule(reader), nn.Linear))


def pair(model: nn.Module | Mapping[str, Tensor], site: Site) -> tuple[Tensor, Tensor]:
    """The matrices left_OK, which reads, and right_KI, which makes, as views in the order of the units.

    Of a mapping, {parameter: tensor of its shape}, the two tensors that stand there.
    """
    tensors = dict(model.named_parameters()) if isinstance(model, nn.Module) else model
    (made,), (read,) = site.at("makes"), site.at("reads")
    return tensors[read.tensor].movedim(read.dim, 1), tensors[made.tensor].movedim(made.dim, 0)
