"""The public names: each is there, is what it says, and costs nothing until it is used."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sapwood

ROOT = Path(__file__).parents[1]


def in_fresh_python(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", sapwood.__all__)
def test_every_public_name_is_there(name):
    value, home = getattr(sapwood, name), sapwood._HOME[name]
    assert value is sys.modules[home] if home.endswith(f".{name}") else value is getattr(sys.modules[home], name)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(sapwood.__file__).read_text("utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert seen == {name: home.removesuffix(f".{name}") for name, home in sapwood._HOME.items()}
    assert set(seen) == set(sapwood.__all__)


def test_dir_lists_the_public_names():
    assert set(sapwood.__all__) <= set(dir(sapwood))
    assert sorted(sapwood.__all__) == sorted(set(sapwood.__all__))


def test_importing_sapwood_imports_no_torch():
    assert in_fresh_python("import sys, sapwood; print('torch' in sys.modules, sapwood.__version__)") == (
        f"False {sapwood.__version__}"
    )


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no public name 'prune_everything'"):
        _ = sapwood.prune_everything


@pytest.mark.parametrize(
    ("name", "hint"),
    [("prun", "did you mean 'prune'?"), ("save", "it is sapwood.export.save or sapwood.c"),
     ("distil", "it is sapwood.losses.distil"), ("zzz", "has no public name 'zzz'")],
)  # fmt: skip
def test_an_unknown_name_gets_a_suggestion(name, hint):
    with pytest.raises(AttributeError) as raised:
        getattr(sapwood, name)
    assert hint in str(raised.value)


def test_asking_whether_a_name_is_there_imports_nothing():
    assert (
        in_fresh_python("import sys, sapwood; print(hasattr(sapwood, 'prun'), 'torch' in sys.modules)") == "False False"
    )


def test_the_version_is_the_projects():
    assert sapwood.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
