"""Line charts as SVG, written without a library, so that the same rows give the same file wherever it is made.

Text is text, colours follow the reader's light or dark mode, and the size follows the page.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 58, 150, 34, 48  # what is around the plot: names of the lines stand right of it
LIGHT = ("#1f6f43", "#b04a10", "#2f5fa5", "#7a48a8", "#6a6a6a")
DARK = ("#63c18d", "#f0935a", "#82aef0", "#c19ae8", "#a8a8a8")


def _style() -> str:
    """Text and lines in the reader's own mode; `currentColor` is the colour of a line and of its name."""
    light, dark = (
        " ".join(f".c{at} {{ color: {colour} }}" for at, colour in enumerate(each)) for each in (LIGHT, DARK)
    )
    return f"""<style>
text {{ font: 13px system-ui, sans-serif; fill: currentColor }}
svg {{ color: #24292f }}
path {{ stroke: currentColor; fill: none }}
circle {{ fill: currentColor }}
.grid {{ opacity: 0.2 }}
.line {{ stroke-width: 2.5 }}
{light}
@media (prefers-color-scheme: dark) {{ svg {{ color: #d8dee4 }} {dark} }}
</style>"""


class Point(NamedTuple):
    """A mean, and the lowest and highest of what it is a mean of."""

    x: float
    y: float
    low: float
    high: float


class Axis(NamedTuple):
    """What an axis says, its ends, and where it has marks, each with its words."""

    label: str
    start: float
    end: float
    marks: Mapping[float, str]


def chart(title: str, x: Axis, y: Axis, lines: Mapping[str, Sequence[Point]], dashed: float | None = None) -> str:
    """A chart with a line for each name; `dashed` is a height that is marked across."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>{_style()}",
        f'<text x="{LEFT}" y="18" font-weight="600">{escape(title)}</text>',
        *_frame(x, y),
    ]
    ends = [_down(y, points[-1].y) for points in lines.values()]
    heights = _apart([*ends, _down(y, dashed)] if dashed is not None else ends)
    if dashed is not None:
        across = f"M{LEFT} {_down(y, dashed)}H{WIDTH - RIGHT}"
        parts.append(f'<path d="{across}" opacity="0.6" stroke-dasharray="4 4"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{heights[-1] + 4}">before</text>')
    for number, ((name, points), height) in enumerate(zip(lines.items(), heights, strict=False)):
        parts += [f'<g class="c{number}">', *_line(name, points, height, x, y), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _frame(x: Axis, y: Axis) -> list[str]:
    across = [
        f'<path class="grid" d="M{LEFT} {_down(y, at)}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 8}" y="{_down(y, at) + 4}" text-anchor="end">{escape(word)}</text>'
        for at, word in y.marks.items()
    ]
    below = [
        f'<text x="{_along(x, at)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{escape(word)}</text>'
        for at, word in x.marks.items()
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    says = f'<text x="{middle:g}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.label)}</text>'
    return [*across, *below, says]


def _line(name: str, points: Sequence[Point], height: float, x: Axis, y: Axis) -> list[str]:
    path = "L".join(f"{_along(x, p.x)} {_down(y, p.y)}" for p in points)
    bars = "".join(f"M{_along(x, p.x)} {_down(y, p.low)}V{_down(y, p.high)}" for p in points)
    dots = "".join(f'<circle cx="{_along(x, p.x)}" cy="{_down(y, p.y)}" r="3.5"/>' for p in points)
    return [
        f'<path class="line" d="M{path}"/><path d="{bars}"/>{dots}',
        f'<text x="{WIDTH - RIGHT + 8}" y="{height + 4}">{escape(name)}</text>',
    ]


def _apart(heights: list[float], least: float = 16) -> list[float]:
    """Heights of names moved down until they do not touch each other."""
    placed: dict[int, float] = {}
    for at in sorted(range(len(heights)), key=heights.__getitem__):
        above = max(placed.values(), default=TOP - least)
        placed[at] = round(max(heights[at], above + least), 1)
    return [placed[at] for at in range(len(heights))]


def _along(x: Axis, value: float) -> float:
    return round(LEFT + (value - x.start) / (x.end - x.start) * (WIDTH - LEFT - RIGHT), 1)


def _down(y: Axis, value: float) -> float:
    inside = min(max(value, min(y.start, y.end)), max(y.start, y.end))
    return round(HEIGHT - BOTTOM - (inside - y.start) / (y.end - y.start) * (HEIGHT - TOP - BOTTOM), 1)
