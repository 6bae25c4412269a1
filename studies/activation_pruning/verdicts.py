"""Verdicts: what the rows say about the claims of the paper's text, in words that follow from the numbers.

Two arms differ where the 95 % interval of their paired differences, seed by seed, leaves out 0; no correction is made
for the number of comparisons but where it is said. Differences of accuracy are in percentage points of the test set,
with the last weights. What holds in the rows stands here as well as what does not.
"""

from sapwood.study.finals import beyond, epochs, less, mean_of, of, zeros
from sapwood.study.printed import judged
from sapwood.study.questions import Gaps, Question, against, corrected, counted, each, listed, to
from sapwood.study.seeds import minus, summed_up
from sapwood.study.spectra_tables import steeper
from sapwood.study.standing import in_a_sentence, tally
from sapwood.study.study import Finding
from sapwood.study.table import Table
from sapwood.study.words import Pairs, difference

from . import arms
from .columns import accuracy, best_test, on, total_rank
from .in_words import MORE_CYCLES, NETWORKS, nuclear, numbers, rankings, regrowth

SCOPES = {"L1": ("G1", "G5"), "L2": ("G2", "G6"), "L3": ("G3", "G7"), "L4": ("G4", "G8")}  # local: the same, global
LOCAL_PAIRS = against((local, other) for local, others in SCOPES.items() for other in others)
PRODUCT = against({"G3": "G1", "G4": "G2", "G7": "G5", "G8": "G6", "L3": "L1", "L4": "L2"}.items())
MAGNITUDE = against((("L1", "M"), ("L3", "M"), ("G1", "C magnitude"), ("G3", "C magnitude")))
SCORES = against(("G1", other) for other in arms.CONTROLS)
FIRST_CHANNELS, *OTHER_CHANNELS = arms.CHANNELS
AGAINST_CHANNELS = against((FIRST_CHANNELS, other) for other in OTHER_CHANNELS)
BETTER = ("more accurate than the standard one", "less accurate")
BY_BEST = "with the weights of the best validation epoch,"
RETRAINED = of("{} retrained", total_rank)
LUCK = (("neurons", "G1", "C random neuron"), ("channels", "K activity", "K random"))
FULL = 650  # the ranks of all hidden layers when nothing is removed

TO_S, BEST_TO_S = Gaps(accuracy, to("S", NETWORKS)), Gaps(best_test, to("S", NETWORKS))
BY_SCORE, BEST_BY_SCORE = Gaps(accuracy, SCORES), Gaps(best_test, SCORES)
BY_CHANNELS, BEST_BY_CHANNELS = Gaps(accuracy, AGAINST_CHANNELS), Gaps(best_test, AGAINST_CHANNELS)
KINDS = ("printed ranks", "own ranks", "printed ranks, tuned", "own ranks, tuned")
TO_PCA = {kind: Gaps(accuracy, to(f"{{}} PCA {kind}", arms.GLOBAL)) for kind in KINDS}
TO_TUNED = {
    f"{kind}, best validation epochs": Gaps(best_test, to(f"{{}} PCA {kind}", arms.GLOBAL)) for kind in KINDS[2:]
}
FAMILIES = {  # the questions that are answered by several comparisons each
    "pruned networks against S, last weights": TO_S,
    "pruned networks against S, best validation epoch": BEST_TO_S,
    "pruned networks against M": Gaps(accuracy, to("M", NETWORKS)),
    "other scores against G1, last weights": Gaps(accuracy, to("G1", arms.CONTROLS)),
    "other scores against G1, best validation epoch": Gaps(best_test, to("G1", arms.CONTROLS)),
    **{f"pruned networks against PCA, {kind}": gaps for kind, gaps in TO_PCA.items()},
    f"{FIRST_CHANNELS} against other channels": Gaps(accuracy, {e: (FIRST_CHANNELS, e) for e in OTHER_CHANNELS}),
}


def means(rows: Table) -> Pairs:
    """The mean of all pruned networks, which has less noise than each of them, minus S."""
    said = {"last weights": accuracy, "best validation epoch": best_test}
    return {words: minus(mean_of(number, NETWORKS)(rows), number(rows, "S")) for words, number in said.items()}


DENSE = Gaps(accuracy, against([(arms.NARROW, "G1"), (arms.AS_LONG, "G1")]))
M_AGAINST = Gaps(accuracy, {arm: ("M", arm) for arm in NETWORKS})
WHILE_TRAINING = Gaps(on("train"), against([("L1", "M"), ("L3", "M")]))
ONCE_RETRAINED = Gaps(of("{} retrained", accuracy), to("M", NETWORKS))
QUESTIONS = (
    Question(
        "Nearly all pruned networks are better than the standard one (sections 5.1, 5.2)",
        [counted(" pruned networks", TO_S, *BETTER, claimed="higher"),
         counted(f", {BY_BEST}", BEST_TO_S, *BETTER, claimed="higher")],
        [listed("Test accuracy minus that of S, last weights", TO_S),
         listed("Best validation epoch", BEST_TO_S),
         corrected("Last weights", TO_S),
         corrected("Best validation epoch", BEST_TO_S),
         listed("A dense network trained as long as G1", Gaps(accuracy, to("S", [arms.AS_LONG])))],
    ),
    Question(
        "Taken together, are the pruned networks as good as dense ones and as M? (not asked in the paper)",
        [counted(" means of the pruned networks", means, "above S", "below it"),
         counted(" dense networks, as small as G1 or trained as long,", DENSE, "better than G1", "worse"),
         counted(" pruned networks", M_AGAINST, "beaten by M", "better than it")],
        [listed(f"Mean test accuracy of the {len(NETWORKS)} minus that of S", means),
         listed("Dense network minus G1", DENSE),
         listed("M minus the other", M_AGAINST)],
    ),
    Question(
        "Local pruning removes more than global pruning, at accuracies as good (section 5.2)",
        [counted(" pairs of equal score and target", Gaps(zeros, LOCAL_PAIRS), "sparser when pruned locally",
                 "denser", claimed="higher"),
         counted(" pairs", Gaps(accuracy, LOCAL_PAIRS), "more accurate", "less accurate", claimed="no lower")],
        [listed("Test accuracy, local minus global", Gaps(accuracy, LOCAL_PAIRS)),
         listed("Zeros", Gaps(zeros, LOCAL_PAIRS), "more", "fewer")],
    ),
    Question(
        "The score Neurons & Weights is better than Neurons (sections 5.1, 5.4.1)",
        [counted(" pairs that differ in nothing else", Gaps(accuracy, PRODUCT),
                 "more accurate with Neurons & Weights", "less accurate", claimed="higher")],
        [listed("Test accuracy, Neurons & Weights minus Neurons", Gaps(accuracy, PRODUCT)),
         listed("Zeros", Gaps(zeros, PRODUCT), "more", "fewer")],
    ),
    Question(
        "Pruning makes the hidden layers low-rank, and retraining keeps them so (section 5.3)",
        [counted(" pruned networks", each(beyond(total_rank, FULL), arms.PRUNED), "above full rank", "below it",
                 claimed="lower"),
         counted(", retrained without masks,", each(beyond(RETRAINED, FULL), arms.PRUNED), "above it", "below it",
                 claimed="lower"),
         counted(" other scores under G1's schedule", Gaps(total_rank, SCORES),
                 "of lower rank than G1", "of higher rank")],
        [listed(f"Ranks, summed over layers, minus {FULL}", each(beyond(total_rank, FULL), arms.PRUNED), decimals=1),
         listed("G1 minus the same schedule with another score", Gaps(total_rank, SCORES), decimals=1),
         listed("Retrained without masks, minus before", each(less(RETRAINED, total_rank), arms.PRUNED), decimals=1),
         listed(f"Retrained, minus {FULL}", each(beyond(RETRAINED, FULL), arms.PRUNED), decimals=1)],
    ),
    Question(
        "Pruned networks are better than the standard one reduced to their ranks by PCA (section 5.5)",
        [counted(f" pruned networks, at {kind},", gaps, "more accurate than PCA", "less accurate", claimed="higher")
         for kind, gaps in (TO_PCA | TO_TUNED).items()],
        ["Equal ranks are not equal sizes: table PCA on equal terms has the weights to store. What is tuned has had "
         "five more epochs, at a lower rate.",
         *(listed(f"Test accuracy minus PCA's, {kind}", gaps) for kind, gaps in (TO_PCA | TO_TUNED).items())],
    ),
    Question(
        "Pruning by activity is as good as by magnitude (section 5.3)",
        [counted(" comparisons with magnitude, two of them under the same schedule,", Gaps(accuracy, MAGNITUDE),
                 "won by activity", "lost", claimed="no lower")],
        [listed("Test accuracy, activity minus magnitude; M prunes after training, C magnitude is the score |w| "
                "under G1's schedule", Gaps(accuracy, MAGNITUDE)),
         listed("Zeros", Gaps(zeros, MAGNITUDE), "more", "fewer")],
    ),
    Question(
        "Does counting activations matter for neurons? (not asked in the paper)",
        [counted(" other scores under G1's schedule", FAMILIES["other scores against G1, last weights"],
                 "more accurate than counting activations", "less accurate"),
         counted(f" other scores, {BY_BEST}", FAMILIES["other scores against G1, best validation epoch"],
                 "more accurate than counting activations", "less accurate")],
        [listed("Test accuracy, G1 minus the other", BY_SCORE),
         listed("Best validation epoch", BEST_BY_SCORE),
         corrected("Last weights", BY_SCORE),
         corrected("Best validation epoch", BEST_BY_SCORE),
         listed("Zeros", Gaps(zeros, SCORES), "more", "fewer")],
    ),
    Question(
        "Does counting matter for the channels of a convolutional network? (not asked in the paper)",
        [
            counted(" comparisons", BY_CHANNELS, "won by counting", "lost"),
            counted(f" comparisons, {BY_BEST}", BEST_BY_CHANNELS, "won by counting", "lost"),
        ],
        [
            listed("Test accuracy, activity minus the other, last weights", BY_CHANNELS),
            listed("Best validation epoch", BEST_BY_CHANNELS),
            corrected("Last weights", BY_CHANNELS),
        ],
    ),
    nuclear,
    Question(
        "Later prunes shrink all singular values alike (section 5.6)",
        [
            counted(" scores", each(steeper(-1), arms.PRUNING), "shrinking the smaller half less at the last prune",
                    "shrinking it more", claimed="alike"),
        ],
        [
            listed("Change of the smaller half minus that of the largest tenth, points, last prune",
                   each(steeper(-1), arms.PRUNING), "less", "more"),
        ],
    ),
    regrowth,
    Question(
        "More cycles remove more",
        [counted(" pairs of ten cycles against five", Gaps(zeros, MORE_CYCLES), "sparser with ten", "denser",
                 claimed="higher")],
        [
            listed("Zeros, ten cycles minus five; G5 and G6: Neurons, G7 and G8: Neurons & Weights",
                   Gaps(zeros, MORE_CYCLES), "more", "fewer"),
            listed("Test accuracy", Gaps(accuracy, MORE_CYCLES)),
        ],
    ),
    Question(
        "Pruning while training takes longer than training the standard network",
        [counted(" pruned networks", Gaps(epochs, to("S", NETWORKS)), "longer in training than S", "shorter",
                 claimed="higher")],
        [listed("Epochs minus those of S", Gaps(epochs, to("S", NETWORKS)), "more", "fewer", 1)],
    ),
    Question(
        "Local pruning has a higher training accuracy than pruning by magnitude (Table 4)",
        [counted(" rows of Table 4", WHILE_TRAINING, "higher than M in training accuracy", "lower", claimed="higher")],
        [listed("Training accuracy minus that of M", WHILE_TRAINING)],
    ),
    Question(
        "Retrained, activation-based pruning is as good as pruning by magnitude (Table 6)",
        [counted(" retrained networks", ONCE_RETRAINED, "more accurate than M retrained", "less accurate",
                 claimed="no lower")],
        [
            listed("Test accuracy minus that of M retrained", ONCE_RETRAINED),
            "That they cannot be told apart does not show that they are as good.",
        ],
    ),
    rankings,
)  # fmt: skip


def in_short(rows: Table) -> list[str]:
    """How the claims stand, the main one first, in a few short lines."""
    found = [question(rows) for question in QUESTIONS]
    luck = {words: summed_up(minus(accuracy(rows, one), accuracy(rows, other))) for words, one, other in LUCK}
    said = "; ".join(f"{words} {difference(found)}" for words, found in luck.items() if found)
    lines = (
        tally(found, "the paper's {} claims in words") if rows and judged(rows) else "",
        _main(rows),
        f"Counting activations against drawing lots, points of test accuracy: {said}." if said else "",
        numbers(rows),
    )
    return [line for line in lines if line]


def _main(rows: Table) -> str:
    claim, said = QUESTIONS[0].claim.partition(" (")[0], QUESTIONS[0].answer[0](rows)
    standing = in_a_sentence(QUESTIONS[0].standing(rows))
    return f"The main one {standing} ({claim[0].lower()}{claim[1:]}): {said}" if said else ""


def summary(rows: Table) -> list[str | Finding]:
    """What was found in short, and one finding for each claim of the text."""
    return [*in_short(rows), *(question(rows) for question in QUESTIONS)]
