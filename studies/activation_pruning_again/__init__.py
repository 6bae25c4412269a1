"""Activation-based pruning, asked again: enough seeds, rules set beforehand, and the paper's own reading.

The first edition, the study activation_pruning, has every printed number, with five seeds. Here are the arms that decide
with thirty, equivalence within a margin wherever "as good as" is said, and what the paper says its algorithm does: a set
of images counted before each cycle, more than 32 of them for local pruning, marks to 0.98, ten cycles to 80 %, MNIST.
`rules` has what was set before the first trial. No trial of the first edition counts here: they are older.

Smoke: 6,000 images, one seed, under a minute. Small: seven seeds of the arms that decide, three of the others, one of
LeNet and of singular values, with six of the eight strengths; about 3 hours on one core, estimated. Paper: 30, 10, and
five of LeNet and of singular values, three of penalties; about 17 hours, estimated at 70 CPU seconds a trial.
Run: sapwood run activation_pruning_again --scale small
Last run: never at small or paper.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from activation_pruning import arms as first

from sapwood.study import cost, equivalence, spectra
from sapwood.study.compared import against
from sapwood.study.spectra_tables import closeness
from sapwood.study.study import Figure, Study, Tabled
from sapwood.study.table import Table

from . import arms, rules
from .verdicts import PENALTIES, findings, in_short

COST = "cost.csv"
FAMILIES = [said for question in rules.QUESTIONS for said in question.answer if isinstance(said, equivalence.Within)]
PENALISED = [arms.penalty(kind, strength) for kind in arms.KINDS for strength in arms.STRENGTHS]


def measured(folder: Path, scale: str) -> None:
    """What a cycle costs, once; when nothing else runs."""
    if not (folder / COST).exists():
        sizes = (10**6,) if scale == "smoke" else (10**6, 10**7)
        cost.write(cost.prune_cost(sizes, steps=cost.SCOPES), folder / COST)


def assumptions(rows: Table) -> Iterator[str]:
    """What was set when, and what is ours."""
    yield f"Margins, families of comparisons and rules were set at {rules.SET}, before the first trial."
    yield (
        f"The marks of the singular-value runs end at 0.98 as in the text; where one is not reached within {arms.WAIT} "
        "epochs the cycle falls all the same, so that all ten are made. Sets are drawn without a sample twice."
    )
    yield "Table 10 does not say how it was made: LeNet is pruned in ten cycles, with the marks and rules of the others."


STUDY = Study(
    name="activation_pruning_again",
    title="Activation-based pruning, asked again with enough seeds",
    paper="Ganguli & Chong, Activation-based pruning of neural networks, Algorithms 17(1):48, 2024",
    trials=arms.trials,
    tables=(
        Tabled("Every comparison", "p values are corrected within each question.",
               equivalence.table([*FAMILIES, PENALTIES])),
        Tabled("Beside G1", "Differences seed by seed, not corrected.", against("G1", [*arms.DECISIVE, *arms.SETS])),
        Tabled("LeNet-300-100", "Differences seed by seed.", against(rules.DENSE_LENET, arms.TABLE_10)),
        Tabled("Closeness to pruning by activity", "Natural log: 0.1 is about 10 % apart.",
               closeness(first.LIKE, [first.RANDOM, "V magnitude", first.V_DENSE, *PENALISED], first.RANDOM,
                         (1, 2, 3, 4))),
    ),
    figures=(
        Figure("Figure 7 at 80 %: singular values before the first prune and after the last", "Grey: random neurons.",
               partial(spectra.overall, arm=first.LIKE, control=first.RANDOM)),
    ),
    summary=findings,
    verdict=in_short,
    codes={arm: words for arm, words in first.CODES.items() if not arm.startswith("K")},
    assumes=assumptions,
    extras=measured,
    files=(COST,),
    more=lambda folder: cost.as_rows(folder / COST),
)  # fmt: skip
