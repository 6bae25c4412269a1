"""Codes: short names in a report, explained where they are first used and in a legend at its end."""

import re
from collections.abc import Iterator, Mapping
from html import escape

SHARED = {  # what the reports of several studies use; a study adds its own arms
    "CSR": "sparse rows: each row's values that are not 0, with their column numbers",
    "ERK": "Erdős and Rényi's kernel: the share of weights that a layer keeps falls with its size",
    "FLOPs": "floating-point operations, two for each multiply-add",
    "GraSP": "pruning at initialisation by what removing a weight does to the gradient's norm",
    "Holm": "a correction of p values for the number of comparisons",
    "LAMP": "magnitude, relative to the weights of its layer that are larger",
    "MACs": "multiply-adds",
    "PCA": "principal component analysis: here a layer as a product of two of lower rank",
    "RigL": "sparse from the beginning; weights move to where gradients are large",
    "SET": "sparse from the beginning; weights move to random places",
    "SNIP": "pruning at initialisation by weight times gradient",
    "SynFlow": "pruning at initialisation by the flow of ones through |w|",
}
QUIET = ("svg", "style", "title", "nav", "h1", "h2", "h3", "a", "pre", "code", "summary", "table", "dl")
FOLDED = "details"
TAG = re.compile(r"(<[^>]*>)")


def anchor(code: str) -> str:
    """The id of a code's line in the legend."""
    return "code-" + re.sub(r"\W+", "-", code).strip("-")


def linked(cell: str, codes: Mapping[str, str]) -> str:
    """A cell as HTML; the code that it is, or begins with, leads to the legend."""
    for code in sorted(codes, key=len, reverse=True):
        if cell == code or cell.startswith((f"{code} ", f"{code},", f"{code}:")):
            return _link(escape(code), code, codes) + escape(cell[len(code) :])
    return escape(cell)


def used(page: str, codes: Mapping[str, str]) -> dict[str, str]:
    """The codes that a study has, and those of the shared ones that its page uses."""
    text = TAG.sub(" ", page)
    shared = {code: words for code, words in SHARED.items() if _finder([code]).search(text)}
    return dict(codes) | {code: words for code, words in shared.items() if code not in codes}


def explained(page: str, codes: Mapping[str, str]) -> str:
    """The page with words in brackets after the first use of each code in its text, and a link at each other first.

    What is folded away, mostly numbers, has a link at a code's first use in it. Headings, tables, drawings
    and links stay: a table's rows have links of their own.
    """
    return "".join(_parts(page, codes)) if codes else page


def _parts(page: str, codes: Mapping[str, str]) -> Iterator[str]:
    by_text, finder = {escape(code): code for code in codes}, _finder(codes)
    depth = dict.fromkeys((*QUIET, FOLDED), 0)
    said: set[str] = set()
    folded: set[str] = set()

    def explain(match: re.Match[str]) -> str:
        code, known = by_text[match[0]], folded if depth[FOLDED] else said
        if code in known:
            return match[0]
        known.add(code)
        words = "" if depth[FOLDED] else f'<span class="gloss"> ({escape(codes[code])})</span>'
        return _link(match[0], code, codes) + words

    for part in TAG.split(page):
        if part.startswith("<"):
            _count(depth, part)
            folded = folded if depth[FOLDED] else set()
        elif not any(depth[name] for name in QUIET):
            part = finder.sub(explain, part)
        yield part


def _count(depth: dict[str, int], tag: str) -> None:
    name = re.match(r"</?(\w+)", tag)
    if name and name[1] in depth and not tag.endswith("/>"):
        depth[name[1]] += -1 if tag.startswith("</") else 1


def _finder(codes: Mapping[str, str] | list[str]) -> re.Pattern[str]:
    longest = sorted(map(escape, codes), key=len, reverse=True)
    return re.compile(rf"(?<![\w&-])(?:{'|'.join(map(re.escape, longest))})(?![\w;-])")


def _link(text: str, code: str, codes: Mapping[str, str]) -> str:
    return f'<a class="code" href="#{anchor(code)}" title="{escape(codes[code])}">{text}</a>'
