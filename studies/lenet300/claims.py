"""Claims: the points that the papers report, and what a harness for this network should give.

Committed before the first of the kept trials started, and not changed since.

    dense error             1.4 to 1.8 %
    an original's error     0.3 points around the printed one, the noise of single runs and other initial values
    Molchanov's fold        68, ± 15: what a threshold leaves is found out, not asked for
    Frankle's ticket        at 28-fold within 0.2 points of the dense network of the same seed
    deep compression        at least 35-fold in bytes of a file, at most 0.1 points above dense
    random masks            at 94-fold at least 3 points worse than gradual magnitude

Lengths, in epochs of theirs and of ours: Han not said, 70; Guo 38 (35,000 steps of 64), 43; Molchanov 200, 100; Frankle
16 times 55 with early stopping, 16 times 8; Lee 273 (250,000 steps), 40. Ours are Adam's throughout, with weight decay
for Han, Guo and Lee.
"""

from sapwood.study.claim import Claim
from sapwood.study.finals import error, less, number_of, summed
from sapwood.study.folds import label

from .arms import CURVES
from .rates import DENSE

RANDOM = label("random mask, ERK", 94)
WIDE = 1e9  # at least, or at most: a band with one end
CLAIMS = (
    Claim("harness, dense", "test error, %", 1.6, 0.2, summed(error, DENSE)),
    Claim("harness, random mask", "94-fold, test error above gradual magnitude's, points", 3 + WIDE, WIDE,
          summed(less(error, label("gradual magnitude", 94)), RANDOM)),
    Claim("Han 2015, Table 1", "12-fold, test error, %", 1.59, 0.3, summed(error, "as Han 2015")),
    Claim("Guo 2016, Table 1", "56-fold, test error, %", 1.99, 0.3, summed(error, "as Guo 2016")),
    Claim("Guo 2016, Table 1", "dense / left weights", 56, 6, summed(CURVES.of, "as Guo 2016")),
    Claim("Molchanov 2017, Table 1", "test error, %", 1.92, 0.3, summed(error, "as Molchanov 2017")),
    Claim("Molchanov 2017, Table 1", "dense / left weights", 68, 15, summed(CURVES.of, "as Molchanov 2017")),
    Claim("Frankle 2019, section 2", "28-fold, test error above dense, points", 0.2 - WIDE, WIDE,
          summed(less(error, DENSE), "as Frankle 2019")),
    Claim("Lee 2019, Table 1", "20-fold, test error, %", 1.6, 0.3, summed(error, "as Lee 2019, 20-fold")),
    Claim("Lee 2019, Table 1", "50-fold, test error, %", 2.4, 0.3, summed(error, "as Lee 2019, 50-fold")),
    Claim("Han 2016, Table 1", "dense bytes / bytes of the file (printed: 40)", 35 + WIDE, WIDE,
          summed(number_of("stored_fold", "note"), "as deep compression")),
    Claim("Han 2016, Table 1", "test error above dense, points", 0.1 - WIDE, WIDE,
          summed(less(error, DENSE), "as deep compression")),
    Claim("Han 2016, Table 1", "validation error that sharing weights adds, points", 0.1 - WIDE, WIDE,
          summed(less(number_of("pruned_valid_accuracy", "note", 100), number_of("accuracy", "valid", 100)),
                 "as deep compression")),
)  # fmt: skip
