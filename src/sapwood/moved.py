"""Moved: modules that had another place in the last release. The old name gives the new module, and says so once."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ROOMS = {  # where modules are -> what they were called; `old=new` where the name changed, too
    "scoring": "answers batches gradients layers layout modes evidence observe=observation statistics criterion "
    "saliency measure.untouched=untouched",
    "selection": "select allocate scope thresholds regrow schedule",
    "masking": "masks hold=holding looking named removed seal stepping wrapped",
    "reconstruction": "low_rank=factors",
    "gates": "gates.gate=weight_gate",
    "training": "task run train=loop state checkpoint stopping losses",
    "methods.parts": "phases cycles controls",
    "measure": "measure.accuracy=correct measure.compression=sizes measure.flops=work measure.latency=clock "
    "measure.recalibrate=norms measure.spectrum=ranks",
    "shrinking.tracing": "shrinking.graph shrinking.lines shrinking.mode shrinking.packed shrinking.plain "
    "shrinking.suited shrinking.duplicate shrinking.computed shrinking.site shrinking.steps shrinking.training",
    "shrinking.cutting": "shrinking.cut shrinking.resize shrinking.resize_recurrent shrinking.narrow shrinking.units "
    "shrinking.equal shrinking.wide shrinking.sizes shrinking.config shrinking.proof.equal shrinking.proof.wide "
    "shrinking.proof.sizes shrinking.proof.config",
    "shrinking": "shrinking.shrink=shrunk shrinking.sites=finding shrinking.proof=cutting shrinking.timetable=timing",
    "trials": "study.trial=trial study.run=execution study.record=record study.rows=rows study.pool=pool "
    "study.folder=folder study.final=final study.best=best study.trace=trace study.provenance=provenance "
    "study.kept=archive study.digests=digests",
}


def _new_places() -> dict[str, str]:
    words = ((room, word.partition("=")) for room, words in ROOMS.items() for word in words.split())
    return {f"sapwood.{old}": f"sapwood.{room}.{new or old.rpartition('.')[2]}" for room, (old, _, new) in words}


PLACES = _new_places()  # old name -> new name
FUNCTIONS = {  # whose name in the package is a function's: `sapwood.train` is the function, not its old module
    *(f"sapwood.{name}" for name in ("hold", "observe", "train")),
    *(name for name in PLACES if name.startswith("sapwood.measure.") and not name.endswith(".untouched")),
}
FOLDED = {"sapwood.shrinking.proof"}  # rooms that became part of another: a second copy of a file would be found there
ELSEWHERE = {  # names that are not in the new module: module:name
    "sapwood.gates.gate": {
        "Gate": "sapwood.gates.weight_gate:WeightGate",
        "Gated": "sapwood.gates.weight_gate:WeightGated",
        "decided": "sapwood.gates.gated:decided",
    },
    "sapwood.study.kept": {
        "Kept": "sapwood.trials.archive:Archived",
        "keep": "sapwood.trials.archive:add",
        "read_kept": "sapwood.trials.archive:read_archive",
    },
    "sapwood.observe": {
        "chosen": "sapwood.scoring.layers:chosen",
        "counted": "sapwood.scoring.evidence:counted",
        "hidden": "sapwood.scoring.answers:hidden",
        "prunable": "sapwood.scoring.layers:prunable",
    },
}


def say(old: str, stacklevel: int = 2) -> None:
    """Warn that `old` is an old name; whoever imports it is named as the place, not this file."""
    warnings.warn(
        f"{old} is now {PLACES[old]}; the old name goes with the next release",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def as_it_was(old: str) -> ModuleType:
    """The module behind an attribute of the package that was a module there, as in `sapwood.run.start`."""
    if old not in sys.modules:
        say(old, 3)
        sys.modules[old] = import_module(PLACES[old])
    return sys.modules[old]


class Moved(MetaPathFinder, Loader):
    """Finds the new module under an old name."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in PLACES:
            return None
        say(name)
        return ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(PLACES[module.__name__])  # Python hands out what stands here


class OldModule(ModuleType):
    """An old module with names from several new ones, or whose own name in the package belongs to a function now.

    Or a room, whose files Python would find in the new room and load once more.

    Python would bind what a finder finds to that name.
    """

    def __getattr__(self, name: str) -> object:
        old = self.__name__
        if name.startswith("__"):  # Python and others ask every module for these
            raise AttributeError(name)
        home, _, called = ELSEWHERE.get(old, {}).get(name, f"{PLACES[old]}:{name}").partition(":")
        value = getattr(import_module(home), called)
        if not self.__dict__.get("_said"):
            self.__dict__["_said"] = True
            say(old)
        return value


def install() -> None:
    """Old names can be imported from now on."""
    if not any(isinstance(each, Moved) for each in sys.meta_path):
        sys.meta_path.append(Moved())
        sys.modules.update({old: OldModule(old) for old in FUNCTIONS | ELSEWHERE.keys() | FOLDED})
        for old in FOLDED:
            sys.modules[old].__path__ = []
