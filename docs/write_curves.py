"""The figures and tables of README and of docs/how-much.md, made of kept rows and of nothing else.

python docs/write_curves.py            write them; a test says when that was forgotten
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean

import fewer
from drawing import Axis, Point, chart
from write_results import kept

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "studies" / "results"
FIGURES = ROOT / "docs" / "figures"
PAGES = (ROOT / "README.md", ROOT / "docs" / "how-much.md", ROOT / "docs" / "prune.md")
REGION = re.compile(
    r"(?<=<!-- )(?P<name>[a-z ]+): python docs/write_curves\.py -->\n(?P<text>.*?)(?=<!-- end -->)", re.S
)
WHEN = {"cut": "right after the cut", "recalibrated": "norms recalibrated", "1 epochs": "1 epoch",
        "3 epochs": "3 epochs", "10 epochs": "10 epochs"}  # fmt: skip
BY = {
    "norm": "norm, the default",
    "magnitude": "magnitude",
    "lamp": "lamp",
    "mean_activation": "mean activation",
    "snip": "snip",
    "random": "random",
}
WEIGHTS = ("variational dropout", "gradual magnitude", "iterative magnitude", "SNIP", "one-shot magnitude")
PERCENT = {0.0: "0 %", 0.25: "25 %", 0.5: "50 %", 0.75: "75 %", 1.0: "100 %"}

QUANTITIES = {"macs": "multiply-adds", "parameters": "parameters", "bytes": "bytes", "ms": "milliseconds"}
WAYS = {"defaults": "half of each", "multiple=1": "half of each, any widths"}

Rows = Sequence[Mapping[str, str]]


def rows(name: str) -> Rows:
    """The lines of a kept file."""
    with (KEPT / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def figures() -> dict[str, str]:
    """File name -> SVG."""
    found = rows("how_much.csv")
    before = float(found[0]["accuracy"])
    marks = {at / 100: f"{at} %" for at in (80, 60, 40, 20)}
    x, y = Axis("multiply-adds left", 0.85, 0.1, marks), Axis("accuracy", 0.0, 1.0, PERCENT)
    trained = {words: _course(found, "norm", when) for when, words in WHEN.items()}
    chosen = {words: _course(found, by, "recalibrated") for by, words in BY.items()}
    made = {
        "how-much.svg": chart("Test accuracy, digits: mean and range of 3 seeds", x, y, trained, before),
        "criteria.svg": chart("Test accuracy, norms recalibrated, no training", x, y, chosen, before),
        "weights.svg": _weights(),
    }
    return made | (fewer.figures(kept("fewer_macs")) if (KEPT / "fewer_macs").is_dir() else {})


def _course(found: Rows, by: str, when: str) -> list[Point]:
    """A point for each share asked for, at what was left: mean, lowest and highest of the seeds."""
    mine = [row for row in found if row["by"] == by and row["when"] == when]
    return [_point(share, mine) for share in dict.fromkeys(row["share"] for row in mine)]


def _point(share: str, mine: Rows) -> Point:
    same = [row for row in mine if row["share"] == share]
    values = [float(row["accuracy"]) for row in same]
    return Point(mean(float(row["macs"]) for row in same), mean(values), min(values), max(values))


def _weights() -> str:
    """Test errors of LeNet-300-100 as the results page, which is made of kept trials, has them."""
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    head, _, *lines = (
        page[page.index("### lenet300: Test error") :].partition("\n\n")[2].partition("\n\n")[0].splitlines()
    )
    folds = [int(cell.removesuffix("-fold")) for cell in _cells(head)[1:]]
    table = {cells[0]: cells[1:] for cells in map(_cells, lines)}
    dense = next(name for name in table if name.startswith("dense"))
    x = Axis("how many times fewer weights", 1, 7, {at: f"{2**at}" for at in range(1, 8)})
    y = Axis("error", 0, 10, {0: "0 %", 2: "2 %", 4: "4 %", 6: "6 %", 8: "8 %", 10: "10 %"})
    lines_ = {name: list(_errors(table[name], folds)) for name in WEIGHTS}
    title = "Test error of LeNet-300-100 on MNIST, with intervals over seeds"
    return chart(title, x, y, lines_, float(_numbers(dense)[0]))


def _errors(cells: Sequence[str], folds: Sequence[int]) -> Iterator[Point]:
    for cell, fold in zip(cells, folds, strict=True):
        power = fold.bit_length() - 1
        if fold == 2**power and fold <= 128 and (numbers := _numbers(cell)):
            yield Point(power, *numbers)


def _numbers(cell: str) -> list[float]:
    """The mean and the ends of its interval."""
    return [float(each) for each in re.findall(r"\d+\.\d+", cell)][:3]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables() -> dict[str, str]:
    """Name of a region -> Markdown."""
    made = {"half": _half(), "resnets": _resnets(), "courses": _courses("norm"), "criteria": _criteria()}
    return made | {"budgets": _budgets()}


def _half() -> str:
    """Half of the multiply-adds of the trained ResNet-56, ours and the peer's, recovered alike."""
    if not (KEPT / "half_of_resnet56.csv").exists():
        return _resnets()
    found = _longest(rows("half_of_resnet56.csv"))
    after = f"after {int(found[0]['images']) // 128} steps"
    head = ("ResNet-56 on CIFAR-10, half removed", "MACs left", "times faster, ONNX Runtime", "accuracy", after)
    arms = dict.fromkeys((row["tool"], row["options"]) for row in found)
    return _markdown(head, [_arm(arm, [row for row in found if (row["tool"], row["options"]) == arm]) for arm in arms])


def _longest(kept: Rows) -> Rows:
    """The rows of the longest recovery that all have."""
    lengths = dict[str, set[tuple[str, str, str]]]()
    for row in kept:
        lengths.setdefault(row["images"], set()).add((row["tool"], row["options"], row["seed"]))
    every = set.union(*lengths.values())
    longest = max((images for images, those in lengths.items() if those == every), key=int)
    return [row for row in kept if row["images"] == longest]


def _arm(arm: tuple[str, str], mine: Rows) -> tuple[str, ...]:
    """One way to cut it, over its seeds."""
    first, after = mine[0], [100 * float(row["accuracy_after_recovery"]) for row in mine]
    left = float(first["macs"]) / float(first["macs_before"])
    faster = mean(float(row["faster_onnxruntime"]) for row in mine)
    spread = f" ({min(after):.1f} to {max(after):.1f})" if len(after) > 1 else ""
    before = 100 * float(first["accuracy_before"])
    name = arm[0] if arm[1] == "defaults" else f"{arm[0]}, {arm[1]}"
    return name, f"{100 * left:.0f} %", f"{faster:.2f}", f"{before:.1f} %", f"{mean(after):.1f} %{spread}"


def _resnets() -> str:
    """Trained networks for CIFAR-10 with half of their multiply-adds."""
    cells = [
        (row["network"], f"{_millions(row['macs_before'])} to {_millions(row['macs'])} M", _times(row),
         f"{_hundred(row['accuracy_before'])} %", f"{_hundred(row['accuracy_recovered'])} %")
        for row in rows("smaller_resnets.csv")
    ]  # fmt: skip
    head = (
        "CIFAR-10, half removed",
        "MACs",
        "times faster in PyTorch (quartiles)",
        "accuracy before",
        "after 8 epochs",
    )
    return _markdown(head, cells)


def _budgets() -> str:
    """What is left where half of a quantity is asked for, by network and way of asking; misses are marked."""
    found = rows("budgets.csv")
    quantities = [name for name in QUANTITIES if any(row["quantity"] == name for row in found)]
    arms = dict.fromkeys((row["network"], row["tool"], row["options"]) for row in found)
    cells = [
        (arm[0], f"{arm[1]}, {WAYS.get(arm[2], arm[2])}", *(_left(found, (*arm, quantity)) for quantity in quantities))
        for arm in arms
    ]
    return _markdown(("network", "asked", *(QUANTITIES[name] for name in quantities)), cells)


def _left(found: Rows, key: tuple[str, ...]) -> str:
    """One number: what is left, in percent."""
    mine = [row for row in found if (row["network"], row["tool"], row["options"], row["quantity"]) == key]
    if not mine:
        return ""
    missed = ", missed" * (mine[0]["met"] == "False")
    return f"{100 * float(mine[0]['left']):.1f} %{missed}" if mine[0]["left"] else "does not run"


def _times(row: Mapping[str, str]) -> str:
    middle, low, high = (float(row[name]) for name in ("speedup", "speedup_low", "speedup_high"))
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def _millions(number: str) -> str:
    return f"{float(number) / 1e6:.1f}"


def _hundred(share: str) -> str:
    return f"{100 * float(share):.2f}"


def _courses(by: str) -> str:
    found = rows("how_much.csv")
    columns = [_course(found, by, when) for when in WHEN]
    cells = [(_share(line[0].x), *map(_mean, line)) for line in zip(*columns, strict=True)]
    return _markdown(("multiply-adds left", *WHEN.values()), cells)


def _criteria() -> str:
    """What each criterion leaves of the work when half and when a quarter is asked for, and what comes of it."""
    found = rows("how_much.csv")
    shown = ("recalibrated", "1 epochs", "10 epochs")
    cells = [
        (words, _share(float(asked)), _share(points[0].x), *map(_mean, points))
        for asked in ("0.5", "0.25")
        for by, words in BY.items()
        if (points := [_point(asked, [r for r in found if r["by"] == by and r["when"] == when]) for when in shown])
    ]
    return _markdown(("criterion", "asked for", "left", *(WHEN[when] for when in shown)), cells)


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _mean(point: Point) -> str:
    spread = "" if point.low == point.high else f" ({100 * point.low:.1f} to {100 * point.high:.1f})"
    return f"{100 * point.y:.1f}{spread}"


def _markdown(head: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = [head, ("---",) + ("---:",) * (len(head) - 1), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def page(text: str) -> str:
    """A page with its tables made anew."""
    made = tables()
    return REGION.sub(lambda found: f"{found['name']}: python docs/write_curves.py -->\n{made[found['name']]}", text)


def main() -> None:
    """Write figures and pages."""
    FIGURES.mkdir(exist_ok=True)
    for name, drawn in figures().items():
        (FIGURES / name).write_text(drawn, "utf-8")
    for path in PAGES:
        path.write_text(page(path.read_text("utf-8")), "utf-8")
    print(f"wrote {FIGURES.relative_to(ROOT)} and the tables of {len(PAGES)} pages", file=sys.stderr)


if __name__ == "__main__":
    main()
