"""Assumptions: what the report's numbers rest on, what was changed against the paper, and what is missing.

Sentences for the top of the report's section of that name; the numbers in them are made of the rows.
"""

from collections.abc import Iterator

from sapwood.study.finals import cycles, zeros
from sapwood.study.grid import number
from sapwood.study.printed import judged
from sapwood.study.seeds import summed_up
from sapwood.study.table import Table

from .arms import PRUNING
from .claims import FREE, STRICTNESS, random_instead

CHANGED = (
    "The tolerances were fixed while the arms ran, not before. They were committed at 10:13:20 on 2026-11-21 "
    "(8d24a79); the kept trials start at 10:06:52, and arms S, G1, G2 and G3 of seed 0 had ended by then. No tolerance "
    "has been changed since.",
    "Singular values (section 5.6, arms V): the marks at which the runs prune end at a training accuracy of 0.95, as "
    "in the authors' script, not at 0.98 as in the text, and all runs take equally many epochs, 40 at scale paper, "
    "with no stopping rule.",
    "Which algorithm is what: 1 to 3 are the method global_activation (2 scores by Neurons, 3 by Neurons & Weights), "
    "4 to 6 the method local_activation (5 by Neurons). Equation 4, the penalty that pruning is said to be equivalent "
    "to, is the method nuclear. Equations 1 to 3 are compared with nothing.",
    "Not here: Figure 1; Table 10, which is about LeNet on MNIST and gives no accuracy: the study lenet300 is about "
    "it. Of Table 1 the cost of global pruning was measured, not that of local pruning.",
    "Not tried: random neurons drawn anew for each cycle, more than 32 images to count on for L, controls by random "
    "neurons, |w| or inverted counts for the local arms.",
    "PCA is given equal ranks, not equal sizes: as factors its networks store more weights than the pruned ones have "
    "(table PCA on equal terms). Where it is trained on, it has five more epochs, at a lower learning rate for each "
    "pair of factors (`low_rank.rates`), which a pruned network has not had.",
)  # fmt: skip


def assumptions(rows: Table) -> Iterator[str]:
    """How strict the verdicts are, then what was changed and is missing."""
    if judged(rows):
        yield from _strictness(rows)
    yield from CHANGED
    yield from _cycles(rows)


def _cycles(rows: Table) -> Iterator[str]:
    """Which prune is the last of the singular-value runs."""
    made = {label: summed_up(cycles(rows, label)) for label in PRUNING}
    gone = {label: summed_up(zeros(rows, label)) for label in PRUNING}
    said = [f"{label} {number(made[label], 0)} at {number(gone[label], 1)} % zeros" for label in PRUNING if made[label]]
    if said:
        yield (
            "Cycles made of the ten of 8 % of the singular-value runs, mean over seeds: "
            + ", ".join(said)
            + ". What is "
            "called the last prune, in Figure 7 too, is the last that was made."
        )


def _strictness(rows: Table) -> Iterator[str]:
    sorts, once, passing = STRICTNESS.in_words(rows, FREE)
    yield (
        "“Reproduced” says that the mean lies within the tolerance, whatever the interval; the whole interval does for "
        f"{STRICTNESS.inside(rows)} numbers. By what the numbers are: {sorts}. The first swing from run to run and "
        "have wide tolerances; the second follow from the number of cycles, and only seeds with the paper's are asked. "
        f"The rest, each number once though some are printed in two tables: {once}."
    )
    ours, luck, of = random_instead(rows)
    yield (
        "What else would pass. Our number of an arm taken for what is printed of another arm in its column: "
        f"{passing}. Of the {of} accuracies printed "
        f"for pruned arms our arms reproduce {ours}; random neurons under G1's schedule, in the place of every one of "
        f"them, reproduce {luck}."
    )
