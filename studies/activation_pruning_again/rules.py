"""Rules: margins, families of comparisons, and what each claim takes, set before the first trial of this study.

Test accuracy is compared seed by seed, with the last weights, as in the paper, and with those of the best validation
epoch since the last prune, which swing less. Each is a family, corrected for its comparisons by Holm's procedure; a
claim holds if it does by both, in part if by one: `equivalence.Within.standing`. Differences within the margin do not
matter: with the last weights about the spread of one run, the first edition's tolerance; else half of that.

SET says when. Whoever changes anything here gives a new time, and trials that are older are run again; a test says so.
"""

from functools import partial

from activation_pruning import arms as first

from sapwood.study.cost_report import cheaper_in_one_layer
from sapwood.study.equivalence import Within, question
from sapwood.study.finals import best_value, goal_value, zeros
from sapwood.study.nearest import Nearest
from sapwood.study.possible import Measured, within
from sapwood.study.questions import Gaps, each, to
from sapwood.study.seeds import Seeds
from sapwood.study.spectra_tables import steeper
from sapwood.study.standing import Claimed
from sapwood.study.table import Table

from .arms import LUCK, MAGNITUDE, NARROW, NORM, PENALTIES, RATES, SETS, TABLE_10

SET = "2026-11-29T03:50:00+00:00"
MEASURES = {"last weights": (goal_value, 1.0), "best validation epoch": (best_value, 0.5)}  # points of test accuracy
TRAINING = 0.5  # points of training accuracy
ALIKE = 5.0  # points by which a prune may shrink small singular values more than large ones, to shrink them alike
NEAR = 0.05  # of the natural log: courses of singular values that are 5 % apart
MOST_LEFT = 1.5  # percent of the weights; Table 10 has 1.06, and 4 neurons of LeNet's 400 have 1.37
DENSE_LENET, *LENETS = TABLE_10
BY_ACTIVITY = (first.LIKE, "V neurons & weights")


def asked(what: str, pairs: dict[str, tuple[str, str]], claimed: Claimed | None = None) -> tuple[Within, ...]:
    """A family for each measure."""
    return tuple(
        Within(f"{what}, {words}", Gaps(number, pairs), margin, claimed=claimed)
        for words, (number, margin) in MEASURES.items()
    )


def small_enough(rows: Table, arm: str) -> Seeds:
    """Test accuracy in the seeds that left no more weights than MOST_LEFT; of the dense network in all."""
    found, gone = goal_value(rows, arm), zeros(rows, arm)
    ready = {seed: x for seed, x in found.items() if arm == DENSE_LENET or gone.get(seed, 0) >= 100 - MOST_LEFT}
    return Measured(ready, within(found))


RATED = {"at 0.01": ("G1", "S")} | {f"at {rate:g}": (f"G1 at {rate:g}", f"S at {rate:g}") for rate in RATES}
FRESH, HELD_OUT = "G1, set of 1,024", "G1, held-out set"
QUESTIONS = (
    question("Nearly all pruned networks are better than the standard one (sections 5.1, 5.2)",
             *asked("pruned minus S", to("S", ("G1", "L3")), "higher")),
    question("Are they so at other learning rates, and on MNIST? (not asked in the paper)",
             *asked("G1 minus S, by learning rate", RATED),
             *asked("G1 minus S on MNIST", {"MNIST G1": ("MNIST G1", "MNIST S")})),
    question("Pruning by activity is as good as by magnitude (section 5.3)",
             *asked("activity minus magnitude", {"L3 and M": ("L3", "M"), "G1 and |w|": ("G1", MAGNITUDE)},
                    "no lower")),
    question("Local pruning has a higher training accuracy than pruning by magnitude (Table 4)",
             Within("training accuracy minus that of M", Gaps(partial(goal_value, split="train"), to("M", ["L3"])),
                    TRAINING, claimed="higher")),
    question("A random set before each cycle is enough to count on (section 3; the code counts all that trains)",
             *asked("set minus stream", to("G1", [arm for arm in SETS if arm != HELD_OUT]), "alike")),
    question("The set may be of training data or set aside, labelled or not (section 3; no label is read)",
             *asked("held out minus training data", to(FRESH, [HELD_OUT]), "alike")),
    question("Does counting activations matter for neurons? (not asked in the paper)",
             *asked("G1 minus another score", {arm: ("G1", arm) for arm in (LUCK, NORM, MAGNITUDE)}),
             *asked("G1 minus random neurons on MNIST", {"MNIST G1": ("MNIST G1", "MNIST random neuron")})),
    question("Is a small dense network as good? (not asked there)", *asked("dense minus G1", to("G1", [NARROW]))),
    question("Do more images, or the score, matter for local pruning? (not asked in the paper)",
             *asked("1,024 images minus 32", {arm: (f"{arm}, 1,024 images", arm) for arm in ("L1", "L3")}),
             *asked("local, minus another score", {"L1": ("L1", "L1 by random neurons"),
                                                   "L3": ("L3", "L3 by magnitude")})),
    question(f"LeNet-300-100 is compressed to 1.06 % of its weights (Table 10; asked: at most {MOST_LEFT} %, accuracy)",
             Within("minus the dense network, last weights", Gaps(small_enough, to(DENSE_LENET, LENETS)), 0.5,
                    claimed="no lower")),
    question("The first prune shrinks small singular values more, later ones all alike (section 5.6)",
             Within("first prune, smaller half minus largest tenth", each(steeper(0), BY_ACTIVITY), ALIKE, "less",
                    "more", claimed="lower"),
             Within("last prune, at 80 %", each(steeper(-1), BY_ACTIVITY), ALIKE, "less", "more", claimed="alike"),
             Within("luck, last prune", each(steeper(-1), [first.RANDOM]), ALIKE, "less", "more")),
)  # fmt: skip
NEAREST = Nearest(PENALTIES, first.LIKE, first.RANDOM, (1, 2, 3, 4), NEAR)
MORE = (
    NEAREST.finding("Pruning by activity is equivalent to a (weighted) nuclear-norm penalty (section 5.6)"),
    cheaper_in_one_layer("Local pruning takes less time and memory than global pruning (Table 1)"),
)
FIRST = {QUESTIONS[at].claim for at in (0, 4, 6)}  # on the report's first screen
