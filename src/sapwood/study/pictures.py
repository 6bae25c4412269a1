"""Pictures: a study's drawings as parts of a page, in the page's own colours, so that they are dark on a dark page."""

import html
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

from sapwood.extras import optional
from sapwood.study.plots import BLACK, BLUE, GREY, ORANGE, PALE, STYLE
from sapwood.study.study import Study
from sapwood.study.table import Table

COLOURS = {  # of drawings -> of the page, which has two of each: see report.html.j2
    BLACK: "ink", BLUE: "blue", ORANGE: "orange", GREY: "grey", PALE: "pale", "#ffffff": "paper", "#dddddd": "line",
    "#e6e6e6": "line", "#555555": "quiet", "#666666": "quiet", "#9a9a9a": "grey",
}  # fmt: skip


class Shown(NamedTuple):
    """A drawing as the page has it."""

    title: str
    caption: str
    svg: str


def drawn(study: Study, rows: Table, folder: Path) -> list[Shown]:
    """Every figure of a study."""
    with optional("a figure"):
        from matplotlib import rc_context

    with rc_context(STYLE):
        drawings = [(figure, figure.draw(rows, folder)) for figure in study.figures]
        return [
            Shown(each.title, each.caption, svg(drawing, f"f{i}-", each.title))
            for i, (each, drawing) in enumerate(drawings)
        ]


def svg(figure: Any, prefix: str, title: str) -> str:
    """A matplotlib figure as an element to put into a page: no links to anywhere, and ids that no other figure has."""
    text = io.StringIO()
    about = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", dpi=200, metadata=about, facecolor="none")
    whole = text.getvalue()
    element = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", whole[whole.index("<svg") :])
    element = re.sub(r'\bid="', f'id="{prefix}', element)
    element = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", element)
    element = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda found: _of_the_page(found[0]), element)
    return element.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)


def _of_the_page(colour: str) -> str:
    return f"var(--{COLOURS[colour]}, {colour})" if colour in COLOURS else colour
