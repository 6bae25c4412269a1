"""What others print of ResNet-56 and ResNet-20 on CIFAR-10, at cuts like ours, and after how many epochs.

From the benchmark page of Torch-Pruning (its own rows after 100 epochs, those with sparse learning after 100 more, the
best epoch on the test images), from the authors' pages of CHIP, HRank and PocketFlow, from an independent run of
Torch-Pruning 1.6.1, and from NVIDIA's notebook about FastNAS. A dash: not printed.
"""

from sapwood.study.others import Line

LOSS = 0.69  # points that FastNAS loses on ResNet-20 at 73 % of the multiply-adds: 90.97 to 90.28, after 120 epochs
DEEP, SHALLOW = "ResNet-56", "ResNet-20"
PRINTED = (
    Line(DEEP, "50 %", 1.90, "CHIP, best of several runs", 94.16, 93.26, "300"),
    Line(DEEP, "50 %", 2.00, "HRank", 93.17, 93.26),
    Line(DEEP, "1/2.11", 2.11, "soft filter", 93.36, 93.59),
    Line(DEEP, "1/2.11", 2.12, "ResRep", 93.71, 93.71, "480"),
    Line(DEEP, "1/2.11", 2.12, "Torch-Pruning, group L1", 92.93, 93.53, "100, the best on test images"),
    Line(DEEP, "1/2.11", 2.12, "Torch-Pruning, group BN", 93.29, 93.53, "100, the best on test images"),
    Line(DEEP, "1/2.11", 2.11, "Torch-Pruning, group norm", 93.46, 93.53, "100, the best on test images"),
    Line(DEEP, "1/2.11", 2.13, "Torch-Pruning, group sparse learning", 93.77, 93.53, "200, the best on test images"),
    Line(DEEP, "1/2.11", 2.11, "the same, independent run", 93.77, 93.53, "200"),
    Line(DEEP, "1/2.55", 2.51, "Torch-Pruning, group norm", 93.36, 93.53, "100, the best on test images"),
    Line(DEEP, "1/2.55", 2.57, "Torch-Pruning, group sparse learning", 93.64, 93.53, "200, the best on test images"),
    Line(DEEP, "1/2.55", 2.55, "C-SGD", 93.44, 93.39),
    Line(DEEP, "1/2.55", 2.55, "GReg-2; users' runs 90.90", 93.36, 93.36),
    Line(SHALLOW, "50 %", 2.00, "PocketFlow, LASSO, distilled", 91.42, None),
    Line(SHALLOW, "73 %", 1.37, "FastNAS", 90.28, 90.97, "120"),
)
