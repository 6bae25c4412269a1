"""The size budget: what is small can be read. `python tests/test_size.py` (or `make size`) prints where it stands."""

import ast
import sys
from functools import cache
from pathlib import Path
from statistics import median

SOURCE = Path(__file__).parents[1] / "src" / "sapwood"
FILE, CRITERION, METHOD = 300, 60, 80  # lines in a file
FUNCTION, MEDIAN = 40, 8  # lines in a function's body; the median of the bodies must be below
BELOW = {"scoring", "selection", "masking", "criteria", "gates", "reconstruction", "measure", "training",
         "methods.parts"}  # fmt: skip
BELOW_METHODS = 8_900  # lines of code in these rooms and the ground: what has not heard of an experiment
SHRINKING = 5_850  # of the rooms of their own that have a rule for each family of operators
ROOMS = 26  # folders with files, the root among them
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "manager", "registry"}

STUDIES = Path(__file__).parents[1] / "studies"
PAPER = 300  # lines of a paper's study; what two papers need is in study/
FIRST = {
    "activation_pruning": 1_526,
    "lenet300": 623,
}  # the first two, which were there before study/ had what they need

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines(path: Path) -> int:
    """Lines of a file, blank ones and docstrings too: what there is to scroll through."""
    return len(path.read_text("utf-8").splitlines())


def limit(path: Path) -> int:
    """How long this file may be; the table of a room is neither a criterion nor a method."""
    if path.name == "__init__.py":
        return FILE
    return {"criteria": CRITERION, "methods": METHOD}.get(path.parent.name, FILE)


def functions(path: Path) -> list[Function]:
    """All functions of a file, inner ones and methods of classes too."""
    return _parsed(path.read_text("utf-8"))[0]


def code(path: Path) -> int:
    """Lines that hold code: blank lines, comments and docstrings are what we want more of, not less."""
    return _parsed(path.read_text("utf-8"))[1]


@cache
def _parsed(text: str) -> tuple[list[Function], int]:
    """The functions in a text, and how many of its lines hold code."""
    nodes = [*ast.walk(ast.parse(text))]
    held = {line for node in nodes if isinstance(node, ast.stmt) and not _is_text(node) for line in _own_lines(node)}
    return [node for node in nodes if isinstance(node, Function)], len(held)


def _own_lines(node: ast.stmt) -> range:
    """A compound statement's header only: its body's statements speak for themselves."""
    inner = getattr(node, "body", None)
    first = inner[0].lineno if isinstance(inner, list) and inner else None
    return range(node.lineno, max(node.lineno + 1, first) if first else (node.end_lineno or node.lineno) + 1)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def body(function: Function) -> int:
    """Lines from the first statement after the docstring to the end."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def below_methods(source: Path) -> list[Path]:
    """The files of the rooms under methods/ and of the ground that they stand on."""
    return [
        path for path in sorted(source.rglob("*.py")) if _room(source, path) in BELOW or _on_the_ground(source, path)
    ]


def _room(source: Path, path: Path) -> str:
    return ".".join(path.relative_to(source).parts[:-1])


def _on_the_ground(source: Path, path: Path) -> bool:
    return path.parent == source and path.stem not in ("__init__", "moved")


def violations(source: Path) -> list[str]:
    """What is over the budget, in words."""
    paths = sorted(source.rglob("*.py"))
    wrong = [
        f"{path.name} has {lines(path)} lines, {limit(path)} may be" for path in paths if lines(path) > limit(path)
    ]
    wrong += [
        f"{path.name}: the body of {f.name} has {body(f)} lines, {FUNCTION} may be"
        for path in paths
        for f in functions(path)
        if body(f) > FUNCTION
    ]
    wrong += [
        f"{path.name} is the name of a drawer; name the concept in it"
        for path in [*paths, *(p for p in source.rglob("*") if p.is_dir())]
        if path.stem in DRAWERS
    ]
    total = sum(map(code, below_methods(source)))
    if total > BELOW_METHODS:
        wrong.append(f"everything below methods/ has {total} lines of code, {BELOW_METHODS} may be")
    shrinking = sum(map(code, source.glob("shrinking/**/*.py")))
    if shrinking > SHRINKING:
        wrong.append(f"shrinking/ has {shrinking} lines of code, {SHRINKING} may be")
    rooms = {path.parent for path in paths}
    if len(rooms) > ROOMS:
        wrong.append(f"the package has {len(rooms)} rooms, {ROOMS} may be")
    middle = median([body(f) for path in paths for f in functions(path)] or [0])
    if middle >= MEDIAN:
        wrong.append(f"the median function body has {middle:g} lines, it must be below {MEDIAN}")
    return wrong


def too_long(studies: Path) -> list[str]:
    """The studies, a file or a folder each, that are over their budget, in words."""
    files = {path.stem: [path] for path in studies.glob("*.py")}
    folders = {path.parent.name: sorted(path.parent.glob("**/*.py")) for path in studies.glob("*/__init__.py")}
    counted = {name: sum(map(lines, paths)) for name, paths in (files | folders).items()}
    limits = {name: FIRST.get(name, PAPER) for name in counted}
    return [f"study {name} has {n} lines, {limits[name]} may be" for name, n in counted.items() if n > limits[name]]


def table(source: Path) -> str:
    """Files, lines, longest file and function and the median function body, room by room."""
    rooms: dict[str, list[Path]] = {}
    for path in sorted(source.rglob("*.py")):
        rooms.setdefault(str(path.relative_to(source).parent).replace(".", "sapwood"), []).append(path)
    rows = [_row(room, paths) for room, paths in rooms.items()]
    rows += [_row("below methods", below_methods(source)), _row("all", [path for p in rooms.values() for path in p])]
    head = f"{'':14}{'files':>6}{'lines':>7}{'code':>7}{'longest file':>28}{'longest function':>36}{'median body':>13}"
    return "\n".join(
        [
            head,
            *rows,
            f"limits: {ROOMS} rooms, {BELOW_METHODS} lines of code below methods, {SHRINKING} in shrinking, "
            f"{FILE} a file ({CRITERION} a criterion, {METHOD} a method), "
            f"{FUNCTION} a function's body, median body below {MEDIAN}",
        ]
    )


def _row(room: str, paths: list[Path]) -> str:
    every = [f for path in paths for f in functions(path)]
    long_file, long_function = max(paths, key=lines), max(every, key=body, default=None)
    middle = median([body(f) for f in every] or [0])
    function = f"{long_function.name} {body(long_function)}" if long_function else "-"
    return (
        f"{room:14}{len(paths):6}{sum(map(lines, paths)):7}{sum(map(code, paths)):7}"
        f"{f'{long_file.name} {lines(long_file)}':>28}"
        f"{function:>36}{middle:13g}"
    )


def test_everything_is_within_the_budget():
    assert violations(SOURCE) == []


def test_studies_are_within_theirs():
    assert too_long(STUDIES) == []
    assert FIRST.keys() <= {path.name for path in STUDIES.iterdir()}


def test_a_study_that_is_too_long_is_caught_and_one_at_the_limit_is_not(tmp_path):
    for name, size in {"one.py": 300, "two.py": 301, "three/__init__.py": 100, "three/rows.py": 201,
                       "lenet300/__init__.py": FIRST["lenet300"]}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("#\n" * size)
    assert sorted(too_long(tmp_path)) == [
        "study three has 301 lines, 300 may be",
        "study two has 301 lines, 300 may be",
    ]


def test_the_table_covers_every_file():
    text = table(SOURCE)
    assert f"{len(list(SOURCE.rglob('*.py')))}" in text.splitlines()[-2].split()
    assert {"select.py", "errors.py"} <= {path.name for path in below_methods(SOURCE)}


def planted(folder, files):
    """A package in which every file holds one short function, and `files` besides."""
    sound = {"masks.py": _function(3), "criteria/one.py": _function(3), "methods/one.py": _function(3)}
    for name, text in (sound | files).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return violations(folder)


def _function(size: int, name: str = "f") -> str:
    return f"def {name}():\n" + "    x = 1\n" * (size - 1)


def test_planted_violations_are_caught_and_what_is_at_the_limit_is_not(tmp_path):
    cases = [
        ({"big.py": "#\n" * 301}, "big.py has 301 lines, 300 may be"),
        ({"criteria/one.py": "#\n" * 61}, "one.py has 61 lines, 60 may be"),
        ({"methods/one.py": "#\n" * 81}, "one.py has 81 lines, 80 may be"),
        ({"masks.py": "class C:\n    " + _function(42).replace("\n", "\n    ")},
         "masks.py: the body of f has 41 lines, 40 may be"),
        ({"masks.py": "def f(\n    a,\n    b,\n):" + _function(41)[8:]}, None),  # a signature is not code to follow
        ({"utils.py": ""}, "utils.py is the name of a drawer; name the concept in it"),
        ({"core/__init__.py": ""}, "core is the name of a drawer; name the concept in it"),
        ({f"part{n}.py": "x = 1\n" * 300 for n in range(30)},
         "everything below methods/ has 9006 lines of code, 8900 may be"),
        ({f"scoring/part{n}.py": "x = 1\n" * 300 for n in range(30)},
         "everything below methods/ has 9006 lines of code, 8900 may be"),
        ({f"shrinking/part{n}.py": "x = 1\n" * 300 for n in range(20)},
         "shrinking/ has 6000 lines of code, 5850 may be"),
        ({f"part{n}.py": "#\n" * 300 for n in range(14)}, None),
        ({f"part{n}.py": '"""Text."""\n\n' * 150 for n in range(14)}, None),
        ({f"room{n}/a.py": "" for n in range(23)}, None),
        ({f"room{n}/a.py": "" for n in range(24)}, "the package has 27 rooms, 26 may be"),
        ({"study/a.py": "".join(_function(9, f"f{n}") for n in range(4))},
         "the median function body has 8 lines, it must be below 8"),
        ({"study/a.py": "#\n" * 300, "criteria/one.py": "#\n" * 60, "study/b.py": _function(41)}, None),
    ]  # fmt: skip
    for number, (files, says) in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        assert planted(tmp_path / str(number), files) == ([] if says is None else [says])


if __name__ == "__main__":
    print(table(SOURCE))
    sys.exit("\n".join(violations(SOURCE)) or 0)
