"""Shown: the batches of a user's own, for criteria that look at data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sapwood.currency import Scores
from sapwood.errors import InputError
from sapwood.export.members import unit_scores
from sapwood.export.samples import samples_of
from sapwood.measure.example import Example
from sapwood.scoring import batches as batching
from sapwood.scoring.evidence import Evidence, Statistic
from sapwood.scoring.gradients import refuse_no_sum
from sapwood.scoring.modes import evaluating
from sapwood.scoring.observation import observe
from sapwood.scoring.unit_criterion import UnitCriterion
from sapwood.shrinking.tracing.site import Site

Looked = Evidence | Iterable[Any]  # what was gathered, or batches
Loss = Callable[[Any, Any], Tensor]  # (outputs, batch) -> the sum over the batch


def seen_by(
    model: nn.Module, needs: Sequence[Statistic], evidence: Looked | None, loss: Loss | None
) -> Evidence | None:
    """What a criterion of weights needs: as it was gathered, or gathered now, over batches."""
    if not needs or isinstance(evidence, dict):
        found = evidence if isinstance(evidence, dict) else None
    else:
        found = None if evidence is None else observe(model, evidence, *needs, loss=loss)
    if needs and not found:
        said = ", ".join(needs)
        raise InputError(f"the criterion needs {said}; gather it first: evidence=observe(model, batches, *by.needs), "
                         "or give the batches: evidence=batches")  # fmt: skip
    return found


def of_units(
    judge: UnitCriterion, name: object, model: nn.Module, sites: Sequence[Site], batches: Looked | None,
    loss: Loss | None, example: Example | None,
) -> Scores:  # fmt: skip
    """What a criterion of units says, {site: float64 [units]}; of batches in evaluation mode, if it looks at any."""
    shown: Iterable[_Shown] = ()
    if judge.of == "outputs" or judge.backward:
        what = "gradients" if judge.backward else "outputs"
        if batches is None or isinstance(batches, Mapping):
            raise InputError(f"criterion {_said(name)} looks at {what} of units, which evidence of layers does not "
                             "have; give the batches themselves: evidence=batches")  # fmt: skip
        if judge.backward and loss is None:
            raise InputError(f"criterion {_said(name)} looks at gradients; give loss=, a function of outputs and batch "
                             "that returns the sum of losses over the batch")  # fmt: skip
        shown = (_Shown(*pair) for pair in batching.each(model, batches, "evidence="))
    with evaluating(model):
        found = unit_scores(judge, model, sites, _Asks(example, loss), shown)
    return {site: each.detach().cpu() for site, each in found.items()}


def _said(name: object) -> str:
    return repr(name) if isinstance(name, str) else "by"


@dataclass(frozen=True)
class _Shown:
    """A batch, and the arguments that it makes."""

    given: Any
    arguments: batching.Arguments

    def __len__(self) -> int:
        return samples_of((*self.arguments.positional, *self.arguments.keywords.values()))


@dataclass(frozen=True)
class _Asks:
    """How a user's own model is asked."""

    examples: Example | None
    summed: Loss | None
    count: Callable[[Any], float] = len

    def forward(self, model: nn.Module, batch: _Shown) -> Any:
        """The model's outputs."""
        return batch.arguments.call(model)

    def loss(self, model: nn.Module, batch: _Shown, outputs: Any) -> Tensor:
        """The mean over samples."""
        assert self.summed is not None  # looked at before
        return refuse_no_sum(self.summed(outputs, batch.given)) / len(batch)
