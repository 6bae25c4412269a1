"""The public names, re-exported one by one; each is imported when first used, so `import sapwood` costs nothing."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sapwood import (
        allocate,
        checkpoint,
        codec,
        export,
        losses,
        masks,
        measure,
        schedule,
        select,
        statistics,
        stopping,
    )
    from sapwood.criteria import CRITERIA
    from sapwood.criterion import Criterion, score
    from sapwood.declared import declares
    from sapwood.errors import InputError
    from sapwood.hold import hold
    from sapwood.methods import METHODS
    from sapwood.observe import Sight, Statistic, hidden, observe, observing, prunable
    from sapwood.run import Run, start
    from sapwood.shrinking.anatomy import Anatomy
    from sapwood.shrinking.cost import Cost, bytes_of, fewest, macs_of, parameters_of
    from sapwood.shrinking.shrink import Shrunk, compact, shrink
    from sapwood.shrinking.site import Site, Slot
    from sapwood.shrinking.sites import couplings, sites
    from sapwood.shrinking.timetable import latency_of, timetable
    from sapwood.shrinking.units import per_unit, spread
    from sapwood.statistics import STATISTICS
    from sapwood.task import Batch, Data, Task
    from sapwood.tasks import TASKS
    from sapwood.train import Moment, evaluate, train

__version__ = "0.1.0"

__all__ = [
    "CRITERIA",
    "METHODS",
    "STATISTICS",
    "TASKS",
    "Anatomy",
    "Batch",
    "Cost",
    "Criterion",
    "Data",
    "InputError",
    "Moment",
    "Run",
    "Shrunk",
    "Sight",
    "Site",
    "Slot",
    "Statistic",
    "Task",
    "allocate",
    "bytes_of",
    "checkpoint",
    "codec",
    "compact",
    "couplings",
    "declares",
    "evaluate",
    "export",
    "fewest",
    "hidden",
    "hold",
    "latency_of",
    "losses",
    "macs_of",
    "masks",
    "measure",
    "observe",
    "observing",
    "parameters_of",
    "per_unit",
    "prunable",
    "schedule",
    "score",
    "select",
    "shrink",
    "sites",
    "spread",
    "start",
    "statistics",
    "stopping",
    "timetable",
    "train",
]

_HOME = {  # public name -> the module it lives in; a public name that is not here is a module itself
    "CRITERIA": "sapwood.criteria",
    "METHODS": "sapwood.methods",
    "STATISTICS": "sapwood.statistics",
    "TASKS": "sapwood.tasks",
    "Anatomy": "sapwood.shrinking.anatomy",
    "Batch": "sapwood.task",
    "Cost": "sapwood.shrinking.cost",
    "Criterion": "sapwood.criterion",
    "Data": "sapwood.task",
    "InputError": "sapwood.errors",
    "Moment": "sapwood.train",
    "Run": "sapwood.run",
    "Shrunk": "sapwood.shrinking.shrink",
    "Sight": "sapwood.observe",
    "Site": "sapwood.shrinking.site",
    "Slot": "sapwood.shrinking.site",
    "Statistic": "sapwood.observe",
    "Task": "sapwood.task",
    "bytes_of": "sapwood.shrinking.cost",
    "compact": "sapwood.shrinking.shrink",
    "couplings": "sapwood.shrinking.sites",
    "declares": "sapwood.declared",
    "evaluate": "sapwood.train",
    "fewest": "sapwood.shrinking.cost",
    "hidden": "sapwood.observe",
    "hold": "sapwood.hold",
    "latency_of": "sapwood.shrinking.timetable",
    "macs_of": "sapwood.shrinking.cost",
    "observe": "sapwood.observe",
    "observing": "sapwood.observe",
    "parameters_of": "sapwood.shrinking.cost",
    "per_unit": "sapwood.shrinking.units",
    "prunable": "sapwood.observe",
    "score": "sapwood.criterion",
    "shrink": "sapwood.shrinking.shrink",
    "sites": "sapwood.shrinking.sites",
    "spread": "sapwood.shrinking.units",
    "start": "sapwood.run",
    "timetable": "sapwood.shrinking.timetable",
    "train": "sapwood.train",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'sapwood' has no public name {name!r}")
    if name not in _HOME:
        return import_module(f"sapwood.{name}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """`sapwood.train` is the function train, in whatever order things are imported; so for observe and hold."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python binds a module's name here once it is imported; where its function has the same name, that comes here.
        same = isinstance(value, ModuleType) and _HOME.get(name) == value.__name__
        super().__setattr__(name, getattr(value, name) if same else value)


sys.modules[__name__].__class__ = _Package
