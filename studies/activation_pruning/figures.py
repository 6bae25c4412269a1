"""The figures of the study: the paper's, each with every seed, and those that the paper lacks."""

from functools import partial

from sapwood.study import spectra
from sapwood.study.cost_report import cost
from sapwood.study.study import Figure
from sapwood.study.trajectories import trajectories

from .figures_curves import BY_SCORE, BY_TARGET, PENALTY_LOOKS, PRUNING_LOOKS, accuracy_curves
from .figures_maps import layer_maps
from .figures_rows import accuracy_against_zeros, channels, controls, pca, retraining
from .rows import V_DENSE

SHRUNK, AT_RANDOM = "V neurons", "V random neurons"
SEEDS = "Line: mean over seeds; band: from the lowest to the highest seed; thinner from where the first seed has ended."
INTERVAL = "Circles: seeds. Diamond: their mean. Bar: its 95 % interval (Student's t)."
RUNNING = "Training accuracy is averaged over the epoch's batches while it trains, as in the paper."
SIGMA = (
    "Seed 0. s: the singular values of a hidden layer's weights before, largest first; s': those after, where values "
    "up to 0.001 count as 0; what is then -100 % is left out. Grey: the control, as many weights removed from random "
    "neurons; it has marks of its own training accuracy, so the same cycle may come at another epoch. Removing columns "
    "lowers singular values whichever are removed; only the distance of the two lines says something of the score. "
)


def _curves() -> tuple[Figure, ...]:
    """Figures 2-5."""
    kinds = (("train", "training accuracy", RUNNING), ("valid", "validation accuracy", "Measured at each epoch's end."))
    sorts = (
        (BY_SCORE, "target", "by score", "one panel for each score"),
        (BY_TARGET, "score", "by target", "the same runs, one panel for each target"),
    )
    numbers = iter(range(2, 6))
    return tuple(
        Figure(
            f"Figure {next(numbers)}: {words}, {title}",
            f"G1-G8: {about}. {more} {SEEDS} The axis begins at 0.50, as in the paper, whose figure has one run a row.",
            accuracy_curves(split, words, panels, by),
        )
        for panels, by, title, about in sorts
        for split, words, more in kinds
    )


def _maps() -> tuple[Figure, ...]:
    """Figures 6 and A9-A11."""
    return tuple(
        Figure(
            f"Figure {name}: non-zero weights of hidden layer {layer}",
            "Seed 0; black: not 0. G1: activation-based, score Neurons; M: by magnitude; (b): both trained on without "
            "masks. Where a panel has fewer dots than weights, a dot's grey is the share that is not 0. "
            f"The paper's Figure {name} shows one run of each.",
            layer_maps(layer),
        )
        for layer, name in enumerate(("6", "A9", "A10", "A11"), start=1)
    )


def _spectra() -> tuple[Figure, ...]:
    """Figures 7 and A1-A8; the paper leaves out the cycles that end at 40 % and 80 %."""
    return (
        Figure(
            "Figure 7: singular values before the first prune and after the last",
            f"{SIGMA}Here training lies between the two, so that values may also rise; each panel has its own "
            "scale. Where only 9 of the 10 cycles are made in these epochs, the last prune is at 72 % zeros, not at "
            "80. The paper's Figure 7 has one run and no control.",
            partial(spectra.overall, row=SHRUNK, control=AT_RANDOM),
        ),
        Figure(
            "Figures A1-A4: singular values before and after each prune, cycles 1 to 5",
            f"{SIGMA}The paper has figures of cycles 1 to 4, one run and no control, and none of cycle 5 (40 %).",
            spectra.by_cycle(1, 5, of=10, row=SHRUNK, control=AT_RANDOM),
        ),
        Figure(
            "Figures A5-A8: singular values before and after each prune, cycles 6 to 10",
            f"{SIGMA}The paper has figures of cycles 6 to 9, one run and no control, and none of cycle 10 (80 %).",
            spectra.by_cycle(6, 10, of=10, row=SHRUNK, control=AT_RANDOM),
        ),
    )


def _trajectories() -> tuple[Figure, ...]:
    about = (
        "Nuclear norm (sum of the singular values) and effective rank (exponential of the entropy of their shares) of "
        "each hidden layer, over those of a dense network at the same epoch with the same seed; 1 is no difference. "
    )
    return (
        Figure(
            "Norms and ranks while pruning",
            f"{about}Ten cycles of 8 %. {SEEDS} The paper says that pruning is equivalent to a weighted nuclear-norm "
            "penalty, and has no figure of it.",
            trajectories(PRUNING_LOOKS, V_DENSE),
        ),
        Figure(
            "Norms and ranks under penalties instead of pruning",
            f"{about}Nothing is pruned; every 100 steps every singular value loses the number that the name ends with "
            f"(nuclear), or that number divided by itself plus 0.1 (weighted). {SEEDS} Not in the paper.",
            trajectories(PENALTY_LOOKS, V_DENSE),
        ),
    )


FIGURES: tuple[Figure, ...] = (
    *_curves(),
    *_maps(),
    *_spectra(),
    *_trajectories(),
    Figure(
        "Accuracy against zeros",
        "Filled: our mean over seeds, with its 95 % interval (Student's t). Open: what the paper prints for the row "
        "(Tables 3-5 and 13), its name in grey, joined by a dotted line. L3 released: L3 as the code released in 2023 "
        "runs it.",
        accuracy_against_zeros,
    ),
    Figure(
        "Controls",
        f"G1, its schedule and marks with other scores, and dense networks as small or trained as long. {INTERVAL} "
        "Right: differences seed by seed. Not in the paper.",
        controls,
    ),
    Figure(
        "Zeros before and after retraining (Table 7)",
        "Mean over seeds; line: 95 % interval of the bar's end. Dead neurons: all incoming weights 0 under a bias of "
        "at most 0, so no gradient ever reaches them; their weights stay 0 though no mask holds them.",
        retraining,
    ),
    Figure(
        "S at the ranks of the pruned rows (Tables 11-13)",
        "Difference in test accuracy to S, mean over seeds with its 95 % interval. As it is: PCA, exact, nothing "
        "trained afterwards, as in the paper; uncentred: truncated SVD; tuned: five epochs of training as two factors.",
        pca,
    ),
    Figure("Channels of a convolutional network", f"{INTERVAL} Each pruned row keeps half of the channels.", channels),
    Figure(
        "Cost of one prune (Table 1)",
        "Both axes logarithmic. Legend: the exponent b of the best fit of the cost by a constant times weights^b, over "
        "the sizes that are large enough for it. The paper gives O(n log n) time and O(n) space for n neurons; its "
        "Algorithm 3 sorts weights. Sorting is here for comparison: the library selects without it.",
        cost,
    ),
)
