"""LeNet-300-100 on MNIST: error against compression, every method under one protocol (Table 10, with accuracy).

Adam, batches of 120, the learning rate tuned for each method on 5,000 validation images; 55,000 train. The test images
are looked at once, with the last weights. The arms are listed in `arms`.
Expected: dense 1.4 to 1.8 % error; magnitude about dense until 12-fold; random masks far worse.

Smoke: 32-fold, 4 epochs, one seed. Small: three compressions, 8 epochs, two seeds. Paper: nine compressions, 10 epochs,
five seeds, controls at four of them, the points in print, and the tuning.
Run: sapwood run lenet300 --scale paper
Last run: 2026-11-21 to 2026-11-22, at 13 commits, 87949020a08d to d70268928d71, on cpu (x86_64), threads: 1; 1160
trials, 9.8 hours of computing.
"""

from sapwood.study.study import Study

from .arms import trials
from .assumptions import assumptions
from .figures import FIGURES
from .tables import TABLES
from .verdicts import summary_of

STUDY = Study(
    name="lenet300",
    title="Compressing LeNet-300-100 on MNIST: every method on one curve",
    paper="Table 10 of Ganguli & Chong, Activation-based pruning of neural networks, Algorithms 17(1):48, 2024, and "
    "the papers that it quotes",
    trials=trials,
    tables=TABLES,
    figures=FIGURES,
    summary=summary_of,
    codes={"N": "score Neurons: how often a neuron is active", "N & W": "score Neurons & Weights: that, times |w|"},
    assumes=assumptions,
    notes="Learning rates were chosen by the validation error at 4-fold, 32-fold and 128-fold, with a seed that no arm "
    "has; no test image was looked at for it.",
)
