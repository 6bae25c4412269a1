"""The picture of a scan, and a page around it: SVG and HTML written without a library, nothing from elsewhere."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 220, 20, 45
NAMED = 8  # lines that have their name beside them: those that fall lowest or rise highest
APART = 15  # pixels between two names
STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --grid: #ccc; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #16181c; --grid: #444; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }
.wide { overflow-x: auto; }
"""
DRAWN = """
text { font: 12px system-ui, sans-serif; fill: var(--ink, #777); }
path { fill: none; stroke-width: 1.5; } .grid { stroke: var(--grid, #999); stroke-width: 1; }
"""
Values = Mapping[str, Sequence[float]]  # {site: a number for each share}
Scale = Callable[[float], float]  # pixels of a value


def page(chart: str, body: str, notes: Iterable[tuple[str, str]]) -> str:
    """A page with the picture, the table and the notes."""
    said = "".join(f"<dt>{escape(what)}</dt><dd>{escape(words)}</dd>" for what, words in notes)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sensitivity</title><style>{STYLE}</style></head><body><h1>Sensitivity</h1>
<p>Each line is a site that alone keeps a share of its units.</p>
<div class="wide">{chart}</div><div class="wide">{body}</div><dl>{said}</dl></body></html>
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], shade: Values) -> str:
    """A table whose cells are the darker the more is lost, 0 to 1; `shade` begins with the second cell of a row."""
    heads = "".join(f"<th scope='col' style='text-align:left'>{escape(each)}</th>" for each in head)
    lines = (
        f"<tr><th scope='row' style='text-align:left'>{escape(row[0])}</th>"
        + "".join(_cell(cell, dark) for cell, dark in zip(row[1:], shade[row[0]], strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def line_chart(whole: float, shares: Sequence[float], values: Values) -> str:
    """One line a site, from all of its units at the left to the smallest share at the right."""
    every = [whole, *(each for its in values.values() for each in its)]
    low, high = min(every), max(every)
    span = high - low or 1.0

    def across(share: float) -> float:
        return round(LEFT + (1 - share) / (1 - min(shares)) * (WIDTH - LEFT - RIGHT), 1)

    def down(value: float) -> float:
        return round(TOP + (high - value) / span * (HEIGHT - TOP - BOTTOM), 1)

    lines = [
        f"<path stroke='{_colour(number)}' d='M{across(1)} {down(whole)}"
        + "".join(f"L{across(share)} {down(each)}" for share, each in zip(shares, its, strict=True))
        + f"'><title>{escape(name)}</title></path>"
        for number, (name, its) in enumerate(values.items())
    ]
    ends = {name: down(its[-1]) for name, its in values.items()}
    furthest = sorted(ends, key=lambda name: -abs(values[name][-1] - whole))[:NAMED]
    names = [
        f"<text x='{WIDTH - RIGHT + 8}' y='{at + 4}'>{escape(name)}</text>"
        for name, at in _apart({name: ends[name] for name in furthest})
    ]
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' "
        f"role='img' aria-label='What is left when one site alone loses units'><style>{DRAWN}</style>"
        f"{''.join([*_grid(shares, low, high, across, down), *lines, *names])}</svg>"
    )


def _grid(shares: Sequence[float], low: float, high: float, across: Scale, down: Scale) -> Iterator[str]:
    """Lines and numbers: shares below, values at the left."""
    for value in (low, (low + high) / 2, high):
        yield f"<path class='grid' d='M{LEFT} {down(value)}H{WIDTH - RIGHT}'/>"
        yield f"<text x='{LEFT - 6}' y='{down(value) + 4}' text-anchor='end'>{value:.3f}</text>"
    for share in (1.0, *shares):
        yield f"<text x='{across(share)}' y='{HEIGHT - BOTTOM + 18}' text-anchor='middle'>{100 * share:g}</text>"
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f"<text x='{middle}' y='{HEIGHT - 8}' text-anchor='middle'>percent of a site's units that are kept</text>"


def _cell(said: str, dark: float) -> str:
    colour = f";background:hsl(12 80% 50% / {0.6 * dark:.2f})" if dark > 0 else ""
    return f"<td style='text-align:right{colour}'>{escape(said)}</td>"


def _colour(number: int) -> str:
    """Far from that of its neighbours: each is the golden angle further round the wheel."""
    return f"hsl({number * 137.5 % 360:.0f} 65% 50%)"


def _apart(heights: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Names from top to bottom, moved down until they do not touch each other."""
    last = 0.0
    for name, at in sorted(heights.items(), key=lambda pair: pair[1]):
        last = max(at, last + APART)
        yield name, round(last, 1)
