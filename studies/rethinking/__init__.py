"""Rethinking the value of network pruning: fine-tuning against training from scratch, at equal cost.

Is a pruned network worth anything beyond its architecture? Each method prunes; what it leaves is fine-tuned, trained
from random weights for as many epochs as the whole network (Scratch-E) and for the same cost (Scratch-B), beside units
and widths drawn by luck. The last epoch counts, and no choice looks at test images. Expected: Scratch-B as good as
fine-tuning for structured methods, not for unstructured ones. Beside that, what the methods' own papers promise of
cliffs, of structures at 0, of masks and of soft pruning, each with the control that could refute it.

Smoke: digits, two methods, one seed, under a minute. Small: LeNet-5 on MNIST and a narrow VGG on a fifth of CIFAR-10,
five methods each, five seeds, in bfloat16; two hours on two cores that do nothing else. Paper: VGG-16 and ResNet-56 on
CIFAR-10, 160 epochs, on a GPU, resumable: sapwood run rethinking --scale paper --device cuda
Run: sapwood run rethinking --scale small
Last run: 2026-11-29, at 2 commits, f1871b8b41ce to 455c5260df01, on cpu (x86_64, AVX512), threads: 1;
350 trials, 8.3 hours of computing.
"""

from collections.abc import Iterator

from sapwood.study.printed import of_points
from sapwood.study.study import Study, Tabled
from sapwood.study.table import Table

from .arms import trials
from .printed import CLAIMS
from .verdicts import compared, protocols, summary_of, verdict


def assumptions(rows: Table) -> Iterator[str]:
    """What the small networks cannot say."""
    if any(row["row"].startswith(("LeNet-5", "VGG,", "digits")) for row in rows):
        yield (
            "Few epochs on few images: training from scratch is at a disadvantage, so the paper's claim may look "
            "weaker than it is. Scratch-B of unstructured networks is three times as long as the whole network's "
            "training, not twenty times."
        )


STUDY = Study(
    name="rethinking",
    title="Rethinking pruning: inherited weights against random ones, at equal cost",
    paper="Liu, Sun, Zhou, Huang, Darrell, Rethinking the value of network pruning, ICLR 2019, arXiv:1810.05270",
    trials=trials,
    claims=CLAIMS,
    tables=(
        Tabled("Protocols", "Test accuracy with the last weights, mean over seeds [95 % interval].", protocols),
        Tabled("Comparisons", "Differences seed by seed; word: what their 95 % interval says.", compared),
        Tabled("In print", "A dash: not run at this scale.", of_points(CLAIMS)),
    ),
    summary=summary_of,
    verdict=verdict,
    codes={
        "FT": "fine-tuning",
        "Scratch-E": "random weights, as many epochs",
        "Scratch-B": "random weights, same cost",
    },
    assumes=assumptions,
)
