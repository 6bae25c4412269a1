"""Data flows one way: a room imports from its own floor or a lower one; neither room nor file imports itself."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sapwood"

FLOORS = (  # from bottom to top; a room is a folder and the files in it, "" the files beside the rooms
    {""},  # errors, the types in which rooms pay each other, files and processes
    {"scoring", "selection", "masking", "shrinking.rules"},  # the three questions side by side, and a book of rules
    {"criteria", "gates", "measure", "reconstruction", "attacks"},
    (
        {"shrinking.tracing"},
        {"shrinking.cutting"},
        {"shrinking"},
    ),  # with steps
    {"training"},
    {"checks", "codec", "export", "data", "methods.parts"},
    {"methods", "models", "tasks"},
    {"trials"},  # what runs
    {"study"},  # what reads the rows
    {"cli", "adapters"},  # at the door: nothing imports them
    {"__init__", "__main__", "moved"},  # above everything: nothing in the package imports them
)
ROOMS = 26  # at most; the root is one
ONE_FILE_A_THING = {"criteria", "methods", "tasks", "models"}  # there the file of a thing has its name
STEPS = [rooms for floor in FLOORS for rooms in (floor if isinstance(floor, tuple) else (floor,))]
FLOOR = {room: number for number, rooms in enumerate(STEPS) for room in rooms}


def room(name: str, known: set[str]) -> str:
    """The room that a module stands in; the files of public names and of the command are above all rooms."""
    if name in FLOORS[-1] or any(other.startswith(f"{name}.") for other in known):
        return name
    return name.rpartition(".")[0]


def modules(source: Path) -> dict[str, ast.Module]:
    """Module name inside the package ("data.files", "data" for its __init__) -> syntax tree."""
    paths = {path.relative_to(source).with_suffix("").parts: path for path in sorted(source.rglob("*.py"))}
    names = {
        ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts): path
        for parts, path in paths.items()
    }
    return {name: _parsed(path.read_text("utf-8")) for name, path in names.items()}


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


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
    known = set(trees)
    graph = {name: set(arrows(tree, known)) for name, tree in trees.items()}
    rooms = {name: room(name, known) for name in graph}
    wrong = [
        f"{name} is in the room {rooms[name]!r}, which is on no floor; give it one in FLOORS"
        for name in graph
        if rooms[name] not in FLOOR
    ]
    wrong += [
        f"{name} (step {FLOOR[rooms[name]]}) imports {other} (step {FLOOR[rooms[other]]})"
        for name, others in graph.items()
        for other in sorted(others)
        if FLOOR.get(rooms[name], 99) < FLOOR.get(rooms[other], -1)
    ]
    wrong += _circles("imports", graph)
    between: dict[str, set[str]] = {each: set() for each in rooms.values()}
    for name, others in graph.items():
        between[rooms[name]] |= {rooms[other] for other in others} - {rooms[name]}
    return wrong + _circles("rooms", between)


def _circles(of: str, graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"a cycle of {of}: {', '.join(sorted(set(error.args[1])))}"]
    return []


def shared_names(source: Path) -> list[str]:
    """Modules that are called as a name which the package, or the room that they stand in, hands on from a module."""
    trees = modules(source)
    handed = {name: _handed_on(tree) for name, tree in trees.items()}
    return [
        f"the module {name} has the name of a public one"
        for name in trees
        for home, _, last in [name.rpartition(".")]
        if last in handed["__init__"] or (home not in ONE_FILE_A_THING and last in handed.get(home, set()))
    ]


def _handed_on(tree: ast.Module) -> set[str]:
    """The names that a file imports from modules, not from rooms: these are modules themselves."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in nodes if (node.module or "")[8:] not in FLOOR for alias in node.names}


def test_arrows_point_down_and_never_in_a_circle():
    assert violations(SOURCE) == []


def test_there_are_few_rooms():
    known = set(modules(SOURCE))
    assert len({room(name, known) for name in known} - FLOORS[-1]) <= ROOMS


def test_no_module_has_the_name_of_a_public_function():
    assert shared_names(SOURCE) == []


def test_the_arrows_are_seen_at_all():
    trees = modules(SOURCE)
    assert {"scoring.evidence", "errors", "currency"} <= set(arrows(trees["scoring.criterion"], set(trees)))
    assert "training.loop" in arrows(trees["methods.dense"], set(trees))
    assert {"train", "shrink"} <= _handed_on(trees["__init__"])


SOUND = {"__init__.py": "", "errors.py": "", "masking/__init__.py": "", "masking/masks.py": "import sapwood.errors\n",
         "training/__init__.py": "", "training/loop.py": "from sapwood.masking.masks import sparsity\n",
         "scoring/__init__.py": "", "scoring/one.py": "from sapwood.masking import masks\n",
         "tasks/__init__.py": "", "tasks/one.py": "from sapwood.training.loop import Moment\n"}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "code", "says"),
    [
        ("masking/masks.py", "from sapwood.training.loop import Moment\n",
         ["masking.masks (step 1) imports training.loop (step 6)", "a cycle of imports: masking.masks, training.loop",
          "a cycle of rooms: masking, training"]),
        ("masking/late.py", "def late():\n    import sapwood.tasks.one\n",
         ["masking.late (step 1) imports tasks.one (step 8)", "a cycle of rooms: masking, tasks, training"]),
        ("masking/late.py", "from sapwood import train\n", ["masking.late (step 1) imports __init__ (step 12)"]),
        ("masking/late.py", "from sapwood.training import loop\n",
         ["masking.late (step 1) imports training.loop (step 6)", "a cycle of rooms: masking, training"]),
        ("errors.py", "from sapwood.masking.masks import sparsity\n",
         ["errors (step 0) imports masking.masks (step 1)", "a cycle of imports: errors, masking.masks",
          "a cycle of rooms: , masking"]),
        ("masking/late.py", "import sapwood.scoring.one\n", ["a cycle of rooms: masking, scoring"]),  # side by side
        ("cellar/old.py", "", ["cellar.old is in the room 'cellar', which is on no floor; give it one in FLOORS"]),
        ("masking/masks.py", "import typing\nif typing.TYPE_CHECKING:\n    from sapwood.training.loop import Moment\n",
         []),
        ("training/more.py", "from sapwood.masking.masks import sparsity\n", []),
    ],
)  # fmt: skip
def test_a_planted_violation_is_caught(tmp_path, file, code, says):
    for name, text in (SOUND | {file: code}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert violations(tmp_path) == says


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"__init__.py": "from sapwood.training.loop import train\n", "training/train.py": ""}, ["training.train"]),
        ({"measure/__init__.py": "from sapwood.measure.size import flops\n", "measure/flops.py": ""},
         ["measure.flops"]),
        ({"__init__.py": "from sapwood.training import loop\n"}, []),  # a module that is a public name itself
        ({"tasks/__init__.py": "from sapwood.tasks.one import one\n"}, []),
    ],
)  # fmt: skip
def test_a_module_with_the_name_of_a_function_is_caught(tmp_path, files, says):
    for name, text in (SOUND | files).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert shared_names(tmp_path) == [f"the module {name} has the name of a public one" for name in says]
