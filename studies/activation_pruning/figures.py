"""The figures of the study: the paper's, each with every seed, and those that the paper lacks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sapwood.study import spectra
from sapwood.study.bars import bars
from sapwood.study.beside import Kind, against_zeros, dotted, dotted_with_gaps
from sapwood.study.cost_report import cost
from sapwood.study.courses import courses
from sapwood.study.finals import zeros
from sapwood.study.gaps import ITSELF, Panel, gaps
from sapwood.study.plots import BLACK, BLUE, DASHED, LOOKS, ORANGE, maps_beside
from sapwood.study.study import Figure
from sapwood.study.trajectories import trajectories

from . import arms
from .controls import dead, left
from .printed import in_print

COMPARED = ("G1", *arms.CONTROLS, arms.NARROW, arms.AS_LONG)
MAPPED = {"(a) pruned": ("G1", "M"), "(b) trained on": ("G1 retrained", "M retrained")}
PARAMETERS = tuple(f"hidden{layer}.weight" for layer in (1, 2, 3, 4))
SHADES = dict(zip(arms.STRENGTHS, (ORANGE, BLUE, BLACK), strict=True))
PRUNING_LOOKS = dict(zip(arms.PRUNING, LOOKS, strict=True))
PENALTY_LOOKS: dict[str, Any] = {
    arm: (SHADES[float(options["strength"])], DASHED if options["weighted"] else "-")  # type: ignore[arg-type]
    for arm, options in arms.PENALTIES.items()
}


def _panels(title: str, legend: str) -> dict[str, dict[str, str]]:
    """G1-G8 by panel, and what the legend says of each."""
    found: dict[str, dict[str, str]] = {}
    for arm, (cycles, score, target) in arms.GLOBAL.items():
        about = {"cycles": cycles, "score": score, "target": target}
        found.setdefault(title.format(**about), {})[arm] = legend.format(**about)
    return {f"({letter}) {panel}": each for letter, (panel, each) in zip("ab", found.items(), strict=True)}


BY_SCORE = _panels("{score}", "{target} %, {{}}, {cycles}")  # Figures 2 and 3
BY_TARGET = _panels("target {target} %", "{score}, {{}}, {cycles}")  # Figures 4 and 5
PRINTED_AT = {  # zeros and test accuracy, %; M's zeros as Table 5 has them, since Table 4 rounds them
    label: (in_print(5, label, "zeros"), in_print(table, label, "accuracy test"))
    for table, labels in ((13, arms.GLOBAL), (3, arms.LOCAL), (4, ("M",)))
    for label in labels
}
PRINTED_DROPS = {
    label: in_print(13, label, "pca accuracy test") - in_print(12, "S", "accuracy test") for label in arms.GLOBAL
}


def _scored(score: str, arms: Mapping[str, tuple[object, ...]]) -> list[str]:
    return [arm for arm, options in arms.items() if score in options]


KINDS = (
    Kind("G, Neurons", "o", BLACK, _scored("Neurons", arms.GLOBAL)),
    Kind("G, Neurons & Weights", "s", ORANGE, _scored("Neurons & Weights", arms.GLOBAL)),
    Kind("L, Neurons", "^", BLACK, _scored("Neurons", arms.LOCAL)),
    Kind("L, Neurons & Weights", "v", ORANGE, [*_scored("Neurons & Weights", arms.LOCAL), arms.RELEASED]),
    Kind("M", "D", BLUE, ["M"]),
)


def _pca(ranks: str) -> dict[str, str]:
    """The arms of a panel: S at these ranks, and the pruned network itself."""
    kinds = (kind for kind in arms.PCA if kind.startswith(ranks))
    names = {kind.partition(" ranks")[2].strip(", ") or "as it is": f"{{}} PCA {kind}" for kind in kinds}
    return names | {"the pruned arm itself": ITSELF}


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
            f"G1-G8: {about}. {more} {SEEDS} The axis begins at 0.50, as in the paper, whose figure has one run "
            "an arm.",
            courses(split, words, panels, f"arm: {by}, achieved (mean), cycles", lowest=0.5),
        )
        for panels, by, title, about in sorts
        for split, words, more in kinds
    )


def _maps() -> tuple[Figure, ...]:
    """Figures 6 and A9-A11."""
    return tuple(
        Figure(
            f"Figure {name}: non-zero weights of hidden layer {layer}",
            "Seed 0; marked: not 0. G1: activation-based, score Neurons; M: by magnitude; (b): both trained on without "
            "masks. Where a panel has fewer dots than weights, a dot's grey is the share that is not 0. "
            f"The paper's Figure {name} shows one run of each.",
            maps_beside(PARAMETERS[layer - 1], MAPPED),
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
            partial(spectra.overall, arm=arms.LIKE, control=arms.RANDOM),
        ),
        Figure(
            "Figures A1-A4: singular values before and after each prune, cycles 1 to 5",
            f"{SIGMA}The paper has figures of cycles 1 to 4, one run and no control, and none of cycle 5 (40 %).",
            spectra.by_cycle(1, 5, of=10, arm=arms.LIKE, control=arms.RANDOM),
        ),
        Figure(
            "Figures A5-A8: singular values before and after each prune, cycles 6 to 10",
            f"{SIGMA}The paper has figures of cycles 6 to 9, one run and no control, and none of cycle 10 (80 %).",
            spectra.by_cycle(6, 10, of=10, arm=arms.LIKE, control=arms.RANDOM),
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
            trajectories(PRUNING_LOOKS, arms.V_DENSE),
        ),
        Figure(
            "Norms and ranks under penalties instead of pruning",
            f"{about}Nothing is pruned; every 100 steps every singular value loses the number that the name ends with "
            f"(nuclear), or that number divided by itself plus 0.1 (weighted). {SEEDS} Not in the paper.",
            trajectories(PENALTY_LOOKS, arms.V_DENSE),
        ),
    )


FIGURES: tuple[Figure, ...] = (
    Figure(
        "Accuracy against zeros",
        "G: pruned globally; L: layer by layer; beside them M. Filled: our mean, 95 % interval. Open, in grey: "
        "what the paper prints (Tables 3-5, 13).",
        against_zeros(KINDS, PRINTED_AT),
    ),
    *_curves(),
    *_maps(),
    *_spectra(),
    *_trajectories(),
    Figure(
        "Controls",
        f"G1, its schedule and marks with other scores, and dense networks as small or trained as long. {INTERVAL} "
        "Right: differences seed by seed. Not in the paper.",
        dotted_with_gaps(COMPARED, "G1"),
    ),
    Figure(
        "Zeros before and after retraining (Table 7)",
        "Mean over seeds; line: 95 % interval of the bar's end. Dead neurons: all incoming weights 0 under a bias of "
        "at most 0, so no gradient ever reaches them; their weights stay 0 though no mask holds them.",
        bars(
            arms.PRUNED,
            after=("zeros after retraining", left),
            before=("zeros before", zeros),
            beside=("in dead neurons, before", dead),
            printed=("after, printed", {label: in_print(7, label, "after zeros") for label in arms.PRUNED}),
            axis="share of all weights (%)",
        ),
    ),
    Figure(
        "S at the ranks of the pruned arms (Tables 11-13)",
        "Difference in test accuracy to S, mean over seeds with its 95 % interval. As it is: PCA, exact, nothing "
        "trained afterwards, as in the paper; uncentred: truncated SVD; tuned: five epochs of training as two factors.",
        gaps(
            list(arms.GLOBAL),
            [
                Panel("S at printed ranks", _pca("printed ranks"), PRINTED_DROPS, "printed (Table 13)"),
                Panel("S at our own ranks", _pca("own ranks")),
            ],
            "S",
        ),
    ),
    Figure(
        "Channels of a convolutional network",
        f"{INTERVAL} Each pruned arm keeps half of the channels.",
        dotted([*arms.CHANNELS, arms.K_DENSE]),
    ),
    Figure(
        "Cost of one prune (Table 1)",
        "Both axes logarithmic. Legend: the exponent b of the best fit of the cost by a constant times weights^b, over "
        "the sizes that are large enough for it. The paper gives O(n log n) time and O(n) space for n neurons; its "
        "Algorithm 3 sorts weights. Sorting is here for comparison: the library selects without it.",
        cost,
    ),
)
