"""The verb `check`: a stranger's file held to the laws."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import typer

from sapwood.checks import (
    Result,
    broken,
    check_criterion,
    check_gate,
    check_method,
    check_statistic,
    check_unit_gate,
)
from sapwood.criteria import CRITERIA
from sapwood.disk import there
from sapwood.errors import InputError
from sapwood.gates import UnitGate, WeightGate
from sapwood.scoring.criterion import Criterion
from sapwood.scoring.evidence import Statistic
from sapwood.scoring.statistics import STATISTICS


def check_file(path: Path) -> None:
    """Try the laws on all that the file at `path` defines, and print one line per law; exit status 1 if one fails."""
    results = []
    for result in laws(load(path)):
        results.append(result)
        print(
            f"{'pass' if result.passed else 'FAIL'}  {result.law}"
            + (f"\n      {result.reason}" if result.reason else "")
        )
    if not results:
        raise InputError(
            f"{path} defines no Criterion, no Statistic and no method (def name(run, *, option=...)), and no gate"
        )
    failed = broken(results)
    print(f"{len(results)} laws tried, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


def load(path: Path) -> ModuleType:
    """A file imported as a module; it may import its neighbours."""
    if path.suffix == ".py" and not there(path):
        raise InputError(f"there is no file {path}; check the path")
    if not os.path.isfile(path) or path.suffix != ".py":
        raise InputError(f"{path} is not a Python file; give the path of one that ends in .py")
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


def laws(module: ModuleType) -> Iterator[Result]:
    """Laws tried on each criterion, statistic, gate and method that a module defines, not on what it only imports."""
    ours = {id(thing) for thing in (*CRITERIA.values(), *STATISTICS.values())}
    for name, thing in list(vars(module).items()):  # a law may make the module change itself
        if id(thing) in ours or name.startswith("_"):
            continue
        if isinstance(thing, Criterion) and thing.score.__module__ == module.__name__:
            yield from check_criterion(name, thing)
        elif isinstance(thing, Statistic):
            yield from check_statistic(thing)
        elif inspect.isclass(thing) and thing.__module__ == module.__name__ and not inspect.isabstract(thing):
            if issubclass(thing, UnitGate):
                yield from check_unit_gate(name, thing)
            elif issubclass(thing, WeightGate):
                yield from check_gate(name, thing)
        elif inspect.isfunction(thing) and thing.__module__ == module.__name__ and _is_method(thing):
            yield from check_method(name, thing)


def _is_method(function: Callable[..., object]) -> bool:
    """Whether it reads `def f(run, *, option=default, ...)`."""
    parameters = list(inspect.signature(function).parameters.values())
    options = all(each.kind is each.KEYWORD_ONLY and each.default is not each.empty for each in parameters[1:])
    return bool(parameters) and parameters[0].name == "run" and options
