"""Best: the network of the epoch that is best by the task's goal on validation data, beside the last one.

The search restarts after every prune and in every phase: a network from before a prune is not the pruned network's
best. Of equal epochs the first one counts. The result is only measured; no decision depends on it.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sapwood.errors import InputError
from sapwood.run import Run
from sapwood.study.final import Measure
from sapwood.train import Moment, measured


@dataclass(frozen=True)
class Best:
    """The best so far; `weights` are empty as long as there is none."""

    valid: float = -math.inf
    epoch: int = 0
    stage: str = ""  # phase and round: what it is the best of
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "Best":
        """What `state` gave."""
        return cls(**state) if state else cls()

    def state(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        if not self.weights:
            return {}
        return {"valid": self.valid, "epoch": self.epoch, "stage": self.stage, "weights": dict(self.weights)}

    def after(self, run: Run, moment: Moment) -> "Best":
        """The best once this epoch is over and the method has acted, which its metrics take into account."""
        goal, stage = run.task.goal, f"{moment.phase}/{run.round}"
        value = moment.metrics.get(f"valid_{goal.metric}")
        if value is None or run.dense:
            return self
        if stage == self.stage and not goal.better(value, self.valid):
            return self
        weights = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
        return Best(value, moment.epoch, stage, weights)

    def measures(self, run: Run) -> Iterator[Measure]:
        """Its epoch, and what it gets right; nothing when the goal was not measured, or none since the last prune."""
        if not self.weights or not self.stage.endswith(f"/{run.round}"):
            return
        network = copy.deepcopy(run.model)
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            raise InputError(
                f"the best network in state.safetensors is another than the trial's "
                f"({str(error).strip().splitlines()[-1].strip()}); delete the trial's folder and run it again"
            ) from error
        yield Measure("best network", "epoch", float(self.epoch))
        for split in ("valid", "test"):
            found = measured(network, run.task, getattr(run.task.data, split))
            yield from (Measure(f"best {split}", metric, value) for metric, value in found.items())
