"""The first pages: short, in short sentences, numbers backed by something; the site's contents; quoted messages."""

import ast
import json
import re
from functools import cache

import pytest
from archives import ROOT, writer

from sapwood import METHODS

README = (ROOT / "README.md").read_text("utf-8")
DOCS = ROOT / "docs"
FIRST = ("README.md", "docs/first-steps.md", "docs/your-own-model.md", "docs/prune.md")
PASTE = ("your-own-model", "prune", "write-a-study", "methods")  # pages that begin with lines to paste
LONGEST = 35  # words in a sentence
EXCUSED = {  # digits in README that are no results
    r"```.*?```": "code and what it printed (test_documents)",
    r"<!-- \w+: .*?<!-- end -->": "a table made of kept rows (below)",
    r"\]\([^)]*\)": "where a link leads (test_documents)",
    r"`[^`]*`": "a name or a command",
    r"in float64": "what the proof computes in, tested there",
    r"Apache-2\.0": "the licence",
}


def sentences(page):
    """The sentences of a page's prose: no code, tables, links' targets or pictures; a list's items are sentences."""
    text = re.sub(r"```.*?```|<!--.*?-->|^\|.*?$|^#.*?$|!\[[^\]]*\]\([^)]*\)", "\n\n", page, flags=re.S | re.M)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "code", text)
    paragraphs = re.split(r"\n\s*\n|\n(?=- )", text)
    return [each for part in paragraphs for each in re.split(r"(?<=[.!?:;])\s+", " ".join(part.split())) if each]


def too_long(page):
    return [each for each in sentences(page) if len(each.split()) > LONGEST]


@pytest.mark.parametrize("name", FIRST)
def test_sentences_are_short(name):
    assert too_long((ROOT / name).read_text("utf-8")) == []


@pytest.mark.parametrize("name", PASTE)
def test_pages_for_a_purpose_begin_with_a_few_lines_to_paste(name):
    """What stands for the reader's project is in a comment; before the lines stand a few words."""
    shown = re.sub(r"<!--.*?-->", "", (DOCS / f"{name}.md").read_text("utf-8"), flags=re.S)
    before, code = re.split(r"^```python\n", shown, flags=re.M)[:2]
    assert len(before.split()) < 80
    assert 5 < len([line for line in code[: code.index("\n```")].splitlines() if line.strip()]) <= 22


def test_a_long_sentence_is_found_wherever_it_stands():
    long = " ".join(["word"] * (LONGEST + 1))
    for page in (f"# T\n\n{long}.", f"A. {long}\n\n```\n{long}\n```", f"- one\n- {long.replace(' ', chr(10), 1)}\n"):
        assert len(too_long(page)) == 1
    assert too_long(f"```\n{long}\n```\n| {long} |\n# {long}\n{long[: -len('word')]}") == []


def test_readme_is_short_and_names_every_method_once():
    assert len(README.splitlines()) <= 70
    table = README[README.index("## Methods") : README.index("## Read on")]
    rows = " ".join(line for line in table.splitlines() if line.startswith("|"))
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(METHODS)


def test_readme_says_how_the_first_paper_s_main_claim_stands_and_leads_to_what_says_so():
    results = (DOCS / "results.md").read_text("utf-8")
    said = re.search(r"^## activation_pruning\n(.*?)^## ", results, re.S | re.M)[1]
    assert "- The main one is not supported (" in said
    assert ": 0 of 12 pruned networks are more accurate than the standard one" in said
    assert "[main claim](docs/results.md#activation_pruning) was not found: no pruned network beats the dense" in README
    assert README.index("was not found") < README.index("```console")


def test_the_page_of_methods_names_every_method_once():
    page = (DOCS / "methods.md").read_text("utf-8").partition("## All of them")[2]
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.M)) == sorted(METHODS)


def numbers(page):
    """Digits that are not excused, each with what stands before it."""
    text = page
    for pattern in EXCUSED:
        text = re.sub(pattern, "", text, flags=re.S)
    return [text[max(0, at.start() - 40) : at.end()] for at in re.finditer(r"\d[\d.,]*", text)]


def test_every_number_in_readme_is_printed_or_kept():
    assert numbers(README) == []
    assert numbers(README.replace("## Methods", "## Methods\n\nUp to 4.7 times faster.")) != []
    assert [pattern for pattern in EXCUSED if not re.search(pattern, README, re.S)] == []


def test_tables_and_figures_are_what_the_kept_rows_say():
    curves = writer("write_curves")
    for path in curves.PAGES:
        text = path.read_text("utf-8")
        assert curves.REGION.search(text), f"{path.name} has no table of kept rows"
        assert curves.page(text) == text, "run: python docs/write_curves.py"
    drawn = curves.figures()
    assert {path.name for path in curves.FIGURES.glob("*.svg")} == set(drawn)
    assert [name for name, svg in drawn.items() if (curves.FIGURES / name).read_text("utf-8") != svg] == []


def test_another_row_is_another_table_and_another_figure(monkeypatch):
    curves = writer("write_curves")
    before, tables, kept = curves.figures(), curves.tables(), curves.rows

    def changed(name):
        found = kept(name)
        at = next(
            each for each in ("accuracy", "accuracy_recovered", "accuracy_after_recovery", "left") if each in found[0]
        )
        return [row | {at: "0.5"} for row in found]

    monkeypatch.setattr(curves, "rows", changed)
    assert all(curves.tables()[name] != table for name, table in tables.items())
    of_trials = {"weights.svg"} | {name for name in before if name.startswith("fewer-macs")}
    assert {name for name, svg in curves.figures().items() if svg == before[name]} == of_trials


def test_the_notebook_is_the_page_with_what_it_printed():
    printed = writer("write_printed")
    page, text = printed.PAGES[-1].read_text("utf-8"), printed.NOTEBOOK.read_text("utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    said = ["".join(line for out in cell["outputs"] for line in out["text"]) for cell in cells]
    assert printed.notebook(page, said) == text, "run: python docs/write_printed.py"
    shown = [(block.shown, text) for block, text in zip(printed.blocks(page), said, strict=True) if block.shown]
    assert shown
    assert all(printed.alike(*each) for each in shown)


def reachable(start):
    """The pages that a table of contents leads to, itself and those behind it."""
    found, waiting = set(), [start]
    while waiting:
        page = waiting.pop()
        found.add(page)
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.S):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            waiting += [p for name in names for p in page.parent.glob(f"{name}.md") if p.resolve() not in found]
        found = {each.resolve() for each in found}
    return found


def test_every_page_is_in_the_contents():
    assert {path.resolve() for path in DOCS.rglob("*.md")} - reachable(DOCS / "index.md") == set()


@cache
def messages():
    """Every text in the package, values as dots."""
    found = set()
    for path in sorted((ROOT / "src" / "sapwood").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [each.value if isinstance(each, ast.Constant) else "…" for each in node.values]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def is_said(quoted):
    """Whether some text of the package has all that is quoted between the dots, in that order."""
    parts = [re.escape(part) for part in re.split(r"\s*…\s*", quoted.strip()) if part]
    pattern = re.compile(r".*?".join(parts), re.S)
    return bool(parts) and any(pattern.search(text) for text in messages())


def quoted(name):
    """The messages that a page of advice quotes."""
    text = (DOCS / name).read_text("utf-8")
    return re.findall(r"^- `([^`]*)`$" if name == "troubleshooting.md" else r"^\| `([^`]*)` \|", text, re.M)


@pytest.mark.parametrize("name", ["troubleshooting.md", "pinned.md"])
def test_messages_that_pages_quote_are_still_said(name):
    assert len(quoted(name)) > 10
    assert [each for each in quoted(name) if not is_said(each)] == []


def test_a_message_that_nobody_says_is_found():
    assert not is_said("… was eaten by a bear; …")
    assert not is_said("…")
