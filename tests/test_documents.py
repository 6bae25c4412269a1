"""The documents: their Python runs as printed, top to bottom, and their links lead somewhere."""

import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from sapwood import methods

ROOT = Path(__file__).parents[1]
PAGE_NAMES = ("all-of-sapwood", "your-own-model", "add-your-own", "recipes", "prune", "reloading")
EXECUTED = ("README.md", *(f"docs/{name}.md" for name in PAGE_NAMES))
EXTRAS = {  # a word in a block -> what it needs that may not be installed
    "to_onnx": "onnxscript",
    "bert": "accelerate",
    "qwen": "transformers",
    "timm": "timm",
    "lightning": "lightning",
    "Lit(": "lightning",
}
PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))

FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def blocks(text: str) -> Iterator[str]:
    """The Python blocks of a page, each with as many lines before it as the page has, so that errors show its lines."""
    for found in FENCE.finditer(text):
        yield "\n" * (text[: found.start(1)].count("\n")) + found.group(1)


def left_out(block: str) -> bool:
    """Whether a block needs one of the extras that is not installed here."""
    return any(word in block and find_spec(module) is None for word, module in EXTRAS.items())


def execute(text: str, name: str) -> dict[str, object]:
    """Run a page's blocks in one namespace, with warnings as errors; the namespace."""
    space: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", ".*(LeafSpec|num_workers)"
        )  # Lightning's own, of what torch gives up and cores
        for block in blocks(text):
            if not left_out(block):
                exec(compile(block, name, "exec"), space)
    return space


def headings(text: str) -> set[str]:
    """The anchors that a page's headings make."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.*)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    """The links of a page that lead to no file of this project, or to no heading of its page."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [first or second for first, second in LINK.findall(text)]
    return [link for link in links if not re.match(r"[a-z]+:", link) and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in headings(target.read_text("utf-8")))


def test_there_is_a_readme_with_an_example():
    assert list(blocks((ROOT / "README.md").read_text("utf-8"))), "README.md needs an example that runs"


@pytest.mark.parametrize("name", [name for name in EXECUTED if (ROOT / name).exists()])
def test_the_code_in_a_document_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with patch.dict(methods.ENTRIES):  # a page may put methods of its own there
        execute((ROOT / name).read_text("utf-8"), name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken_links(page) == []


def test_a_page_is_one_program_and_its_faults_are_found():
    page = "# T\n```python\nx = 1\n```\nwords\n```bash\nfalse\n```\n```python\ny = x + 1\n```\n"
    assert execute(page, "page.md")["y"] == 2
    with pytest.raises(NameError) as caught:
        execute(page + "```python\nz = unheard_of\n```\n", "page.md")
    assert caught.traceback[-1].lineno + 1 == 13
    with pytest.raises(UserWarning, match="old"):
        execute("```python\nimport warnings\nwarnings.warn('old')\n```\n", "page.md")


def test_the_list_of_what_to_add_names_files_that_exist():
    page = (ROOT / "docs" / "add-your-own.md").read_text("utf-8")
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.(?:py|lock))?)`", page[page.index("## Make it part of sapwood") :]))
    real = {name for name in named if "NAME" not in name}
    assert len(real) >= 10
    assert [name for name in real if not ((ROOT / name).exists() or (ROOT / "src" / "sapwood" / name).exists())] == []
    rooms = {name.partition("/")[0] for name in named - real}
    assert [room for room in rooms if not (ROOT / "src" / "sapwood" / room).is_dir()] == []


def test_only_what_needs_a_missing_extra_is_left_out(monkeypatch):
    page = "```python\nx = 1\n```\n```python\nx = 2  # bert\n```\n"
    for missing, value in ((False, 2), (True, 1)):
        monkeypatch.setattr("test_documents.find_spec", lambda module, gone=missing: None if gone else module)
        assert execute(page, "page.md")["x"] == value


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# One & two\n```\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#one--two) [c](nowhere.md) [d](other.md#three) [e](https://x.y) ![f](g.png)\n"
        "[g](#here)\n```\n[h](nowhere.md)\n```\n"
    )
    assert broken_links(page) == ["nowhere.md", "other.md#three", "g.png", "#here"]
