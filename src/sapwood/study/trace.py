"""Traces: what a trial writes down while it runs, when it is asked to; each entry is an epoch's part and a prune's."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from sapwood.measure.spectrum import singular_values
from sapwood.observe import chosen
from sapwood.run import Run
from sapwood.study.final import Measure, shape


class Trace(NamedTuple):
    """What is measured at the end of an epoch, and just before new masks are put on."""

    at_epoch: Callable[[Run], Iterator[Measure]]
    at_prune: Callable[[Run, Mapping[str, Tensor]], Iterator[Measure]]


def _shapes(run: Run) -> Iterator[Measure]:
    """Every kind of rank and the nuclear norm of each hidden layer, as at the end of a trial."""
    yield from (
        Measure("network", metric, float(value)) for metric, value in shape(run.model, run.task.example).items()
    )


def _spectra(run: Run, masks: Mapping[str, Tensor]) -> Iterator[Measure]:
    """The singular values of each hidden layer before and after the prune, largest first: sigma_LAYER_INDEX."""
    for i, (name, layer) in enumerate(chosen(run.model, run.hidden()).items(), start=1):
        keep = masks.get(f"{name}.weight")
        pruned = layer.weight if keep is None else layer.weight * keep
        for when, w in (("before prune", layer.weight), ("after prune", pruned)):
            values = enumerate(singular_values(w).tolist(), start=1)
            yield from (Measure(when, f"sigma_{i}_{at}", value) for at, value in values)


TRACES: dict[str, Trace] = {"spectra": Trace(_shapes, _spectra)}
