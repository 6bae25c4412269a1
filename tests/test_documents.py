"""The documents: their Python runs as printed, top to bottom, and their links lead somewhere."""

import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from archives import writer

from sapwood import methods, tasks
from sapwood.criteria import CRITERIA

ROOT = Path(__file__).parents[1]
PRINTED = writer("write_printed")
AGAIN = "the page shows something else: python docs/write_printed.py"
EXTRAS = {
    "to_onnx": "onnxscript",
    "bert": "accelerate",
    "onnxruntime": "onnxruntime",
    "in_lightning": "lightning",
    "lightning": "lightning",
    "Lit(": "lightning",
    "qwen": "transformers",
    "AutoModelForCausalLM": "transformers",
    "calibration": "transformers",
    "timm": "timm",
    "in_transformers": "accelerate",
    "Accelerator": "accelerate",
}  # a word in a block -> what it needs that may not be installed
PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))
NOT_RUN = {"docs/api.md": "signatures; its examples run where they stand, in docstrings"}
EXECUTED = [
    name
    for page in PAGES
    if "```python" in page.read_text("utf-8") and (name := str(page.relative_to(ROOT))) not in NOT_RUN
]

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def left_out(block: str) -> bool:
    """Whether a block needs one of the extras that is not installed here."""
    return any(word in block and find_spec(module) is None for word, module in EXTRAS.items())


def execute(text: str, name: str) -> dict[str, object]:
    """Run a page's blocks in one namespace, with warnings as errors, and compare what they print; the namespace."""
    space: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="lightning")  # its advice, on workers, loggers and the like
        warnings.filterwarnings("ignore", message=".*(LeafSpec|num_workers)")  # its use of torch's trees, and of cores
        for block in PRINTED.blocks(text):
            if not left_out(block.code):
                said = PRINTED.printed(block, name, space)
                assert block.shown is None or PRINTED.alike(block.shown, said), f"{AGAIN}; printed was:\n{said}"
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
    shown = [block.shown for block in PRINTED.blocks((ROOT / "README.md").read_text("utf-8"))]
    assert any(shown), "README.md needs an example that runs, with what it prints"


@pytest.mark.parametrize("name", EXECUTED)
def test_the_code_in_a_document_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A page may put things of its own into these.
    with patch.dict(methods.ENTRIES), patch.dict(tasks.ENTRIES), patch.dict(CRITERIA):
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


def test_what_a_page_shows_is_compared():
    code, shown = "print('MACs 5')\nprint()\nprint('evaluate 0.91')\n", "MACs 5\n\nevaluate 0.93\n"
    page = f"```python\n{code}```\n\n```text\n{shown}```\n"
    execute(page, "page.md")
    for wrong in (
        page.replace("MACs 5\n\nev", "MACs 6\n\nev"),
        page.replace("0.93", "0.81"),
        page.replace("\n\neval", "\neval"),
    ):
        assert wrong != page
        with pytest.raises(AssertionError, match="write_printed"):
            execute(wrong, "page.md")
    said = "a 1\nb 2\nmilliseconds 3.5\nc 4\n"
    assert PRINTED.alike("a 1\n...\nmilliseconds 9.1\n...\n", said)
    assert not PRINTED.alike("a 1\n...\nmilliseconds 9.1\n", said)
    assert not PRINTED.alike("b 2\n...\na 1\n...\n", said)
    assert not PRINTED.alike("a 1\nb 2\n", said)
    busy = "milliseconds not told apart (quartiles 90 to 110 %); give a larger example or timing=10\n"
    assert PRINTED.alike("milliseconds 3.5 1.2 50.0 % (quartiles 48 to 62)\n", busy)
    assert not PRINTED.alike("MACs 3.5\n", busy)


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
