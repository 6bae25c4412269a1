"""What of each architecture can be removed: half of the units of every site, at random, proven equal in float64.

`python benchmarks/peers/coverage.py --write` makes docs/coverage.md anew; a test compares it where the packages are.
"""

import argparse
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from architectures import ARCHITECTURES, made

from sapwood.shrinking.shrink import shrink
from sapwood.shrinking.site import Couplings
from sapwood.shrinking.sites import couplings

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
PLACE = r" \(([^()]*:\d+|in module [^()]*|its line[^()]*)\)|;.*|: write.*"  # in a reason; other machines have others
WANTED = 0.4  # of the parameters, at half of the units
HEAD = """# Coverage

What `shrink` removes of each architecture when half of the units of every site go, drawn at random. *Removed* is the
share of the parameters that went; each of these networks was proven equal, in float64, to the whole one with the same
units gated to zero. No architecture is known to the library by name: coverage follows from rules about operators. Where
less than 40 % went, the reasons say what holds most of the units that stayed.

Written by `python benchmarks/peers/coverage.py --write`.

| architecture | parameters | sites | removed | what holds the rest |
| --- | ---: | ---: | ---: | --- |
"""


@dataclass(frozen=True)
class Covered:
    """One architecture's line."""

    name: str
    parameters: int
    sites: int
    removed: float
    reasons: str

    def line(self) -> str:
        """A row of the table."""
        why = self.reasons if self.removed < WANTED else ""
        return f"| {self.name} | {self.parameters:,} | {self.sites} | {100 * self.removed:.0f} % | {why} |"


def covered(name: str) -> Covered:
    """Half of every site's units removed; an InputError where the smaller network would differ."""
    model, example = made(name)
    found, luck = couplings(model, example), torch.Generator().manual_seed(0)
    keep = {}
    for site in found.sites:
        staying = torch.randperm(site.units, generator=luck)[: (site.units + 1) // 2]
        keep[site.name] = torch.zeros(site.units, dtype=torch.bool).index_fill(0, staying, True)
    small = shrink(model, keep, found.sites, example=example).model
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, small))
    return Covered(name, before, len(found.sites), 1 - after / before, _reasons(found))


def _reasons(found: Couplings) -> str:
    """The three that hold most units, without places in the code."""
    held: Counter[str] = Counter()
    for pinned in found.pinned:
        held[re.sub(PLACE, "", pinned.because)] += pinned.units
    return "; ".join(f"{reason} ({units:,})" for reason, units in held.most_common(3))


def written() -> dict[str, str]:
    """{architecture: its line} on the page."""
    rows = PAGE.read_text("utf-8").removeprefix(HEAD).splitlines() if PAGE.is_file() else []
    return {row.split("|")[1].strip(): row for row in rows if row.startswith("| ")}


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true")
    options.add_argument("names", nargs="*", help="these only; the other lines stay as they are")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    lines = written()
    for name in chosen.names or ARCHITECTURES:
        lines[name] = covered(name).line()
        print(lines[name], flush=True)
    if chosen.write:
        PAGE.write_text(HEAD + "".join(f"{lines[name]}\n" for name in ARCHITECTURES if name in lines), encoding="utf-8")
