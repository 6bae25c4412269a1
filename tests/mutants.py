"""The planted bugs, each with the law that must catch it. `python tests/mutants.py` prints which law caught which."""

import sys
from textwrap import shorten

import torch
from planted import choosing, coding, gating, holding, planning, products, seeing, shrinking, training
from planted.mutant import Mutant, caught

MUTANTS: tuple[Mutant, ...] = tuple(
    mutant
    for family in (choosing, seeing, planning, holding, training, gating, shrinking, products, coding)
    for mutant in family.MUTANTS
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
