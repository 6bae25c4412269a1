"""Adversarial: does learning under attack which units stay make a small network that withstands attacks?

Madaan et al. 2020 learn a probability for every unit under attack (ANP) and suppress what attacks do to features (VS).
All eight arms of attack x mask x suppression, and what one would do instead: adversarial training, then the smallest
filters cut to the very widths that ANP-VS has found, and tuned adversarially. All arms but the first go on from the
standard network of their seed, under the same attack, which stays inside the ball; all are judged by PGD of 40 steps on
test images. Expected: clean accuracy of at least 98.5 %, and the authors' neighbourhood.

Smoke: digits, one seed, in seconds. Small: LeNet-5 on MNIST, two epochs an arm and one to recover, five steps of PGD,
five seeds, at least 70 % of the units removed; about 2.8 hours on two cores, estimated. Paper: 200 epochs, 20 steps of
PGD, on a GPU; a trial that is stopped goes on where it was.
Run: sapwood run adversarial --scale small
Last run: never at small or paper.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from sapwood.study.asked import MISSING, Asked
from sapwood.study.claim import Claim
from sapwood.study.finals import Number, number_of, summed
from sapwood.study.grid import Grid, number
from sapwood.study.seeds import summed_up
from sapwood.study.study import Finding, Study, Tabled
from sapwood.study.table import Table
from sapwood.study.words import difference, told
from sapwood.trials.trial import Trial, Value

Options = Mapping[str, Value]

METHOD = "adversarial_neural_pruning"
STANDARD, AT, ANP, ANP_VS, MAGNITUDE = "standard", "AT", "ANP", "ANP-VS", "AT, magnitude"
ARMS: dict[str, tuple[bool, str, bool]] = {  # {arm: (attack, mask, suppression)}
    STANDARD: (False, "none", False),
    "VS": (False, "none", True),
    "BP": (False, "bayesian", False),
    "BP-VS": (False, "bayesian", True),
    AT: (True, "none", False),
    "AT-VS": (True, "none", True),
    ANP: (True, "bayesian", False),
    ANP_VS: (True, "bayesian", True),
}


class Scale(NamedTuple):
    """A task, how it is attacked and trained, and for how many seeds."""

    task: str
    seeds: int
    epochs: int
    tune: int  # of all arms, once units have been removed
    recover: int  # of the control, which begins with the network of AT
    options: Options
    recipe: Options


def _attack(eps: float, steps: int, step: float, judged: int, **more: Value) -> Options:
    return {"eps": eps, "steps": steps, "step": step, "judged": judged, "signs": judged // 10, **more}


SCALES: dict[str, Scale] = {
    "smoke": Scale(
        "conv_digits", 1, 1, 0, 1,
        _attack(0.1, 1, 0.1, 40, judge_steps=3, signs=0, start=2.0, threshold=0.6, mask_rate=0.1), {"batch_size": 128},
    ),
    "small": Scale(  # few epochs: more of a pull, a floor under what is removed, and an epoch to recover
        "lenet5_mnist", 5, 2, 1, 1, _attack(0.3, 5, 0.1, 1_000, start=2.0, beta=20.0, pruned=0.7), {"course": "drops"},
    ),
    "paper": Scale("lenet5_mnist", 5, 200, 0, 20, _attack(0.3, 20, 0.01, 10_000, restarts=3), {"course": "drops"}),
}  # fmt: skip
WEIGHT = 1e-3  # of the vulnerability, the authors' for LeNet-5


def trials(scale: str) -> Iterator[Trial]:
    """A seed's arms are neighbours, so that a study cut short has fewer seeds, not fewer arms."""
    of = SCALES[scale]
    made = partial(_made, of)
    for seed in range(of.seeds):
        standard = made(seed, STANDARD)
        others = {arm: made(seed, arm).after(start=standard) for arm in ARMS if arm != STANDARD}
        cut = _made(of, seed, MAGNITUDE, epochs=0, tune=of.recover, mask="magnitude", attack=True, suppression=0.0)
        yield from (standard, *others.values(), cut.after(start=others[AT], like=others[ANP_VS]))


def _made(of: Scale, seed: int, arm: str, **options: Value) -> Trial:
    attack, mask, suppressed = ARMS.get(arm, (True, "none", False))
    usual: Options = {"attack": attack, "mask": mask, "suppression": WEIGHT if suppressed else 0.0}
    usual = {**usual, "epochs": of.epochs, "tune": of.tune}
    return Trial.make(METHOD, of.task, seed, arm, **{**of.options, **usual, **options}).under(**of.recipe)


CLEAN, FGSM, PGD = (number_of(f"{name}_accuracy", "note", 100) for name in ("clean", "fgsm", "pgd"))
MOVED, RELATIVE = (number_of(name, "note") for name in ("vulnerability", "vulnerability_relative"))
SIGNS = number_of("signs", "note")
REMOVED, MEMORY, MACS = (number_of(name, "note", 100) for name in ("units_removed", "memory_left", "macs_left"))
SHOWN: dict[str, tuple[Number, int]] = {
    "clean (%)": (CLEAN, 2),
    "FGSM (%)": (FGSM, 2),
    "PGD (%)": (PGD, 2),
    "PGD of 100 steps (%)": (number_of("longer_accuracy", "note", 100), 1),
    "every pixel free (%)": (number_of("unlimited_accuracy", "note", 100), 1),
    "vulnerability": (MOVED, 4),
    "relative to features": (RELATIVE, 3),
    "units removed (%)": (REMOVED, 2),
    "memory (%)": (MEMORY, 2),
    "MACs (%)": (MACS, 2),
}
PRINTED: dict[str, tuple[float, float, float, float, float]] = {  # clean, PGD, vulnerability, memory, units removed
    STANDARD: (99.29, 0.00, 0.129, 100, 0),
    "BP": (99.34, 0.00, 0.091, 4.14, 83.48),
    AT: (99.14, 88.03, 0.045, 100, 0),
    ANP_VS: (99.05, 91.31, 0.017, 6.81, 84.16),
}
JUDGED: tuple[tuple[str, Number, float], ...] = (  # what is printed, and how far a mean may be away
    ("clean accuracy, %", CLEAN, 0.55),
    ("PGD accuracy, %", PGD, 2.0),
    ("vulnerability", MOVED, 0.01),
    ("memory, %", MEMORY, 3.0),
    ("units removed, %", REMOVED, 5.0),
)
CLAIMS = tuple(
    Claim(f"Madaan 2020, MNIST, {arm}", what, value, near, summed(found, arm))
    for arm, line in PRINTED.items()
    for (what, found, near), value in zip(JUDGED, line, strict=True)
)


BOUND = 98.5
HIDDEN = "8. What withstands does not only hide from gradients."
ASKED = (
    Asked("PGD accuracy (points)", "1. ANP-VS withstands more than adversarial training cut to the same widths by "
          "magnitude, which is what one would do instead.", PGD, (ANP_VS, MAGNITUDE)),
    Asked("clean accuracy (points)", "2. It is as accurate on clean images.", CLEAN, (ANP_VS, MAGNITUDE)),
    Asked("PGD accuracy (points)", "3. It loses at most 2 points to the adversarially trained whole network.", PGD,
          (ANP_VS, AT)),
    Asked("vulnerability", "4. Suppression lowers the vulnerability of a network that is pruned under attack ...",
          MOVED, (ANP_VS, ANP), 4),
    Asked("vulnerability relative to the features", "5. ... and not by smaller features alone.", RELATIVE,
          (ANP_VS, ANP), 4),
    Asked("PGD accuracy (points)", "6. Suppression helps a network that is trained under attack.", PGD, ("AT-VS", AT)),
    Asked("PGD accuracy (points)", "7. Sparsity alone gives no robustness.", PGD, ("BP", STANDARD)),
)  # fmt: skip


def summary(rows: Table) -> list[str | Finding]:
    """The questions, answered by the rows."""
    return [*(Finding(asked.claim, asked.answer(rows)) for asked in ASKED), Finding(HIDDEN, signs(rows))]


def verdict(rows: Table) -> list[str]:
    """Whether the control does as well, whether the network is accurate, what suppression does, beside the paper."""
    if summed_up(PGD(rows, ANP_VS)) is None:
        return [MISSING]
    first, clean, relative = ASKED[0], ASKED[1], ASKED[4]
    lines = [f"At equal widths: {asked.answer(rows)}" for asked in (first, clean)]
    return [*lines, bound(rows), f"Suppression: {relative.answer(rows)}", beside(rows)]


def bound(rows: Table) -> str:
    """Whether the clean accuracy is at least 98.5 %, by its interval."""
    found = summed_up(CLEAN(rows, ANP_VS))
    if found is None:
        return MISSING
    low, high = (found.mean if end is None else end for end in (found.low, found.high))
    said = "holds" if low >= BOUND else "does not hold" if high < BOUND else "cannot be told from these seeds"
    return f"{ANP_VS}: clean at least {BOUND} %: {said} ({number(found, 2)})."


def signs(rows: Table) -> str:
    """Which arms show signs of masked gradients, in any seed."""
    found = {arm: SIGNS(rows, arm) for arm in (*ARMS, MAGNITUDE)}
    shown = [
        f"{arm} in {sum(map(bool, seeds.values()))} of {len(seeds)} seeds"
        for arm, seeds in found.items()
        if any(seeds.values())
    ]
    if not any(found.values()):
        return MISSING
    return f"Signs of masked gradients: {', '.join(shown) or 'in no arm and no seed'}."


def beside(rows: Table) -> str:
    """Its numbers beside the printed ones."""
    shown = zip(JUDGED, PRINTED[ANP_VS], strict=True)
    words = (f"{what} {number(summed_up(of(rows, ANP_VS)), 2)} ({printed:g})" for (what, of, _), printed in shown)
    return f"{ANP_VS}, in brackets what is printed: {'; '.join(words)}."


def measured(rows: Table) -> Grid:
    """Every arm: what it gets right, how far its features move, and what is left of it."""
    every = [*ARMS, MAGNITUDE]
    lines = [
        (arm, *(number(summed_up(of(rows, arm)), decimals) for of, decimals in SHOWN.values()))
        for arm in every
        if summed_up(CLEAN(rows, arm))
    ]
    return Grid(("arm", *SHOWN), tuple(lines))


def compared(rows: Table) -> Grid:
    """Every comparison by itself."""
    lines = [
        (" minus ".join(asked.pair), asked.what, difference(found, asked.decimals), told(found))
        for asked in ASKED
        if (found := asked.gap(rows))
    ]
    return Grid(("arms", "of what", "difference", "so it is"), tuple(lines))


def assumptions(rows: Table) -> Iterator[str]:
    """What a small study cannot say, and where it counts otherwise than the paper."""
    if any(row.get("task") == "lenet5_mnist" for row in rows):
        yield (
            "Units are 570: 20 and 50 channels and 500 neurons. The paper also gates the 800 numbers between them, and "
            "removes shares of 1,370."
        )
    if any(row.get("pruned") for row in rows):
        yield (
            "Training is 100 times shorter than the paper's, so gates are pulled harder, start more open, and at least "
            "70 % of the units go, the least open first; an epoch of training follows. The paper has none of the three."
        )
    yield (
        "The network that magnitude cuts was trained under attack as long as the others, and is tuned besides: it has "
        "more training, not less. Robustness is as PGD finds it, an upper bound."
    )


STUDY = Study(
    name="adversarial",
    title="Adversarial neural pruning: units learned under attack against adversarial training and magnitude",
    paper="Madaan, Shin, Hwang, Adversarial neural pruning with latent vulnerability suppression, ICML 2020, "
    "arXiv:1908.04355; printed numbers from the authors' repository, divyam3897/ANP_VS.",
    trials=trials,
    claims=CLAIMS,
    tables=(
        Tabled("What withstands", "Means over seeds [95 % interval]; test images, PGD of 40 steps.", measured),
        Tabled("Comparisons", "Differences seed by seed; word: what their 95 % interval says.", compared),
    ),
    summary=summary,
    verdict=verdict,
    codes={
        "VS": "vulnerability suppression",
        "BP": "beta-Bernoulli gates, clean images",
        "AT": "adversarial training",
        "ANP": "beta-Bernoulli gates, learned under attack",
        MAGNITUDE: "adversarial training, cut to the widths of ANP-VS, tuned",
    },
    assumes=assumptions,
)
