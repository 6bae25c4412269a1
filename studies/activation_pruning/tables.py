"""Tables: the paper's, each with ours beside it, then what the paper left out."""

from sapwood.study import several, spectra_tables
from sapwood.study.compared import against, cycles_made, lead
from sapwood.study.cost_report import complexity
from sapwood.study.questions import families
from sapwood.study.study import Tabled

from . import arms
from .claims import THRICE, of_table, verdicts_by_table
from .columns import LAYERS
from .controls import pca, quality, released, retraining
from .printed import COMPLETED, TABLE_1
from .verdicts import FAMILIES

MARKED = "✓ reproduced, ✗ not reproduced, ? cannot be judged; mean over seeds, 95 % interval in brackets."
CLASS_0 = (
    "Not top-k accuracies: the paper's metric was given whole-number labels where it expects one-hot ones, so it "
    "counts class 0. Nothing about quality follows. "
)
CYCLES = (
    "Zeros, FLOPs and ranks: over the seeds that made as many cycles as the paper's run did, because they follow from "
    "that; everything else over all seeds. "
)
PAIRED = "Differences are taken seed by seed; a direction is told only where the 95 % interval leaves out 0."


def _class_0(table: int, *starts: str) -> Tabled:
    return Tabled(f"Table {table}, columns Top 1 % and Top 5 %", CLASS_0 + MARKED, of_table(table, *starts))


PAPER = (
    Tabled(
        "Verdicts by table",
        "How many of the printed numbers agree within their tolerance; each stands in the tables below.",
        verdicts_by_table,
    ),
    Tabled(
        "Table 1, time and space of a prune",
        "Printed: orders in the number of neurons. Measured: the exponent of the number of weights W, with its 95 % "
        "interval over sizes; 1 is linear, W log W looks like 1.07. The algorithms as printed sort weights.",
        complexity(TABLE_1),
    ),
    Tabled("Table 2, global pruning", CYCLES + MARKED, of_table(2, "epochs", "zeros")),
    _class_0(2, "class0"),
    Tabled(
        "Table 3, local pruning",
        CYCLES + "Training accuracy: the running mean of the last epoch, as printed. " + MARKED,
        of_table(3, "epochs", "zeros", "accuracy"),
    ),
    _class_0(3, "class0"),
    Tabled(
        "Table 4, against magnitude",
        "80.00 % is M's target, Table 5 has what it reached; S had been trained on M's validation images. "
        + MARKED,
        of_table(4),
    ),
    Tabled("Table 5, FLOPs", "Follows from the zeros: 641.4 (1 - zeros / 320,700) kFLOPs. " + MARKED, of_table(5)),
    Tabled(
        "Table 6, retrained",
        "Labels as in Table 2; the paper's Tables 6 and 7 call G3, G4, G5, G6: G5, G6, G3, G4. " + MARKED,
        of_table(6, "after epochs", "after accuracy"),
    ),
    _class_0(6, "after class0"),
    Tabled("Table 7, zeros and ranks as pruned", "Labels as in Table 2. " + CYCLES + MARKED,
           of_table(7, "zeros", "rank")),
    Tabled("Table 7, zeros and ranks after retraining", "Labels as in Table 2. " + CYCLES + MARKED,
           of_table(7, "after")),
    Tabled("Table 8, averages by scope and cycles", "Top 5 %: the share with class 0 among the five best. " + MARKED,
           of_table(8)),
    Tabled("Table 9, averages by score and scope", "Top 5 %: the share with class 0 among the five best. " + MARKED,
           of_table(9)),
    Tabled("Table 11, ranks", CYCLES + MARKED, of_table(11)),
    Tabled("Table 12, the standard network", CLASS_0 + MARKED, of_table(12)),
    Tabled(
        "Table 13, PCA and pruning",
        "Of PCA, how far it falls below S: the paper's S has 84.35 %, its PCA networks that minus the numbers here. "
        + MARKED,
        of_table(13, "pca accuracy", "accuracy"),
    ),
    _class_0(13, "pca class0", "class0"),
)  # fmt: skip
BEYOND = (
    THRICE.tabled,
    Tabled("True top-1 and top-5", "On test, beside the columns that the paper printed under those names.", quality),
    Tabled(
        "Cycles completed",
        "Early stopping decides how many marks are reached. How many the paper's runs reached follows from their "
        "zeros. Zeros here are over all seeds.",
        cycles_made((*arms.GLOBAL, *arms.LOCAL, *arms.CONTROLS), COMPLETED),
    ),
    Tabled(
        "Does counting matter?",
        "G1's schedule and marks, another score. " + PAIRED,
        against("G1", ("G1", *arms.CONTROLS)),
    ),
    Tabled(
        "Dense networks",
        "Trained as long as G1, or as small as G1 at its end. " + PAIRED,
        against("G1", ("G1", "S", arms.AS_LONG, arms.NARROW, "M")),
    ),
    Tabled(
        "The released counter",
        "The code released in 2023 counts zeros instead of activations. Off: mean over layers of |ours / paper's - 1|.",
        released,
    ),
    Tabled(
        "PCA on equal terms",
        "S at the ranks of each pruned network. Tuned: trained on for 5 epochs in factors. Weights to store: k (m + n) "
        "a layer as factors, of a pruned network those not 0. " + PAIRED,
        pca,
    ),
    Tabled(
        "What retraining leaves",
        "Dead: neurons whose incoming weights are all 0 under a bias of at most 0, which no gradient reaches. "
        + PAIRED,
        retraining,
    ),
    Tabled(
        "Singular values",
        "At the end of equally many epochs. Nuclear norms relative to the same seed's.",
        spectra_tables.spectra((*arms.PRUNING, *arms.PENALTIES), arms.V_DENSE, LAYERS),
    ),
    Tabled(
        "Closeness to pruning by activity",
        "Root mean square of ln(one / other) over nuclear norm, effective and stable rank, layers and epochs; 0.1 is "
        "about 10 % apart. Each run prunes when its own training accuracy reaches the marks, so prunes differ in time. "
        + PAIRED,
        spectra_tables.closeness(
            arms.LIKE,
            (*(arm for arm in arms.PRUNING if arm != arms.LIKE), arms.V_DENSE, *arms.PENALTIES),
            arms.RANDOM,
            LAYERS,
        ),
    ),
    Tabled(
        "What a prune does to singular values",
        "The paper: small ones shrink more at first, all alike later. Columns of any choice shrink them. The last "
        "prune is the ninth where only nine were made (table Singular values). " + PAIRED,
        spectra_tables.shrinking(arms.PRUNING),
    ),
    Tabled(
        "Corrected for the number of comparisons",
        "Holm's correction within each question, over paired t tests; what is left holds at 5 % for all together. "
        "Last column, in points: the true difference that so many seeds with this spread find in four of five cases, "
        "the smallest and the largest of the comparisons.",
        several.table(families(FAMILIES)),
    ),
    Tabled(
        "Channels",
        "A convolutional network, half of each layer's filters. " + PAIRED,
        lead((*arms.CHANNELS, arms.K_DENSE)),
    ),
)
TABLES = PAPER + BEYOND
