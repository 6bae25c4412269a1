"""Tables of what the paper left out: cycles made, controls, the released counter, PCA on equal terms, dead neurons."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from sapwood.study import compared
from sapwood.study.compared import against, left, means, show
from sapwood.study.finals import accuracy, at_end, over, zeros
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.seeds import minus, summed_up, together
from sapwood.study.table import Table
from sapwood.study.words import told

from .found import LAYERS, total_rank
from .printed import COMPLETED, PRINTED, WIDTHS
from .rows import AS_LONG, CONTROLS, GLOBAL, LOCAL, NARROW, PCA, PRUNED, RELEASED


def cycles(rows: Table) -> Grid:
    """How many seeds completed how many cycles, beside the planned number and the paper's."""
    return compared.cycles(rows, (*GLOBAL, *LOCAL, *CONTROLS), COMPLETED)


def controls(rows: Table) -> Grid:
    """G1 and what differs from it in the score alone."""
    return against(rows, "G1", ("G1", *CONTROLS))


def dense_controls(rows: Table) -> Grid:
    """G1 and dense networks: S, one trained as long as G1, one as small as G1 at its end."""
    return against(rows, "G1", ("G1", "S", AS_LONG, NARROW, "M"))


def released(rows: Table) -> Grid:
    """Ranks of L3 as published and as released, and how far each is from the paper's."""
    printed = [float(PRINTED[7]["L3"][f"rank_{layer}"] or 0) for layer in LAYERS]
    lines = [
        (
            "L3, the paper's run",
            "1",
            *(f"{value:g}" for value in printed),
            NOTHING,
            f"{PRINTED[3]['L3']['accuracy test']}",
        )
    ]
    for label in ("L3", RELEASED):
        ours = [at_end(rows, label, f"rank_{layer}") for layer in LAYERS]
        off = together(ours, lambda ranks: _off(ranks, printed))
        ranks = (show(each, 1) for each in ours)
        lines.append((label, str(len(ours[0])), *ranks, show(off, 1), show(accuracy(rows, label))))
    columns = (*(f"rank, layer {layer} (number)" for layer in LAYERS), "ranks off the paper's, mean of layers (%)")
    return Grid(("row", "seeds (n)", *columns, "test accuracy (%)"), tuple(lines))


def _off(ours: Sequence[float], printed: Sequence[float]) -> float:
    return 100 * sum(abs(one / other - 1) for one, other in zip(ours, printed, strict=True)) / len(printed)


def pca(rows: Table) -> Grid:
    """S at the ranks of each pruned network, beside that network: accuracy and what has to be stored."""
    columns = ("network", "seeds (n)", "ranks of the layers (number)", "weights to store (number)",
               "test accuracy (%)", "minus S (points)", "pruned network minus this (points)",
               "pruned network is")  # fmt: skip
    return Grid(columns, tuple(line for label in GLOBAL for line in _pca_lines(rows, label)))


def _pca_lines(rows: Table, label: str) -> list[tuple[str, ...]]:
    standard, pruned = accuracy(rows, "S"), accuracy(rows, label)
    ranks = [at_end(rows, label, f"rank_{layer}") for layer in LAYERS]
    first = (label, str(len(pruned)), means(ranks), left(rows, label), show(pruned), show(minus(pruned, standard)))
    lines: list[tuple[str, ...]] = [(*first, NOTHING, NOTHING)]
    for kind in PCA:
        row = f"{label} PCA {kind}"
        kept = [at_end(rows, row, f"rank_kept_{layer}", "note") for layer in LAYERS]
        stored = together(kept, partial(factor_weights, centred="uncentred" not in kind))
        ours = accuracy(rows, row)
        gap = minus(pruned, ours)
        less = (show(minus(ours, standard)), show(gap), told(summed_up(gap), "better", "worse"))
        lines.append((row, str(len(ours)), means(kept), show(stored, 0), show(ours), *less))
    return lines


def factor_weights(ranks: Sequence[float], centred: bool) -> int:
    """Weights of the network with each hidden layer of m inputs and n neurons as two factors, k (m + n), where that is
    its rank; a centred one has a rank of one more, for the mean. A layer at full rank stays whole, m n.
    """
    total = WIDTHS[-2] * WIDTHS[-1]
    for (inputs, outputs), rank in zip(pairwise(WIDTHS[:-1]), ranks, strict=True):
        full = min(inputs, outputs)
        between = min(int(rank) + centred, full)
        total += inputs * outputs if rank >= full else between * (inputs + outputs)
    return total


def retraining(rows: Table) -> Grid:
    """What training without masks leaves of the zeros, and how much of that were dead neurons before it."""
    lines = []
    for label in PRUNED:
        after = f"{label} retrained"
        left, dead = zeros(rows, after), at_end(rows, label, "dead", scale=100)
        tests = (accuracy(rows, label), accuracy(rows, after))
        lines.append(
            (label, str(len(left)), _printed_zeros(label), show(zeros(rows, label)), show(dead), show(left),
             show(at_end(rows, after, "dead", scale=100)), show(minus(left, dead)),
             show(over(at_end(rows, label, "dead", scale=100 * 100), left), 1), show(total_rank(rows, label), 1),
             show(total_rank(rows, after), 1), *map(show, tests), show(minus(tests[1], tests[0])))
        )  # fmt: skip
    columns = ("row", "seeds (n)", "zeros after, printed (%)", "zeros before (%)",
               "in dead neurons before (% of weights)", "zeros after (%)", "in dead neurons after (% of weights)",
               "zeros after minus dead before (points)", "dead before / zeros after (%)",
               "ranks summed, before (of 650)", "ranks summed, after (of 650)", "test accuracy before (%)",
               "test accuracy after (%)", "after minus before (points)")  # fmt: skip
    return Grid(columns, tuple(lines))


def _printed_zeros(label: str) -> str:
    value = PRINTED[7][label]["after zeros"]
    return f"{value:.2f}"
