"""Archives: where kept results lie, the studies that made them, and the command that writes the results page."""

import sys
from functools import cache
from importlib import util
from pathlib import Path
from types import ModuleType

from sapwood.study.study import find

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "studies" / "results"
STUDIES = {  # name: its file
    "quickstart": "quickstart.py",
    "activation_pruning": "activation_pruning/__init__.py",
    "lenet300": "lenet300/__init__.py",
    "lenet300_record": "lenet300_record.py",
}


@cache
def part(study: str, module: str) -> ModuleType:
    """A file of a study that is a folder."""
    find(str(ROOT / "studies" / STUDIES[study]))
    return sys.modules[f"sapwood_study_{study}.{module}"]


@cache
def writer(name: str) -> ModuleType:
    """A command in docs/ that writes a page."""
    spec = util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    if str(ROOT / "docs") not in sys.path:
        sys.path.append(str(ROOT / "docs"))  # as when the command is run, whose neighbours it imports
    spec.loader.exec_module(module)
    return module
