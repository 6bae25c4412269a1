"""The defaults lock: a default or a recipe does not change without its version changing.

Trial ids leave defaults out, so a changed default would silently take old results for new ones.
"""

import ast
import hashlib
import inspect
from pathlib import Path

import pytest

from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.tasks import TASK_VERSIONS, TASKS
from sapwood.trials.trial import defaults, option_types

LOCK = Path(__file__).parents[1] / "golden" / "defaults.lock"


def method_line(name):
    """A method's options and their defaults."""
    usual = defaults(name)
    options = ", ".join(f"{option}={usual[option]!r}" if option in usual else option for option in option_types(name))
    return f"method {name}@{METHOD_VERSIONS[name]}: {options}"


def task_line(name):
    """A task's file as a digest: tasks have no options, their code is the recipe."""
    recipe = _recipe(inspect.getsource(inspect.getmodule(TASKS[name])))
    return f"task {name}@{TASK_VERSIONS[name]}: {hashlib.blake2b(recipe.encode(), digest_size=8).hexdigest()}"


def _recipe(source):
    """The code without docstrings and layout; and of what it imports from the package the names, not their places."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    mine = [n for n in tree.body if isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == "sapwood"]
    names = sorted(ast.unparse(alias) for node in mine for alias in node.names)
    tree.body = [node for node in tree.body if node not in mine]
    return "\n".join([*names, ast.unparse(tree)])


def compare(line, locked):
    """What is to be done about a line, in words; None when it is as locked."""
    kind_and_name, _, version = line.partition(":")[0].rpartition("@")
    before = next((old for old in locked if old.startswith(f"{kind_and_name}@")), None)
    if line == before:
        return None
    table = "methods/__init__.py" if kind_and_name.startswith("method") else "tasks/__init__.py"
    if before is not None and before.partition(":")[0].rpartition("@")[2] == version:
        return (
            f"{kind_and_name} has changed but not its version: raise it in {table}, then write the new line into "
            f"tests/golden/defaults.lock.\nlocked: {before}\nnow:    {line}\n(Where results cannot have changed, "
            "the new line alone will do.)"
        )
    return f"write this line into tests/golden/defaults.lock:\n{line}"


@pytest.mark.parametrize("line", [method_line(n) for n in METHODS] + [task_line(n) for n in TASKS])
def test_defaults_are_as_locked(line):
    wrong = compare(line, LOCK.read_text(encoding="utf-8").splitlines())
    assert wrong is None, wrong


def test_every_method_and_task_has_a_version_and_none_is_locked_that_is_gone():
    assert set(METHOD_VERSIONS) == set(METHODS)
    assert set(TASK_VERSIONS) == set(TASKS)
    locked = {line.partition("@")[0] for line in LOCK.read_text(encoding="utf-8").splitlines()}
    assert locked == {f"method {name}" for name in METHODS} | {f"task {name}" for name in TASKS}


def test_a_recipe_is_the_same_wherever_its_parts_stand_and_another_with_other_parts():
    before = '"""Words."""\nfrom sapwood.task import Data, Task\nfrom sapwood.models.mlp import mlp\nx = mlp(1)'
    after = "from sapwood.models.mlp import mlp\nfrom sapwood.training.task import Task\n"
    after += "from sapwood.training.samples import Data\nx  = mlp(1)"
    assert _recipe(before) == _recipe(after)
    for word, other in (("mlp(1)", "mlp(2)"), ("import mlp", "import conv as mlp"), ("import Data", "import Batch")):
        assert _recipe(before) != _recipe(after.replace(word, other))


def test_the_lock_says_what_to_do():
    locked = ["method toy@1: a=1"]
    assert compare("method toy@1: a=1", locked) is None
    assert "raise it in methods/__init__.py" in compare("method toy@1: a=2", locked)
    assert compare("method toy@2: a=2", locked).endswith("defaults.lock:\nmethod toy@2: a=2")
    assert "raise it in tasks/__init__.py" in compare("task t@1: ff", ["task t@1: 00"])
    assert compare("task new@1: ff", locked).startswith("write this line")
