"""Others: README's numbers from the quickstart, from `compact` on trained rows, and from the page on speed."""

import csv
import re
from collections.abc import Iterator

from quoted.kept import KEPT, ROOT, kept, told

from sapwood.study.seeds import summed_up
from sapwood.study.table import by_seed


def digits() -> Iterator[str]:
    """The quickstart, test accuracy as a fraction."""
    found = by_seed(kept("quickstart"), "accuracy", "test")
    left = by_seed(kept("quickstart"), "live_4", "network")["global random neurons"]
    show = {row: told(summed_up(seeds), 3) for row, seeds in found.items()}
    luck = found["global random neurons"]
    low = min(luck, key=lambda seed: luck[seed])
    rest = " and ".join(f"{value:.3f}" for seed, value in luck.items() if seed != low)
    gone = f"{luck[low]:.3f} in a third seed, where luck left {left[low]:.0f} of the last layer's 40 neurons"
    yield f"digits: {show['dense']}, the reference"
    for scope, others in (("global", f"{rest}, and {gone}"), ("local", show["local random neurons"])):
        yield (
            f"digits, 80 %: *Neurons* {show[f'{scope} Neurons']}, *Neurons & Weights* "
            f"{show[f'{scope} Neurons & Weights']}; not to be told from random neurons, {others}"
        )
    yield f"digits, 80 %: {show['magnitude']}."
    epochs = by_seed(kept("quickstart"), "epochs", "network")
    assert {value for seeds in epochs.values() for value in seeds.values()} == {40.0}
    yield "all rows train for 40 epochs"


def compacted() -> Iterator[str]:
    """Row G1 before and after `compact`."""
    with (KEPT / "activation_pruning_compacted.csv").open(newline="") as file:
        row = next(line for line in csv.DictReader(file) if line["row"] == "G1")
    of = kept("activation_pruning")
    zeros = by_seed(of, "sparsity", "network")["G1"][int(row["seed"])]
    assert row["accuracy"] == row["accuracy_before"]
    yield (
        f"(seed {row['seed']}), {100 * zeros:.0f} % zeros, becomes {row['widths']} with {int(row['parameters']):,} of "
        f"{int(row['parameters_before']):,} parameters, the same {100 * float(row['accuracy']):.2f} %, and takes "
        f"{float(row['time_ratio']):.2f} of the time (quartiles {float(row['time_low']):.2f} to "
        f"{float(row['time_high']):.2f};"
    )


def speed() -> Iterator[str]:
    """The lines of the page on speed that README has, without the columns that it leaves out."""
    page = (ROOT / "docs" / "speed.md").read_text("utf-8")
    table = page[: page.index("What was wanted of this")].splitlines()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("| ")]
    full = [line for line in lines if re.match(r"\d", line[3])]
    masked = [float(line[6].split()[0]) for line in full]
    yield f"Zeros left in place: {min(masked):.2f} to {max(masked):.2f} times."
    readme = (ROOT / "README.md").read_text("utf-8")
    named = {tuple(cell.strip() for cell in line.strip("|").split("|"))[:3] for line in readme.splitlines()}
    for line in full:
        if tuple(line[:3]) in named:
            yield re.sub(r"\s+", " ", "| " + " | ".join((*line[:4], *line[7:])) + " |")
