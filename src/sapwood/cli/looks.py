"""Looks: a page with a picture of what hangs together in a network. One file, no scripts, nothing from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape

from torch import nn

from sapwood.export.offers import shortened
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.site import Couplings, Pinned, Site, Slot

ROW, BAR, NAMES = 20, 220, 300  # pixels: a tensor's height, the widest dimension, the room for names
NOTHING = "<tr><th scope='row'>nothing</th></tr>"
STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --pin: #bbb; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #16181c; --pin: #555; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }
.wide { overflow-x: auto; } td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top; }
table { border-collapse: collapse; } thead th { border-bottom: 1px solid var(--pin); }
tbody th, tr > th[scope=row] { font-weight: 500; white-space: nowrap; }
td.n { text-align: right; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
"""


def page(model: nn.Module, coupled: Couplings, title: str) -> str:
    """The whole page."""
    colours = {site.name: _colour(number) for number, site in enumerate(coupled.sites)}
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(type(model).__name__)}</h1>
<p>From {escape(title)}. Every row is a weight: to the left the units that it reads, to the right those that it makes.
Bars of one colour lose the same units together; grey ones stay.</p>
<div class="wide">{_picture(model, coupled, colours)}</div>
<h2>What can go</h2><div class="wide"><table><thead><tr>{_heads("site", "units", "tensors that change")}</tr></thead>
{"".join(_row(site, colours[site.name]) for site in coupled.sites) or NOTHING}</table></div>
<h2>What stays, and why</h2><div class="wide"><table><thead><tr>{_heads("made by", "units", "because")}</tr></thead>
{"".join(map(_pin, coupled.pinned))}</table></div></body></html>
"""


def _heads(*titles: str) -> str:
    return "".join(f"<th scope='col'>{title}</th>" for title in titles)


def _colour(number: int) -> str:
    """Far from that of its neighbours: each is the golden angle further round the wheel."""
    return f"hsl({number * 137.5 % 360:.0f} 65% 50%)"


def _row(site: Site, colour: str) -> str:
    tensors = dict.fromkeys(slot.tensor for slot in site.slots)
    lossy = " (lossy: a norm goes over them)" if site.lossy else ""
    return (
        f"<tr><th scope='row'><span class='dot' style='background:{colour}'></span>{escape(site.name)}</th>"
        f"<td class='n'>{site.units:,}</td><td>{escape(', '.join(tensors))}{lossy}</td></tr>"
    )


def _pin(pin: Pinned) -> str:
    because = escape(shortened(pin.because))
    return f"<tr><th scope='row'>{escape(pin.name)}</th><td class='n'>{pin.units:,}</td><td>{because}</td></tr>"


def _picture(model: nn.Module, coupled: Couplings, colours: Mapping[str, str]) -> str:
    """A row for each weight with more than one dimension."""
    weights = {name: tensor for name, tensor in named_tensors(model) if tensor.dim() > 1}
    widest = max((size for tensor in weights.values() for size in tensor.shape[:2]), default=1)
    seats: dict[str, list[tuple[Site, Slot]]] = {}
    for site in coupled.sites:
        for slot in site.slots:
            seats.setdefault(slot.tensor, []).append((site, slot))
    middle, width = NAMES + BAR, NAMES + 2 * BAR + 120
    drawn = [
        line
        for number, (name, tensor) in enumerate(weights.items())
        for line in _weight(name, tuple(tensor.shape), seats.get(name, []), number * ROW, middle, widest, colours)
    ]
    return (
        f"<svg viewBox='0 0 {width} {len(weights) * ROW}' width='{width}' height='{len(weights) * ROW}' role='img' "
        f"aria-label='Which weights lose units together'>{''.join(drawn)}</svg>"
    )


def _weight(
    name: str,
    shape: tuple[int, ...],
    seats: list[tuple[Site, Slot]],
    top: int,
    middle: int,
    widest: int,
    colours: Mapping[str, str],
) -> Iterator[str]:
    """The name, the bar of what it reads to the left of the middle, that of what it makes to the right."""
    yield f"<text x='0' y='{top + 14}'>{escape(name if len(name) < 46 else '…' + name[-44:])}</text>"
    made = next((slot.dim for _, slot in seats if slot.role in ("makes", "both", "holds")), None)
    read = next((slot.dim for _, slot in seats if slot.role == "reads"), None)
    out = made if made is not None else 1 if read == 0 else 0
    for dim, sign in ((1 - out if out < 2 else 0, -1), (out, 1)):
        if dim >= len(shape):
            continue
        long = max(2.0, BAR * 0.9 * (shape[dim] / widest) ** 0.5)
        left = middle - long - 4 if sign < 0 else middle + 4
        yield from _bar(shape[dim], [seat for seat in seats if seat[1].dim == dim], left, top, long, colours)


def _bar(
    size: int, seats: list[tuple[Site, Slot]], left: float, top: int, long: float, colours: Mapping[str, str]
) -> Iterator[str]:
    """A dimension in the colours of the sites that sit on it, by how many positions each has."""
    yield _box(left, top, long, "var(--pin)", f"{size} in all")
    at = left
    for site, slot in seats:
        share = min(long * int((slot.unit_of >= 0).sum()) / size, left + long - at)
        yield _box(at, top, share, colours[site.name], f"{site.name}: {site.units} units on {size}")
        at += share


def _box(left: float, top: int, long: float, colour: str, words: str) -> str:
    return (
        f"<rect x='{left:.1f}' y='{top + 3}' width='{long:.1f}' height='{ROW - 6}' fill='{colour}'>"
        f"<title>{escape(words)}</title></rect>"
    )
