"""Pages that show what their code prints: run the code, and write what it printed below it; the notebook, too.

python docs/write_printed.py           write README.md, docs/first-steps.md and docs/first-steps.ipynb; a test compares

A block of text right behind a block of Python is what that printed. A line of dots in it stands for lines left out.
Times differ from run to run, and accuracies from processor to processor: `alike` says what may.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "first-steps.md")
NOTEBOOK = ROOT / "docs" / "first-steps.ipynb"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
UNCLEAR = "not told apart"
ACCURACY, ANY = 0.05, re.compile(r"^(milliseconds|timed)\b|largest relative difference")  # lines with other numbers


@dataclass(frozen=True)
class Block:
    """A block of code in a page: what it is, what is shown below it, and where that stands in the page."""

    code: str
    shown: str | None
    line: int
    span: tuple[int, int]


def blocks(page: str) -> Iterator[Block]:
    """The Python blocks of a page, in order."""
    for found in BLOCK.finditer(page):
        line = page[: found.start("code")].count("\n")
        yield Block(found["code"], found["shown"], line, found.span("shown"))


def printed(block: Block, name: str, space: dict[str, object]) -> str:
    """Run a block in `space`, with the line numbers of its page, and return what it printed."""
    out = StringIO()
    with redirect_stdout(out):
        exec(compile("\n" * block.line + block.code, name, "exec"), space)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def alike(shown: str, said: str) -> bool:
    """Whether a page shows what was printed: the same lines, with dots for lines left out.

    Lines of times and of rounding may have other numbers, accuracies may differ by 0.05; all else is the same.
    """
    there = said.splitlines()
    for part in re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE):
        wanted = part.splitlines()
        starts = (at for at in range(len(there) - len(wanted) + 1) if _all_alike(wanted, there[at:]))
        if (at := next(starts, None)) is None:
            return False
        there = there[at + len(wanted) :]
    return shown.endswith("...\n") or not there


def _all_alike(wanted: list[str], there: list[str]) -> bool:
    return all(_line_alike(one, other) for one, other in zip(wanted, there, strict=False))


def _line_alike(one: str, other: str) -> bool:
    if one.split() == other.split():
        return True
    if UNCLEAR in one + other:  # on a busy machine two times may not be told apart
        return one.startswith("milliseconds") and other.startswith("milliseconds")
    if [each.split() for each in NUMBER.split(one)] != [each.split() for each in NUMBER.split(other)]:
        return False
    numbers = [[float(n.replace(",", "")) for n in NUMBER.findall(line)] for line in (one, other)]
    close = all(abs(a - b) <= ACCURACY for a, b in zip(*numbers, strict=True))
    return bool(ANY.search(one)) or (close and one.startswith(("evaluate", "accuracy")))


def filled(page: str, said: list[str]) -> str:
    """The page with what each block printed, wherever something is shown already, dots kept."""
    for block, text in reversed(list(zip(blocks(page), said, strict=True))):
        if block.shown is not None and not alike(block.shown, text):
            page = page[: block.span[0]] + text + page[block.span[1] :]
    return page


def notebook(page: str, said: list[str]) -> str:
    """A page as a notebook with its outputs: prose and code in cells, in the order of the page."""
    cells: list[dict[str, object]] = []
    at = 0
    for found, text in zip(BLOCK.finditer(page), said, strict=True):
        cells += _prose(page[at : found.start()], len(cells))
        out = [{"name": "stdout", "output_type": "stream", "text": _lines(text)}] if text.strip() else []
        code: dict[str, object] = {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{len(cells)}",
            "metadata": {},
        }
        cells.append(code | {"outputs": out, "source": _lines(found["code"].rstrip("\n"))})
        at = found.end()
    cells += _prose(page[at:], len(cells))
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _prose(text: str, number: int) -> list[dict[str, object]]:
    if not text.strip():
        return []
    return [{"cell_type": "markdown", "id": f"cell-{number}", "metadata": {}, "source": _lines(text.strip("\n"))}]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main() -> None:
    """Write the pages and the notebook; files that their code writes are thrown away."""
    for path in PAGES:
        page, space = path.read_text("utf-8"), dict[str, object](__name__="__main__")
        with TemporaryDirectory() as folder, chdir(folder):
            said = [printed(block, path.name, space) for block in blocks(page)]
        path.write_text(filled(page, said), "utf-8")
        print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)
    NOTEBOOK.write_text(notebook(PAGES[-1].read_text("utf-8"), said), "utf-8")


if __name__ == "__main__":
    main()
