"""The public names, re-exported one by one; each is imported when first used, so `import sapwood` costs nothing."""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

from sapwood import moved

if TYPE_CHECKING:
    from sapwood import codec, export, measure, reconstruction
    from sapwood.criteria import CRITERIA
    from sapwood.errors import InputError
    from sapwood.export.block_by_block import one_shot
    from sapwood.export.pruned import Pruned
    from sapwood.export.pruning import prune
    from sapwood.export.scan import Sensitivity
    from sapwood.export.scanning import sensitivity
    from sapwood.export.units_by_block import one_shot_units
    from sapwood.gates import Gated, UnitGate, WeightGate, WeightGated
    from sapwood.masking import masks
    from sapwood.masking.holding import hold
    from sapwood.methods import METHODS
    from sapwood.reconstruction import layerwise
    from sapwood.scoring import statistics
    from sapwood.scoring.answers import hidden
    from sapwood.scoring.criterion import Criterion, score
    from sapwood.scoring.evidence import Sight, Statistic
    from sapwood.scoring.layers import prunable
    from sapwood.scoring.observation import observe, observing
    from sapwood.scoring.statistics import STATISTICS
    from sapwood.selection import allocate, schedule, select
    from sapwood.shrinking.cost import Cost, bytes_of, fewest, macs_of, parameters_of
    from sapwood.shrinking.cutting.units import per_unit, spread
    from sapwood.shrinking.depth import branches, remove_branches
    from sapwood.shrinking.finding import couplings, sites
    from sapwood.shrinking.scaling import points
    from sapwood.shrinking.shrunk import Shrunk, compact, shrink
    from sapwood.shrinking.timing import latency_of, timetable
    from sapwood.shrinking.tracing.anatomy import Anatomy
    from sapwood.shrinking.tracing.site import Site, Slot
    from sapwood.tasks import TASKS
    from sapwood.training import checkpoint, losses, stopping
    from sapwood.training.declared import declares
    from sapwood.training.draws import luck
    from sapwood.training.loop import Moment, backward, descend, evaluate, train
    from sapwood.training.proximal import ProximalNesterov
    from sapwood.training.run import Run, start
    from sapwood.training.task import Batch, Data, Task
    from sapwood.training.together import Together

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
    "Gated",
    "InputError",
    "Moment",
    "ProximalNesterov",
    "Pruned",
    "Run",
    "Sensitivity",
    "Shrunk",
    "Sight",
    "Site",
    "Slot",
    "Statistic",
    "Task",
    "Together",
    "UnitGate",
    "WeightGate",
    "WeightGated",
    "allocate",
    "backward",
    "branches",
    "bytes_of",
    "checkpoint",
    "codec",
    "compact",
    "couplings",
    "declares",
    "descend",
    "evaluate",
    "export",
    "fewest",
    "hidden",
    "hold",
    "latency_of",
    "layerwise",
    "losses",
    "luck",
    "macs_of",
    "masks",
    "measure",
    "observe",
    "observing",
    "one_shot",
    "one_shot_units",
    "parameters_of",
    "per_unit",
    "points",
    "prunable",
    "prune",
    "reconstruction",
    "remove_branches",
    "schedule",
    "score",
    "select",
    "sensitivity",
    "shrink",
    "sites",
    "spread",
    "start",
    "statistics",
    "stopping",
    "timetable",
    "train",
]

_HOME = {  # public name -> the module it lives in, or is: no module has a function's name
    "Anatomy": "sapwood.shrinking.tracing.anatomy",
    "Batch": "sapwood.training.task",
    "CRITERIA": "sapwood.criteria",
    "Cost": "sapwood.shrinking.cost",
    "Criterion": "sapwood.scoring.criterion",
    "Data": "sapwood.training.task",
    "Gated": "sapwood.gates",
    "InputError": "sapwood.errors",
    "METHODS": "sapwood.methods",
    "Moment": "sapwood.training.loop",
    "ProximalNesterov": "sapwood.training.proximal",
    "Pruned": "sapwood.export.pruned",
    "Run": "sapwood.training.run",
    "STATISTICS": "sapwood.scoring.statistics",
    "Sensitivity": "sapwood.export.scan",
    "Shrunk": "sapwood.shrinking.shrunk",
    "Sight": "sapwood.scoring.evidence",
    "Site": "sapwood.shrinking.tracing.site",
    "Slot": "sapwood.shrinking.tracing.site",
    "Statistic": "sapwood.scoring.evidence",
    "TASKS": "sapwood.tasks",
    "Task": "sapwood.training.task",
    "Together": "sapwood.training.together",
    "UnitGate": "sapwood.gates",
    "WeightGate": "sapwood.gates",
    "WeightGated": "sapwood.gates",
    "allocate": "sapwood.selection.allocate",
    "backward": "sapwood.training.loop",
    "branches": "sapwood.shrinking.depth",
    "bytes_of": "sapwood.shrinking.cost",
    "checkpoint": "sapwood.training.checkpoint",
    "codec": "sapwood.codec",
    "compact": "sapwood.shrinking.shrunk",
    "couplings": "sapwood.shrinking.finding",
    "declares": "sapwood.training.declared",
    "descend": "sapwood.training.loop",
    "evaluate": "sapwood.training.loop",
    "export": "sapwood.export",
    "fewest": "sapwood.shrinking.cost",
    "hidden": "sapwood.scoring.answers",
    "hold": "sapwood.masking.holding",
    "latency_of": "sapwood.shrinking.timing",
    "layerwise": "sapwood.reconstruction",
    "losses": "sapwood.training.losses",
    "luck": "sapwood.training.draws",
    "macs_of": "sapwood.shrinking.cost",
    "masks": "sapwood.masking.masks",
    "measure": "sapwood.measure",
    "observe": "sapwood.scoring.observation",
    "observing": "sapwood.scoring.observation",
    "one_shot": "sapwood.export.block_by_block",
    "one_shot_units": "sapwood.export.units_by_block",
    "parameters_of": "sapwood.shrinking.cost",
    "per_unit": "sapwood.shrinking.cutting.units",
    "points": "sapwood.shrinking.scaling",
    "prunable": "sapwood.scoring.layers",
    "prune": "sapwood.export.pruning",
    "reconstruction": "sapwood.reconstruction",
    "remove_branches": "sapwood.shrinking.depth",
    "schedule": "sapwood.selection.schedule",
    "score": "sapwood.scoring.criterion",
    "select": "sapwood.selection.select",
    "sensitivity": "sapwood.export.scanning",
    "shrink": "sapwood.shrinking.shrunk",
    "sites": "sapwood.shrinking.finding",
    "spread": "sapwood.shrinking.cutting.units",
    "start": "sapwood.training.run",
    "statistics": "sapwood.scoring.statistics",
    "stopping": "sapwood.training.stopping",
    "timetable": "sapwood.shrinking.timing",
    "train": "sapwood.training.loop",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        home = import_module(_HOME[name])
        value = globals()[name] = home if _HOME[name].endswith(f".{name}") else getattr(home, name)
        return value
    if f"sapwood.{name}" in moved.PLACES:
        return moved.as_it_was(f"sapwood.{name}")
    raise _NoSuchName(name)


class _NoSuchName(AttributeError):
    """The nearest public name is looked for only when somebody reads the message: `hasattr` must cost nothing."""

    def __str__(self) -> str:
        name = self.args[0]
        rooms = sorted((n for n, home in _HOME.items() if home.endswith(f".{n}")), key=lambda n: (n != "export", n))
        own = [room for room in rooms if callable(getattr(import_module(_HOME[room]), name, None))]
        if own and not name.startswith("_"):
            places = " or ".join(f"sapwood.{room}.{name}" for room in own)
            return f"module 'sapwood' has no public name {name!r}; it is {places}"
        near = get_close_matches(name, __all__, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"module 'sapwood' has no public name {name!r}{hint}"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


moved.install()
