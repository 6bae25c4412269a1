"""The verb `check`: a stranger's file, or one thing in it, held to the laws."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from sapwood.checks import (
    Result,
    broken,
    check_criterion,
    check_gate,
    check_method,
    check_statistic,
    check_task,
    check_unit_criterion,
    check_unit_gate,
    selector,
    solver,
)
from sapwood.cli.choosing import Pair, pairs
from sapwood.criteria import CRITERIA, UNIT_CRITERIA
from sapwood.disk import there
from sapwood.errors import InputError, picked, unknown
from sapwood.gates import UnitGate, WeightGate
from sapwood.scoring.criterion import Criterion
from sapwood.scoring.evidence import Statistic
from sapwood.scoring.statistics import STATISTICS
from sapwood.scoring.unit_criterion import UnitCriterion
from sapwood.training.task import Task
from sapwood.trials.trial import Value, options_of, parsed

Things = dict[str, Any]  # name in the file -> what it names


@dataclass(frozen=True)
class Kind:
    """A family that has laws: how its members are told, and which laws they are held to."""

    looks: str  # in words, for errors
    fits: Callable[[Any], bool]  # by its type, or by the names of a function's parameters
    check: Callable[..., list[Result]]  # of its name and the thing, and of a method's options
    function: bool = True  # so that any callable can be said to be one


def check_file(given: str, kind: str | None = None, changes: Sequence[str] = ()) -> None:
    """Try the laws on what `given`, FILE.py or FILE.py:NAME, defines, one line per law; exit status 1 if one fails.

    kind: a name in `KINDS`; nothing else in the file is tried, and NAME is taken for one whatever its parameters are
    called. changes: options of methods, KEY=VALUE each, under which their laws are tried.
    """
    results = []
    for result in laws(given, kind, pairs(changes, "--set")):
        results.append(result)
        print(
            f"{'pass' if result.passed else 'FAIL'}  {result.law}"
            + (f"\n      {result.reason}" if result.reason else "")
        )
    failed = broken(results)
    print(f"{len(results)} laws tried, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


def laws(given: str, kind: str | None = None, changes: Sequence[Pair] = ()) -> Iterator[Result]:
    """Laws tried on what a file defines, not on what it only imports; or on one thing in it, wherever that is from."""
    if kind is not None:
        picked("kind in --as", kind, KINDS)
    path, name = _taken_apart(given)
    module = load(path)
    told = _named(module, path, name, kind) if name else _all_in(module, path, kind)
    options = _options({each: thing for each, (thing, of) in told.items() if of == "method"}, changes)
    for each, (thing, of) in told.items():
        yield from KINDS[of].check(each, thing, **options.get(each, {}))


def _options(methods: Mapping[str, Any], changes: Sequence[Pair]) -> dict[str, dict[str, Value]]:
    """The values in `changes` for each of the methods that has the option."""
    types = {name: options_of(method) for name, method in methods.items()}
    known = {key for each in types.values() for key in each}
    for key, _ in changes:
        if not methods:
            raise InputError(f"--set {key} is for methods, and there is none here; leave it out")
        if key not in known:
            raise unknown("option in --set", key, known)
    return {
        name: {
            key: parsed(f"method {name!r}", key, text, types[name][key]) for key, text in changes if key in types[name]
        }
        for name in types
    }


def load(path: Path) -> ModuleType:
    """A file imported as a module; it may import its neighbours."""
    if path.suffix == ".py" and not there(path):
        raise InputError(f"there is no file {path}; check the path")
    if not os.path.isfile(path) or path.suffix != ".py":
        raise InputError(f"{path} is not a Python file; give the path of one that ends in .py, or FILE.py:NAME")
    name = f"checked_{path.stem}"  # not its own name, which may be that of a module that others need
    spec = spec_from_file_location(name, path)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    return module


def _taken_apart(given: str) -> tuple[Path, str]:
    file, colon, name = given.rpartition(":")
    return (Path(file), name) if colon and file.endswith(".py") else (Path(given), "")


def _named(module: ModuleType, path: Path, name: str, kind: str | None) -> dict[str, tuple[Any, str]]:
    if name not in vars(module):
        raise unknown(f"name in {path}:", name, (each for each in vars(module) if not each.startswith("_")))
    thing = getattr(module, name)
    if kind is not None:
        callable_ = KINDS[kind].function and callable(thing) and not inspect.isclass(thing)
        could = callable_ or KINDS[kind].fits(thing)
        if not could:
            raise InputError(f"{name} in {path} is {_shown(thing)}, not {KINDS[kind].looks}")
        return {name: (thing, kind)}
    if not (found := _kind_of(thing)):
        known = "; ".join(f"{word}: {each.looks}" for word, each in KINDS.items())
        raise InputError(
            f"{name} in {path} is {_shown(thing)}, of no kind that has laws; say which with --as ({known})"
        )
    return {name: (thing, found)}


def _all_in(module: ModuleType, path: Path, kind: str | None) -> dict[str, tuple[Any, str]]:
    ours = {id(thing) for thing in (*CRITERIA.values(), *STATISTICS.values(), *UNIT_CRITERIA.values())}
    own = {
        name: thing
        for name, thing in vars(module).items()
        if id(thing) not in ours and not name.startswith("_") and _defined_in(module, thing)
    }
    told = {name: (thing, found) for name, thing in own.items() if (found := _kind_of(thing)) and kind in (None, found)}
    if not told and kind is None:
        raise InputError(f"{path} defines no Criterion, no Statistic and no method, no gate, solver, selector or task; "
                         "name one thing in it: FILE.py:NAME, with --as KIND if need be")  # fmt: skip
    if not told:
        raise InputError(f"{path} defines no {kind} ({KINDS[str(kind)].looks}); name one thing in it: FILE.py:NAME")
    return told


def _defined_in(module: ModuleType, thing: Any) -> bool:
    """A criterion is where its score is; a statistic and a task do not know where they are from."""
    if isinstance(thing, (Statistic, Task)):
        return True
    return (
        getattr(thing.score if isinstance(thing, (Criterion, UnitCriterion)) else thing, "__module__", None)
        == module.__name__
    )


def _kind_of(thing: Any) -> str:
    return next((word for word, kind in KINDS.items() if kind.fits(thing)), "")


def _shown(thing: Any) -> str:
    if inspect.isfunction(thing):
        return f"def {thing.__name__}{inspect.signature(thing)}"
    return f"class {thing.__name__}" if inspect.isclass(thing) else f"of type {type(thing).__name__}"


def _gate(base: type[Any]) -> Callable[[Any], bool]:
    return lambda thing: inspect.isclass(thing) and issubclass(thing, base) and not inspect.isabstract(thing)


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters if inspect.isfunction(function) else {}


def _begins(function: Any, *names: str, free: tuple[str, ...] = ()) -> bool:
    """Whether its first parameters have these names, and all others but the `free` ones have a default."""
    parameters = _parameters(function)
    others = [each for name, each in parameters.items() if name not in (*names, *free)]
    return tuple(parameters)[: len(names)] == names and all(each.default is not each.empty for each in others)


def _is_method(function: Any) -> bool:
    """Whether it reads `def f(run, *, option=default, ...)`."""
    keyword = all(each.kind is each.KEYWORD_ONLY for each in list(_parameters(function).values())[1:])
    return keyword and _begins(function, "run")


def _is_solver(function: Any) -> bool:
    return "sparsity" in _parameters(function) and _begins(function, "w_OI", "gram_II", free=("sparsity",))


def _is_selector(function: Any) -> bool:
    return _begins(function, "scores", "sparsity")


def _check_solver(name: str, function: Callable[..., Any]) -> list[Result]:
    by_name = "sparsity" in inspect.signature(function).parameters

    def solve(w_OI: Any, gram_II: Any, sparsity: float) -> Any:
        return function(w_OI, gram_II, sparsity=sparsity) if by_name else function(w_OI, gram_II, sparsity)

    return solver.check_solver(name, solve, of=solver.removed_by(solve))


def _check_selector(name: str, function: Callable[..., Any]) -> list[Result]:
    return selector.check_selector(name, function, scope=selector.scope_of(function))


def _is_task(thing: Any) -> bool:
    """Whether it is a Task, or a function that says that it makes one."""
    if isinstance(thing, Task):
        return True
    made = inspect.signature(thing).return_annotation if inspect.isfunction(thing) else None
    return (made is Task or made == "Task") and _begins(thing)


def _check_task(name: str, thing: Any) -> list[Result]:
    task = thing if isinstance(thing, Task) else thing()
    if not isinstance(task, Task):
        raise InputError(f"{name} makes a {type(task).__name__}; it must return a Task")
    return check_task(name, task)


KINDS: dict[str, Kind] = {
    "criterion": Kind("a Criterion", lambda thing: isinstance(thing, Criterion), check_criterion, False),
    "unit_criterion": Kind(
        "a UnitCriterion", lambda thing: isinstance(thing, UnitCriterion), check_unit_criterion, False
    ),
    "statistic": Kind(
        "a Statistic", lambda thing: isinstance(thing, Statistic), lambda _, s: check_statistic(s), False
    ),
    "unit_gate": Kind("a class under UnitGate", _gate(UnitGate), check_unit_gate, False),
    "gate": Kind("a class under WeightGate", _gate(WeightGate), check_gate, False),
    "method": Kind("def NAME(run, *, option=...)", _is_method, check_method),
    "solver": Kind("def NAME(w_OI, gram_II, *, sparsity)", _is_solver, _check_solver),
    "selector": Kind("def NAME(scores, sparsity)", _is_selector, _check_selector),
    "task": Kind("a Task, or def NAME() -> Task", _is_task, _check_task),
}
