"""Activation-based pruning: all of Ganguli & Chong, Algorithms 17(1):48, 2024, but its Table 10, and what it left out.

Network 784-300-200-100-50-10 on Fashion-MNIST, SGD 0.01, batches of 32. The arms are listed in `arms`, the paper's
numbers in `printed`, what these measure in `columns`, their tolerances in `claims`, the words of the report in
`verdicts` and `in_words`, and what those rest on in `assumptions`.
Expected: every printed number of Tables 2-9 and 11-13, as a claim with a verdict. Table 10 is about MNIST and another
network, and gives no accuracy: study `lenet300` is about it.

Smoke: 6,000 images, 6 epochs, one seed; it shows that everything runs. Small: all images, 15 epochs, two seeds. Paper:
five seeds, three for the convolutional network, as long as the stopping rule lets them run.
Run: sapwood run activation_pruning --scale paper        one arm: --only arm=G1 --only seed=0
Last run: 2026-11-21, at commit 0566fa74a2d0, on cpu (x86_64), threads: 1; 482 trials, 9.1 hours of computing.
"""

from sapwood.study.study import Study

from .arms import CODES, trials
from .assumptions import assumptions
from .claims import CLAIMS
from .extras import FILES, extras, more
from .figures import FIGURES
from .tables import TABLES
from .verdicts import in_short, summary

STUDY = Study(
    name="activation_pruning",
    title="Activation-based pruning of a fully connected network on Fashion-MNIST",
    paper="Ganguli & Chong, Activation-based pruning of neural networks, Algorithms 17(1):48, 2024",
    trials=trials,
    claims=CLAIMS,
    tables=TABLES,
    figures=FIGURES,
    summary=summary,
    verdict=in_short,
    codes=CODES,
    assumes=assumptions,
    extras=extras,
    files=FILES,
    more=more,
    notes="Five seeds at scale paper, three for arms K; one at smoke and two at small, where networks train too short "
    "for any verdict. The paper's rows are single runs without a seed.",
)
