"""Looks: a page with a picture of what hangs together in a network. One file, no scripts, nothing from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape

from torch import nn

from sapwood.export.offers import shortened
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.site import Couplings, Pinned, Site, Slot

HIGH, BAR = (
    14,
    220,
)  # how high a bar is, and how long the widest dimension; the picture is drawn as wide as there is room
NOTHING = "<tr><th scope='row'>nothing</th></tr>"
STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --pin: #bbb; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #16181c; --pin: #555; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }
.wide { overflow-x: auto; } td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top; }
table { border-collapse: collapse; } thead th { border-bottom: 1px solid var(--pin); }
tbody th, tr > th[scope=row] { font-weight: 500; white-space: nowrap; }
td.n { text-align: right; }
.row { display: grid; grid-template-columns: minmax(0, 19rem) minmax(0, 28rem); gap: 0 1rem; align-items: center; }
.row span { font-size: .8rem; overflow-wrap: anywhere; } .row svg { display: block; width: 100%; height: 14px; }
@media (max-width: 40rem) {
  .row { grid-template-columns: minmax(0, 1fr); margin-bottom: .5rem; }
  tbody th, tr > th[scope=row], td { white-space: normal; overflow-wrap: anywhere; min-width: 5rem; }
  td.n { min-width: 2.5rem; }
}
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
<div role="group" aria-label="Which weights lose units together">{_picture(model, coupled, colours)}</div>
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
    return "".join(
        _weight(name, tuple(tensor.shape), seats.get(name, []), widest, colours) for name, tensor in weights.items()
    )


def _weight(
    name: str, shape: tuple[int, ...], seats: list[tuple[Site, Slot]], widest: int, colours: Mapping[str, str]
) -> str:
    """The name, the bar of what it reads to the left of the middle, that of what it makes to the right."""
    made = next((slot.dim for _, slot in seats if slot.role in ("makes", "both", "holds")), None)
    read = next((slot.dim for _, slot in seats if slot.role == "reads"), None)
    out = made if made is not None else 1 if read == 0 else 0
    drawn = list[str]()
    for dim, sign in ((1 - out if out < 2 else 0, -1), (out, 1)):
        if dim >= len(shape):
            continue
        long = max(2.0, BAR * 0.95 * (shape[dim] / widest) ** 0.5)
        left = BAR - long - 2 if sign < 0 else BAR + 2
        drawn += _bar(shape[dim], [seat for seat in seats if seat[1].dim == dim], left, long, colours)
    return (
        f"<div class='row'><span>{escape(name)}</span><svg viewBox='0 0 {2 * BAR} {HIGH}' preserveAspectRatio='none' "
        f"role='img' aria-label='{escape(name)}'>{''.join(drawn)}</svg></div>"
    )


def _bar(
    size: int, seats: list[tuple[Site, Slot]], left: float, long: float, colours: Mapping[str, str]
) -> Iterator[str]:
    """A dimension in the colours of the sites that sit on it, by how many positions each has."""
    yield _box(left, long, "var(--pin)", f"{size} in all")
    at = left
    for site, slot in seats:
        share = min(long * int((slot.unit_of >= 0).sum()) / size, left + long - at)
        yield _box(at, share, colours[site.name], f"{site.name}: {site.units} units on {size}")
        at += share


def _box(left: float, long: float, colour: str, words: str) -> str:
    return (
        f"<rect x='{left:.1f}' width='{long:.1f}' height='{HIGH}' fill='{colour}'><title>{escape(words)}</title></rect>"
    )
