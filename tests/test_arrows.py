"""Data flows one way: a file imports only from its own layer or a lower one, and no file imports itself by a detour."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sapwood"

LAYERS = (  # from bottom to top; a folder stands for all of its files
    {
        "errors",
        "disk",
        "schema",
        "seal",
        "masks",
        "kth",
        "select",
        "regrow",
        "allocate",
        "scope",
        "thresholds",
        "schedule",
        "stopping",
        "draws",
        "epoch",
        "together",
        "proximal",
    },
    {"layout", "evidence", "modes", "layers", "batches", "gradients", "answers", "observe", "processes"},
    {"statistics", "criterion", "criteria", "saliency", "losses", "low_rank", "gates", "reconstruction"},
    {
        "goal",
        "fresh",
        "samples",
        "shards",
        "windows",
        "task",
        "named",
        "wrapped",
        "removed",
        "looking",
        "stepping",
        "hold",
        "state",
        "size",
        "rebuild",
        "memory",
        "given",
        "declared",
        "run",
        "train",
        "phases",
        "cycles",
        "controls",
        "checkpoint",
        "measure",
        "shrinking",
    },
    {"methods", "checks", "export", "codec"},
    {"data", "models", "tasks", "study"},
    {"cli", "__init__"},  # the public names are above everything: nothing in the package imports them
)


def modules(source: Path) -> dict[str, ast.Module]:
    """Module name inside the package ("data.files", "data" for its __init__) -> syntax tree."""
    paths = {path.relative_to(source).with_suffix("").parts: path for path in sorted(source.rglob("*.py"))}
    names = {
        ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts): path
        for parts, path in paths.items()
    }
    return {name: ast.parse(path.read_text("utf-8")) for name, path in names.items()}


def arrows(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """The modules of the package that a syntax tree imports, wherever it does; imports for type checkers aside."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (name for other in node.orelse for name in arrows(other, known))
        elif isinstance(node, ast.Import):
            yield from (_inside(alias.name, known) for alias in node.names if alias.name.split(".")[0] == "sapwood")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the module's full name instead of dots"
            if (node.module or "").split(".")[0] == "sapwood":
                names = [alias.name for alias in node.names if alias.name != "__version__"]
                yield from (_inside(f"{node.module}.{name}", known) for name in names)
        else:
            yield from arrows(node, known)


def _inside(dotted: str, known: set[str]) -> str:
    """The module behind `sapwood.a.b`: a.b, or a where b is a name in it, or the package itself."""
    name = dotted.removeprefix("sapwood").removeprefix(".")
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or "__init__"


def violations(source: Path) -> list[str]:
    """What is wrong with the arrows of the package at `source`, in words."""
    trees = modules(source)
    graph = {name: set(arrows(tree, set(trees))) for name, tree in trees.items()}
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    wrong = [f"{name} is in no layer; give it one in LAYERS" for name in graph if name.split(".")[0] not in layer]
    wrong += [
        f"{name} (layer {layer[name.split('.')[0]]}) imports {other} (layer {layer[other.split('.')[0]]})"
        for name, others in graph.items()
        for other in sorted(others)
        if layer.get(name.split(".")[0], 99) < layer.get(other.split(".")[0], -1)
    ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append(f"a cycle of imports: {', '.join(sorted(set(error.args[1])))}")
    return wrong


def test_arrows_point_down_and_never_in_a_circle():
    assert violations(SOURCE) == []


def test_the_arrows_are_seen_at_all():
    trees = modules(SOURCE)
    assert {"evidence", "errors", "select"} <= set(arrows(trees["criterion"], set(trees)))
    assert "train" in arrows(trees["methods.dense"], set(trees))


@pytest.mark.parametrize(
    ("file", "code", "says"),
    [
        ("masks.py", "from sapwood.train import Moment\n", "masks (layer 0) imports train (layer 3)"),
        ("masks.py", "def late():\n    import sapwood.tasks.one\n", "masks (layer 0) imports tasks.one (layer 5)"),
        ("masks.py", "from sapwood import train\n", "masks (layer 0) imports train (layer 3)"),
        ("masks.py", "from sapwood import score\n", "masks (layer 0) imports __init__ (layer 6)"),
        ("masks.py", "from sapwood.errors import InputError\n", "a cycle of imports: errors, masks"),
        ("drawer.py", "", "drawer is in no layer; give it one in LAYERS"),
        ("masks.py", "import typing\nif typing.TYPE_CHECKING:\n    from sapwood.train import Moment\n", None),
        ("train.py", "from sapwood.masks import sparsity\n", None),
    ],
)  # fmt: skip
def test_a_planted_violation_is_caught(tmp_path, file, code, says):
    sound = {"__init__.py": "", "errors.py": "import sapwood.masks\n", "masks.py": "", "train.py": "",
             "tasks/__init__.py": "", "tasks/one.py": "from sapwood.train import Moment\n"}  # fmt: skip
    for name, text in (sound | {file: code}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert violations(tmp_path) == ([] if says is None else [says])
