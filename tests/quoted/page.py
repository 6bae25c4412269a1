"""Page: where README has numbers, each computed from the kept rows, or why it is not from rows.

A quote is text as it stands in README, its numbers computed. What is left of the page when all quotes and everything
in `ELSEWHERE` is taken out has no digit in it.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from quoted.lenet import lenet, record
from quoted.others import compacted, digits, speed
from quoted.paper import paper


def architectures() -> int:
    """How many lines the coverage page has."""
    page = (Path(__file__).parents[2] / "docs" / "coverage.md").read_text("utf-8")
    return len(re.findall(r"^\| [^|]+ \| [0-9,]+ \|", page, flags=re.MULTILINE))


ELSEWHERE = {  # what is not from the rows of a study: why
    r"```.*?```": "code: it runs as printed (test_documents)",
    r"\]\([^)]*\)": "where a link leads (test_documents)",
    r"`[^`]*`": "a name or a command",
    r"LeNet-300-100": "a network's name",
    r"784(-\d+)+": "a network's widths; those of G1 are quoted",
    r"\b(2015|2016|2017|2019|2021|2024)\b": "the year of a paper",
    rf"\[{architectures()} architectures\]": "the lines of the coverage page, which its own tests check",
    r"proves in float64": "what `compact` does, tested there",
    r"Python 3\.11": "what is needed, from pyproject.toml",
    r"Apache-2\.0": "the licence",
    r"limits batch 1\b": "the title of a section of docs/speed.md",
    r"L1 norms": "the name of a norm",
    r"Row G1 \(|row G1 of|than G1's|against G1's|against G3's": "the name of a row",
    r"batch 256, one thread": "how benchmarks/compacted.py measures",
    r"95 % interval": "the rule of `study.table.summary`",
}


def flat(text: str) -> str:
    """One line, since numbers may stand at a line's end."""
    return re.sub(r"\s+", " ", text)


def faults(page: str) -> list[str]:
    """Quotes that the page does not have so, and numbers that are neither quoted nor excused."""
    text = flat(page)
    spans = {quote: _spans(re.escape(quote), text) for quote in _quotes()}
    wrong = [f"README does not say {quote!r}, which the kept rows do" for quote, found in spans.items() if not found]
    known = {at for found in spans.values() for span in found for at in range(*span)}
    known |= {at for pattern in ELSEWHERE for span in _spans(pattern, text) for at in range(*span)}
    left = [found.start() for found in re.finditer(r"\d[\d.,]*", text) if found.start() not in known]
    return wrong + [f"no rows are known for the number in {text[max(0, at - 60) : at + 20]!r}" for at in left]


def _spans(pattern: str, text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(pattern, text)]


@cache
def _quotes() -> tuple[str, ...]:
    return tuple(quotes())


def quotes() -> Iterator[str]:
    """All of them, from all studies."""
    for part in (speed, compacted, digits, paper, lenet, record):
        yield from part()
