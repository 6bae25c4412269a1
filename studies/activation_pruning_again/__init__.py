"""Activation-based pruning, asked again: enough seeds, rules set beforehand, and the paper's own reading.

The first edition, the study activation_pruning, has every printed number, with five seeds. Here are the arms that
decide with thirty, equivalence within a margin where "as good as" is said, and what the paper says it does: a set of
images counted before each cycle, more than 32 for local pruning, marks to 0.98, ten cycles to 80 %, MNIST. `rules`
has what was set before the first trial. No trial of the first edition counts: they are older.

Smoke: 6,000 images, one seed, a minute of computing. Small: seven seeds of the arms that decide, three of the others,
one of LeNet and of singular values, with six of the eight strengths, and at most 60 epochs on MNIST; about 3 hours on
one core. Paper: 30, 10 and five; about 15 hours. Both are estimated at 70 CPU seconds for G1 and 1.4 for an epoch; a
third of paper's are the singular values, and LeNet may take 3 hours or fewer, since its runs end by a rule.
Run: sapwood run activation_pruning_again --scale small
Last run: never at small or paper.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from activation_pruning import arms as first

from sapwood.study import cost, spectra
from sapwood.study.compared import against
from sapwood.study.equivalence import SPEAKS, Within, table
from sapwood.study.printed import judged
from sapwood.study.spectra_tables import closeness
from sapwood.study.standing import tally
from sapwood.study.study import Figure, Finding, Study, Tabled
from sapwood.study.table import Table

from . import arms, rules

COST, SIZES = "cost.csv", (10**6, 10**7)
FAMILIES = [said for question in rules.QUESTIONS for said in question.answer if isinstance(said, Within)]


def findings(rows: Table) -> list[Finding]:
    """One for each claim."""
    return [*(question(rows) for question in rules.QUESTIONS), *(told(rows) for told in rules.MORE)]


def in_short(rows: Table) -> list[str]:
    """How the claims stand, and what the best epochs say of the main one, of sets and of luck."""
    best = (question.answer[1](rows) for question in rules.QUESTIONS if question.claim in rules.FIRST)
    lines = (tally(findings(rows), "the paper's {} claims asked again"), *best) if rows and judged(rows) else ()
    return [line for line in lines if line]


def measured(folder: Path, scale: str) -> None:
    """What a cycle costs, once; when nothing else runs."""
    if not (folder / COST).exists():
        cost.write(cost.prune_cost((10**6,) if scale == "smoke" else SIZES, steps=cost.SCOPES), folder / COST)


def assumptions(rows: Table) -> Iterator[str]:
    """What was set when, and what is ours."""
    yield f"Margins, families of comparisons and rules were set at {rules.SET}, before the first trial."
    yield (
        "Sets are drawn without a sample twice. The marks of the singular-value runs end at 0.98 as in the text; where "
        f"one is not reached within {arms.WAIT} epochs the cycle falls all the same, so that all ten are made. Table "
        "10 does not say how it was made: LeNet is pruned in ten cycles, with the marks and rules of the others."
    )


STUDY = Study(
    name="activation_pruning_again",
    title="Activation-based pruning, asked again with enough seeds",
    paper="Ganguli & Chong, Activation-based pruning of neural networks, Algorithms 17(1):48, 2024",
    trials=arms.trials,
    tables=(
        Tabled("Every comparison", "p values are corrected within each question.",
               table([*FAMILIES, rules.NEAREST.asked])),
        Tabled("Beside G1", "Differences seed by seed, not corrected.", against("G1", [*arms.DECISIVE, *arms.SETS])),
        Tabled("LeNet-300-100", "Differences seed by seed.", against(rules.DENSE_LENET, arms.TABLE_10)),
        Tabled("Closeness to pruning by activity", "Natural log: 0.1 is about 10 % apart.",
               closeness(first.LIKE, (first.RANDOM, "V magnitude", first.V_DENSE, *rules.NEAREST.every), first.RANDOM,
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
    speaks=SPEAKS,
    extras=measured,
    files=(COST,),
    more=lambda folder: cost.as_rows(folder / COST),
)  # fmt: skip
