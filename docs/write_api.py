"""Write docs/api.md, the API page, from the docstrings of the public names; their examples run in a test.

python docs/write_api.py           write it; a test says when that was forgotten
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import sapwood
from sapwood.cli.describing import called, said
from sapwood.methods import METHODS
from sapwood.study import grid, study, table, words
from sapwood.trials.rows import Row
from sapwood.trials.trial import Trial

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
HEAD = """# API

Every public name, from its docstring; written by `python docs/write_api.py`. Shapes are written in names: `w_OI` is a
weight of O outputs and I inputs, `y_NO` are N samples' outputs. Examples run in a test. What the words mean is in the
[glossary](glossary.md); how the parts go together on [one page](all-of-sapwood.md).
"""
STUDIES = {  # what a study's file is written with: where it is imported from, and what
    "sapwood.study.study": (study.Study, study.Figure, study.Tabled, study.Finding),
    "sapwood.trials.trial": (Trial,),
    "sapwood.trials.rows": (Row,),
    "sapwood.study.table": (
        table.Summary, table.over_seeds, table.difference, table.by_seed, table.by_epoch, table.final, table.labels,
    ),
    "sapwood.study.words": (words.difference, words.told, words.count, words.sentence),
    "sapwood.study.grid": (grid.Grid, grid.number),
}  # fmt: skip


def page() -> str:
    """The whole page: functions, then types, then tables, then the modules and what is in each."""
    public = {name: getattr(sapwood, name) for name in sapwood.__all__}
    modules = {name: each for name, each in public.items() if isinstance(each, ModuleType)}
    kinds: dict[str, Callable[[Any], bool]] = {"Functions": inspect.isfunction, "Types": inspect.isclass}
    parts = [HEAD]
    for title, is_one in kinds.items():
        parts += [f"## {title}\n", *(_entry(name, each) for name, each in public.items() if is_one(each))]
    tables = {name: each for name, each in public.items() if isinstance(each, Mapping)}
    parts += ["## Tables\n", *(f"- `{name}`: {', '.join(f'`{key}`' for key in each)}" for name, each in tables.items())]
    shown = [
        *modules,
        *tables,
        *(name for name, each in public.items() if any(is_one(each) for is_one in kinds.values())),
    ]
    parts += ["", *_methods(), *_studies()]
    parts += ["", "## Aliases\n", *(f"- `{name}`: `{public[name]}`" for name in public if name not in shown), ""]
    for name, module in modules.items():
        parts += [f"## {name}\n", f"{_first(module)}\n", *(_entry(f"{name}.{n}", f) for n, f in in_module(module))]
    return "\n".join(parts)


def _methods() -> Iterator[str]:
    """Every method: its options, what they mean, and what its file says."""
    yield "## Methods\n"
    yield "Call one as `METHODS[NAME](run, ...)`; `sapwood list methods NAME` prints the same.\n"
    for name, method in METHODS.items():
        yield f"### method {name}\n\n```python\n{called(name, method)}\n```\n"
        yield "\n\n".join(said(method)) + "\n"


def _studies() -> Iterator[str]:
    """What studies are written with; [Write a study] shows how."""
    yield "## Studies\n"
    yield "What a study's file is made of; [Write a study](write-a-study.md) shows one.\n"
    for place, things in STUDIES.items():
        yield from (_entry(f"{place}.{thing.__name__}", thing) for thing in things)


def in_module(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public functions and classes of a module, in the order in which they stand there."""
    chosen = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in chosen:
        each = getattr(module, name)
        own = hasattr(module, "__all__") or getattr(each, "__module__", "").startswith(module.__name__)
        if own and (inspect.isfunction(each) or inspect.isclass(each)):
            yield name, each


def _entry(name: str, thing: Any) -> str:
    text = inspect.getdoc(thing) or ""
    before, mark, _ = text.partition(">>> ")
    prose = before.rstrip() if mark else text
    example = f"\n\n```pycon\n{text[len(before) :].rstrip()}\n```" if mark else ""
    inside = "\n".join(members(thing)) if inspect.isclass(thing) else ""
    shown = f"\n\n{inside}" if inside else ""
    return f"### {name}\n\n```python\n{signature(name, thing)}\n```\n\n{prose}{example}{shown}\n"


def signature(name: str, thing: Any) -> str:
    """As it is written in the source, but for the name."""
    if inspect.isclass(thing) and thing.__init__ is object.__init__:
        return f"class {name}"
    if inspect.isclass(thing) and not inspect.isfunction(thing.__init__):
        return f"class {name}"
    function = inspect.unwrap(thing.__init__ if inspect.isclass(thing) else thing)
    if inspect.isclass(thing) and not function.__module__.startswith("sapwood"):  # whoever wrapped a Module's
        return f"class {name}"
    try:
        node = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]
    except (OSError, SyntaxError, IndentationError):
        return f"class {name}" if inspect.isclass(thing) else name
    if not isinstance(node, ast.FunctionDef):
        return name
    arguments = ast.unparse(node.args).removeprefix("self, ").removeprefix("self")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None and not inspect.isclass(thing) else ""
    return f"{'class ' if inspect.isclass(thing) else ''}{name}({arguments}){returns}"


def members(kind: type) -> Iterator[str]:
    """A line for each public field, attribute and method that a class itself defines: its name, and what it is."""
    source = inspect.getsource(kind)
    lines, body = source.splitlines(), ast.parse(dedent(source)).body[0]
    assert isinstance(body, ast.ClassDef)
    own = [ast.unparse(node.target) for node in body.body if isinstance(node, ast.AnnAssign)]
    yield from (_member(field, "") for field in getattr(kind, "_fields", ()) if field not in own)
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and not _hidden(ast.unparse(node.target)):
            yield _member(ast.unparse(node), _comment(lines[(node.end_lineno or 0) - 1]))
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            yield from _attributes(node, lines)
        elif isinstance(node, ast.FunctionDef) and not _hidden(node.name):
            plain = [ast.unparse(each) for each in node.decorator_list]
            value = any(word.endswith("property") for word in plain)
            yield _member(
                node.name if value else f"{node.name}({_arguments(node.args)})", _first(getattr(kind, node.name))
            )


def _attributes(init: ast.FunctionDef, lines: list[str]) -> Iterator[str]:
    """What `__init__` sets on the object, one by one, with what is said about it."""
    for node in init.body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            each = [t for target in targets for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
            names = [t.attr for t in each if isinstance(t, ast.Attribute) and not _hidden(t.attr)]
            yield from (_member(name, _comment(lines[(node.end_lineno or 0) - 1])) for name in names)


def _member(name: str, about: str) -> str:
    return f"- `{name}`" + (f": {about}" if about else "")


def _arguments(given: ast.arguments) -> str:
    """The names of a method's arguments, without self, types and defaults."""
    names = [each.arg for each in given.args[1:]]
    names += [f"*{given.vararg.arg}"] if given.vararg else []
    names += [each.arg for each in given.kwonlyargs]
    return ", ".join([*names, *([f"**{given.kwarg.arg}"] if given.kwarg else [])])


def _comment(line: str) -> str:
    """What stands behind a line of code; defaults here hold no number sign."""
    return line.partition("  # ")[2].removeprefix("type: ignore").strip()


def _hidden(name: str) -> bool:
    return name.startswith("_")


def _first(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)
