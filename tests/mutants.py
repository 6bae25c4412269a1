"""The planted bugs, each with the law that must catch it. `python tests/mutants.py` prints which law caught which."""

import sys
from importlib import import_module
from pathlib import Path
from textwrap import shorten

import torch
from planted.mutant import Mutant, caught

FAMILIES = sorted({path.stem for path in (Path(__file__).parent / "planted").glob("*.py")} - {"mutant", "__init__"})
MUTANTS: tuple[Mutant, ...] = tuple(
    mutant for family in FAMILIES for mutant in import_module(f"planted.{family}").MUTANTS
)


def table(mutants: tuple[Mutant, ...] = MUTANTS) -> tuple[list[str], int]:
    """One line for each bug: what it is, the law that must catch it, what the law said; and how many were missed."""
    lines = [f"{'planted bug':64} {'law':100} caught"]
    missed = 0
    for mutant in mutants:
        said = caught(mutant)
        missed += said is None
        lines.append(f"{mutant.bug:64} {mutant.law:100} {'NO' if said is None else 'yes: ' + shorten(said, 60)}")
    return [*lines, f"{len(mutants)} bugs planted, {missed} missed"], missed


if __name__ == "__main__":
    torch.set_num_threads(1)
    lines, missed = table()
    print("\n".join(lines))
    sys.exit(missed > 0)
