"""Criterion: what the evidence says about each weight or neuron of one layer; and its use on every layer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.called import checked
from sapwood.currency import Scores
from sapwood.errors import InputError, refuse_unless
from sapwood.scoring.evidence import Evidence, Statistic
from sapwood.scoring.layers import Weight, weights
from sapwood.scoring.layout import matrix, shaped

Seen = Mapping[str, Tensor]  # statistic -> its sum, for one layer


@dataclass(frozen=True)
class Criterion:
    """A rule that scores one layer's weights, outputs or inputs; the highest scores are kept.

    `score(w_OI, seen)` is local and pure: one layer's weight, flattened to outputs x (inputs times kernel
    positions), and what that layer saw. It returns w's shape (per="weight"), [O] (per="output") or [I] (per="input").
    `rescaling_invariant` declares that multiplying a ReLU unit's incoming weights and dividing its outgoing ones
    changes no score; the laws hold a criterion to what it declares.
    """

    score: Callable[[Tensor, Seen], Tensor]
    needs: tuple[Statistic, ...] = ()
    per: Literal["weight", "output", "input"] = "weight"
    rescaling_invariant: bool = False

    def __post_init__(self) -> None:
        refuse_unless("per", self.per, ("weight", "output", "input"))
        if isinstance(self.needs, str) or not all(isinstance(each, Statistic) for each in self.needs):
            raise InputError(f"needs is {self.needs!r}; give a tuple of statistics, as in needs=(active, count)")


@checked()
@torch.no_grad()
def score(
    model: nn.Module,
    criterion: Criterion,
    evidence: Evidence | None = None,
    *,
    only: Iterable[str] | None = None,
    per_neuron: bool = False,
) -> Scores:
    """A criterion applied to each layer: {parameter name: scores shaped like the parameter}.

    A weight that several layers share is scored once, by its first name. `only` may also name parameters of other
    modules, such as an LSTM's "lstm.weight_hh_l0": each row of such a weight is taken for one output.
    Scores of outputs or inputs are repeated over the weights they stand for. `per_neuron` replaces every weight's
    score by the mean over its neuron's incoming weights, so that selection takes neurons one after another: with
    `magnitude` it ranks the neurons of a layer by the L1 norm of their incoming weights. A mean, because a sum would
    rank layers by their number of inputs first.

    >>> net = nn.Sequential(nn.Linear(2, 1, bias=False))
    >>> net[0].weight.data = torch.tensor([[-3.0, 0.5]])
    >>> score(net, CRITERIA["magnitude"])
    {'0.weight': tensor([[3.0000, 0.5000]])}
    """
    seen = evidence or {}
    return {each.parameter: _spread(each, criterion, seen, per_neuron) for each in weights(model, only)}


def _spread(weight: Weight, criterion: Criterion, evidence: Evidence, per_neuron: bool) -> Tensor:
    name, seen = weight.name, evidence.get(weight.name, {})
    if missing := [statistic for statistic in criterion.needs if statistic not in seen]:
        raise _unseen(name, missing[0], evidence)
    tensor = processes.whole(weight.tensor).detach()  # of a sharded model, one layer at a time
    w_OI = matrix(weight.layer, moduli(tensor))
    writes = _writes(tensor)
    raw = criterion.score(w_OI, seen)
    if _writes(tensor) != writes:
        raise InputError(
            f"the criterion has written into the weights of layer {name!r}, whose numbers are lost; load them again, "
            "and let it compute on copies: w_OI.abs(), not w_OI.abs_()"
        )
    expected = {"weight": w_OI.shape, "output": w_OI.shape[:1], "input": w_OI.shape[1:]}[criterion.per]
    found = tuple(raw.shape) if isinstance(raw, Tensor) else type(raw).__name__
    if found != tuple(expected):
        raise InputError(
            f"the criterion gave layer {name!r} scores of shape {found}; per={criterion.per!r} means {tuple(expected)}"
        )
    s_OI = {"weight": raw, "output": raw[:, None], "input": raw[None]}[criterion.per] if raw.dim() == 1 else raw
    if per_neuron and criterion.per != "output":
        s_OI = s_OI.expand_as(w_OI).double().mean(1, keepdim=True)
    return shaped(weight.layer, s_OI.expand_as(w_OI), tensor)


def _writes(tensor: Tensor) -> int:
    """How often a tensor has been written to; torch does not count that of one made in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


def moduli(weight: Tensor) -> Tensor:
    """A real weight as it is, and how large the numbers of a complex one are: what criteria compute with."""
    return weight.abs() if weight.is_complex() else weight


def _unseen(name: str, statistic: Statistic, evidence: Evidence) -> InputError:
    how = f"observe(model, batches, {statistic}, loss=...)" if statistic.backward else f"observing(model, {statistic})"
    said = f"the criterion needs statistic {str(statistic)!r} of layer {name!r}; gather it with {how}"
    others = [layer for layer, sums in evidence.items() if statistic in sums]
    return InputError(f"{said}; the evidence has it of {', '.join(map(repr, others))}" if others else said)
