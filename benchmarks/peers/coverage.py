"""What of each architecture can be removed, half of the units of every site at random, and what holds afterwards.

`python benchmarks/peers/coverage.py --write` makes docs/coverage.md anew; a test compares it where the packages are.
"""

import argparse
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from afterwards import ONNX, Again, costs, in_onnx, second_process
from architectures import ARCHITECTURES, made

from sapwood.currency import Keep
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Couplings, Site

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
PLACE = r" \(([^()]*:\d+|in module [^()]*|its line[^()]*)\)|;.*|: write.*"  # in a reason; other machines have others
WANTED = 0.4  # of the parameters, at half of the units
HEAD = """# Coverage

What `shrink` removes of each architecture when half of the units of every site go, drawn at random. No architecture is
known to the library by name: coverage follows from rules about operators. Written by
`python benchmarks/peers/coverage.py --write`; tests compare it with what the architectures give.

- *Removed*: the share of the parameters that went. Each of these networks was proven equal, in float64, to the whole
  one with the same units gated to zero. Where every layer can lose half of its inputs and half of its outputs, three
  quarters go; where norms hold the stream between the layers, as in transformers, half is the most. Below 40 % the
  notes say what holds the most units.
- *MACs removed*: the share of the multiply-adds that went. *Counted*: `macs_of` gives exactly half of the FLOPs that
  `torch.utils.flop_counter` counts, of the whole network and, before it is made, of the shrunk one; counted with
  gradients, in float64 and with plain attention, since on a CPU it does not see inside fused kernels.
  Nor does it know the grouped products with which transformers runs experts: there ours is the higher count.
- *Loaded*: written by `sapwood.export.save` and loaded in a second process, which built the original from its class and
  had never seen the shrunk one, every parameter, every buffer and the outputs were the same bit by bit (one thread).
- *ONNX*: `sapwood.export.to_onnx` wrote the shrunk network, and ONNX Runtime's answers differ from PyTorch's by at most
  1e-5 of the largest.

| architecture | parameters | sites | removed | MACs removed | counted | loaded | ONNX |
| --- | ---: | ---: | ---: | ---: | --- | --- | --- |
"""
NOTES = "\n## Notes\n\n"
OP = r"(aten\.\w+)"
PLAIN = {  # a reason that couplings gives -> the same for somebody who has not read the rules
    "nothing else sits where it does.*": "they could only go all together, and one unit must stay",
    "nothing uses it for this example.*": "evaluation does not run these layers, so nothing is known about them",
    "it is the network's answer": "they are the network's answer",
    OP + " normalises across units": r"\1 goes over all of them, and without one the others would change",
    OP + " goes over units, whose number counts there": r"\1 counts or compares them",
    OP + " adds up units that are not 0 by themselves.*": r"\1 adds them up, and they are not 0 without their weights",
    OP + " computes a weight from all of them": r"\1 makes every filter of all of them",
    OP + " multiplies units with each other": r"\1 multiplies them with each other, as queries with keys",
    OP + " counts positions along units": r"\1 picks by position along them, as from a table",
    "a size may be written into " + OP: r"their number may be written into the code, at \1",
}


@dataclass(frozen=True)
class Covered:
    """What one architecture's line says."""

    name: str
    parameters: int
    sites: int
    removed: float
    macs_removed: float
    counted: str  # these three: "yes", or what is not
    loaded: str
    onnx: str
    reasons: str

    def lines(self) -> list[str]:
        """A row of the table, and notes on it."""
        said = {"counted": self.counted, "loaded": self.loaded, "ONNX": self.onnx}
        cells = [f"{self.parameters:,}", f"{self.sites}", _percent(self.removed), _percent(self.macs_removed)]
        row = f"| {' | '.join([self.name, *cells, *map(_short, said.values())])} |"
        said = {"removed": self.reasons if self.removed < WANTED else "yes"} | said
        return [row, *(f"- {self.name}, {column}: {why}." for column, why in said.items() if _short(why) == "no")]


def covered(name: str, again: Again) -> Covered:
    """Half of every site's units removed; an InputError where the smaller network would differ."""
    original = model, example = made(name)
    anatomy = Anatomy(model, example)
    found = couplings(anatomy)
    keep = _half(found.sites)
    small = shrink(anatomy, keep).model
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, small))
    whole, rest, counted = costs(anatomy, small, keep)
    loaded, onnx = again(name, original, small), in_onnx(original, small) if ONNX else "not measured"
    return Covered(
        name, before, len(found.sites), 1 - after / before, 1 - rest / whole, counted, loaded, onnx, _reasons(found)
    )


def _half(sites: tuple[Site, ...]) -> Keep:
    luck, keep = torch.Generator().manual_seed(0), {}
    for site in sites:
        staying = torch.randperm(site.units, generator=luck)[: (site.units + 1) // 2]
        keep[site.name] = torch.zeros(site.units, dtype=torch.bool).index_fill(0, staying, True)
    return keep


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _short(said: str) -> str:
    """What stands in the table; the rest goes into a note."""
    return said if said in ("yes", "not measured") else "no"


def _reasons(found: Couplings) -> str:
    """The three that hold most units, without places in the code."""
    held: Counter[str] = Counter()
    for pinned in found.pinned:
        held[plain(re.sub(PLACE, "", pinned.because))] += pinned.units
    return "; ".join(f"{units:,} units stay because {reason}" for reason, units in held.most_common(3))


def plain(reason: str) -> str:
    """In the words of the page; a reason without any stays as it is."""
    for pattern, words in PLAIN.items():
        if re.fullmatch(pattern, reason):
            return re.sub(pattern, words, reason)
    return reason


def written() -> dict[str, list[str]]:
    """{architecture: its row and its notes} on the page."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text("utf-8").removeprefix(HEAD).splitlines() if PAGE.is_file() else []:
        if match := re.match(r"\| (.+?) \||- (.+?), (?:removed|counted|loaded|ONNX): ", line):
            found.setdefault(match[1] or match[2], []).append(line)
    return found


def page(lines: dict[str, list[str]]) -> str:
    """The table and, under it, all notes."""
    known = [lines[name] for name in ARCHITECTURES if name in lines]
    notes = [note for _, *its_own in known for note in its_own]
    return HEAD + "".join(f"{row}\n" for row, *_ in known) + (NOTES + "".join(f"{n}\n" for n in notes) if notes else "")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true")
    options.add_argument("names", nargs="*", help="these only; the other lines stay as they are")
    chosen = options.parse_args()
    if chosen.write and not ONNX:
        options.error("--write needs onnx, onnxscript and onnxruntime: pip install -e '.[onnx]'")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the packages
    lines = written()
    with second_process() as again:
        for name in chosen.names or ARCHITECTURES:
            lines[name] = covered(name, again).lines()
            print(*lines[name], sep="\n", flush=True)
            if chosen.write:
                PAGE.write_text(page(lines), encoding="utf-8")
