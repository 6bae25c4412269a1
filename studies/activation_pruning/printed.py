"""Printed: every number of the paper's tables 2-9 and 11-13, as printed, and table 1's formulas.

Percentages in percent. A whole number stands where the paper prints one without decimals. Arms go by the labels of
Table 2 everywhere: Tables 6 and 7 call G3-G6 otherwise, `CALLED` says how; equal ranks and shares of zeros prove it.
Columns: "class0_top1" and "class0_top5" are what the paper calls Top 1 % and Top 5 %; "after" is after retraining,
"pca" is the standard network at the arm's ranks. Table 10 is about another data set and another network.
"""

from itertools import pairwise

Value = int | float | None
Columns = dict[str, Value]

WIDTHS = (784, 300, 200, 100, 50, 10)
WEIGHTS = sum(one * other for one, other in pairwise(WIDTHS))  # 320,700
COMPLETED = {  # cycles that the paper's run of an arm made: the printed zeros are partial sums of the schedule's shares
    "G1": 4, "G2": 4, "G3": 4, "G4": 5, "G5": 8, "G6": 8, "G7": 9, "G8": 9, "L1": 4, "L2": 4, "L3": 4, "L4": 4,
}  # fmt: skip
CALLED = {"G3": "G5", "G4": "G6", "G5": "G3", "G6": "G4"}  # by Tables 6 and 7; the others keep their labels
AVERAGED: dict[int, dict[str, tuple[str, ...]]] = {  # Tables 8 and 9: which rows each line is the mean of
    8: {
        "global, 5 cycles": ("G1", "G2", "G3", "G4"),
        "global, 10 cycles": ("G5", "G6", "G7", "G8"),
        "local": ("L1", "L2", "L3", "L4"),
    },
    9: {
        "Neurons, global": ("G1", "G2", "G5", "G6"),
        "Neurons & Weights, global": ("G3", "G4", "G7", "G8"),
        "Neurons, local": ("L1", "L2"),
        "Neurons & Weights, local": ("L3", "L4"),
    },
}
TABLE_1 = {"global": ("O(n log n)", "O(n)"), "local": ("O(l log l)", "O(l)")}  # time, space; n, l in neurons


def _table(columns: tuple[str, ...], rows: dict[str, tuple[Value, ...]]) -> dict[str, Columns]:
    return {label: dict(zip(columns, values, strict=True)) for label, values in rows.items()}


def _columns(*names: str) -> tuple[str, ...]:
    """A name that ends in ":" stands for three columns, one per split; "rank" for four, one per layer."""
    splits = ("train", "valid", "test")
    ends = {":": [f" {split}" for split in splits], "#": [f"_{layer}" for layer in range(1, 5)]}
    return tuple(f"{name.rstrip(':#')}{end}" for name in names for end in ends.get(name[-1], [""]))


# fmt: off
PRINTED: dict[int, dict[str, Columns]] = {
    2: _table(_columns("epochs", "zeros", "class0_top1:", "class0_top5:"), {
        "S":  (46, None,  10.19,  8.17,  8.22, 69.10, 68.72, 69.40),
        "G1": (62, 70.25, 10.24,  9.75, 10.16, 70.45, 66.47, 65.69),
        "G2": (62, 74.64, 10.13,  9.23,  9.54, 72.23, 71.47, 71.67),
        "G3": (47, 70.25, 10.13,  9.35,  9.66, 81.30, 81.50, 81.83),
        "G4": (62, 85.00, 10.15,  9.00,  9.46, 66.59, 66.65, 66.77),
        "G5": (67, 74.59, 10.25,  9.32,  9.57, 80.99, 80.57, 80.24),
        "G6": (74, 79.25, 10.17,  9.62,  9.69, 71.44, 65.10, 64.99),
        "G7": (53, 77.59, 10.16, 12.17, 12.30, 77.19, 79.60, 79.23),
        "G8": (54, 82.44, 10.15, 11.42, 11.58, 78.35, 78.45, 79.31),
    }),
    3: _table(_columns("epochs", "zeros", "accuracy:", "class0_top1:", "class0_top5:"), {
        "S":  (46, None,  95.64, 85.68, 84.35, 10.19,  8.17,  8.22, 69.10, 68.72, 69.40),
        "L1": (88, 79.88, 93.12, 88.02, 87.56, 10.22, 11.08, 10.83, 64.33, 63.37, 64.09),
        "L2": (88, 84.85, 92.29, 86.73, 86.79, 10.18, 12.12, 11.99, 72.81, 73.55, 74.67),
        "L3": (75, 79.88, 93.29, 87.92, 87.11, 10.19,  7.73,  8.01, 86.36, 84.92, 85.29),
        "L4": (73, 84.87, 92.83, 87.62, 86.94, 10.23, 12.10, 12.10, 74.26, 75.92, 75.64),
    }),
    4: _table(_columns("zeros", "accuracy:"), {
        "M":  (80.00, 91.79, 92.35, 88.72),
        "L1": (79.88, 93.12, 88.02, 87.56),
        "L3": (79.88, 93.29, 87.92, 87.11),
    }),
    5: _table(_columns("kflops", "zeros"), {
        "M": (129, 79.87), "G1": (191, 70.25), "G2": (163, 74.64), "G3": (191, 70.25), "G4": (96, 85.00),
        "G5": (163, 74.59), "G6": (133, 79.25), "G7": (144, 77.59), "G8": (113, 82.44), "L1": (129, 79.88),
        "L2": (97, 84.85), "L3": (129, 79.88), "L4": (97, 84.87),
    }),
    6: _table(_columns("after epochs", "after accuracy:", "after class0_top1:", "after class0_top5:"), {
        "M":  ( 9, 95.01, 87.37, 87.01, 10.23, 14.10, 14.09, 66.62, 74.13, 74.85),
        "G1": (21, 95.24, 86.55, 85.99, 10.10,  7.57,  7.82, 70.90, 62.45, 62.52),
        "G2": (24, 95.34, 86.97, 86.08, 10.10,  7.58,  7.73, 71.26, 70.43, 70.68),
        "G5": (24, 95.29, 88.73, 88.50, 10.18, 10.17, 10.51, 79.96, 84.55, 84.22),
        "G6": (23, 94.69, 87.78, 87.41, 10.13,  9.28,  9.93, 76.62, 78.15, 78.40),
        "G3": ( 8, 93.72, 87.65, 86.94, 10.11,  9.15,  9.23, 82.72, 73.02, 73.29),
        "G4": (17, 95.22, 86.35, 85.79, 10.15,  7.70,  8.23, 67.68, 66.60, 66.59),
        "G7": ( 7, 93.65, 88.38, 87.94, 10.14, 11.17, 11.24, 76.49, 78.18, 77.92),
        "G8": (25, 95.97, 89.42, 88.87, 10.17,  9.00,  9.28, 77.17, 73.78, 74.41),
        "L1": (29, 94.73, 87.05, 86.30, 10.20,  9.32,  9.20, 63.53, 61.12, 61.67),
        "L2": (31, 93.67, 86.93, 86.54, 10.10,  8.73,  8.88, 74.43, 75.52, 76.16),
        "L3": ( 5, 92.39, 84.57, 84.25, 10.13, 10.10, 10.39, 87.58, 85.90, 85.86),
        "L4": (20, 93.95, 86.67, 85.99, 10.16, 11.82, 11.56, 74.90, 79.88, 79.78),
    }),
    7: _table(_columns("zeros", "after zeros", "rank#", "after rank#"), {
        "M":  (80,     0.11, 300, 200, 100, 50, 300, 200, 100, 50),
        "G1": (70.25, 43.57,  78,  80,  40, 21, 170, 132,  66, 34),
        "G2": (74.64, 40.74,  60,  68,  56, 29, 184, 114,  72, 37),
        "G5": (74.59, 37.16,  61,  74,  50, 25, 199, 113,  66, 37),
        "G6": (79.25, 41.02,  48,  64,  38, 26, 185, 122,  59, 43),
        "G3": (70.25, 20.37, 225, 163,  74, 36, 244, 167,  77, 36),
        "G4": (85,    24.36, 207, 143,  83, 38, 237, 150,  84, 40),
        "G7": (77.59, 17.39, 243, 161,  79, 36, 257, 163,  80, 36),
        "G8": (82.44, 25.19, 205, 156,  84, 43, 227, 163,  87, 46),
        "L1": (79.88, 50.43,  60,  40,  20, 10, 151, 130,  50, 32),
        "L2": (84.85, 58.72,  45,  30,  15,  8, 132,  86,  42, 26),
        "L3": (79.88, 22.76, 148,  98,  46, 26, 235, 160,  74, 39),
        "L4": (84.87, 26.67, 151,  80,  45, 24, 225, 166,  84, 38),
    }),
    8: _table(_columns("zeros", "class0_top5 test"), {
        "global, 5 cycles":  (75.03, 71.49),
        "global, 10 cycles": (78.50, 75.94),
        "local":             (82.37, 74.90),
    }),
    9: _table(_columns("zeros", "class0_top5 test"), {
        "Neurons, global":           (74.68, 70.64),
        "Neurons & Weights, global": (78.82, 76.79),
        "Neurons, local":            (82.37, 69.38),
        "Neurons & Weights, local":  (82.38, 80.47),
    }),
    11: _table(_columns("zeros", "rank#"), {
        "S":  (None,  300, 200, 100, 50),
        "G1": (70.25,  78,  80,  40, 21), "G2": (74.64,  60,  68, 56, 29),
        "G3": (70.25, 225, 163,  74, 36), "G4": (85.00, 207, 143, 83, 38),
        "G5": (74.59,  61,  74,  50, 25), "G6": (79.25,  48,  64, 38, 26),
        "G7": (77.59, 243, 161,  79, 36), "G8": (82.44, 205, 156, 84, 43),
    }),
    12: _table(_columns("accuracy test", "class0_top1 test", "class0_top5 test"), {"S": (84.35, 8.22, 69.40)}),
    13: _table(_columns("pca accuracy test", "pca class0_top1 test", "pca class0_top5 test",
                        "accuracy test", "class0_top1 test", "class0_top5 test"), {
        "G1": (81.79, 8.85, 63.73, 87.90, 10.16, 65.69),
        "G2": (80.47, 8.57, 61.93, 87.48,  9.54, 71.67),
        "G3": (84.75, 8.24, 68.75, 87.12,  9.66, 81.83),
        "G4": (84.50, 8.02, 68.44, 88.19,  9.46, 66.77),
        "G5": (78.01, 9.24, 65.08, 87.83,  9.57, 80.24),
        "G6": (74.67, 6.41, 53.91, 86.69,  9.69, 64.99),
        "G7": (84.52, 8.26, 69.05, 88.07, 12.30, 79.23),
        "G8": (84.35, 8.34, 69.34, 88.67, 11.58, 79.31),
    }),
}
# fmt: on


def in_print(table: int, label: str, column: str) -> float:
    """A number that is in print; not one of the few that a table leaves out."""
    value = PRINTED[table][label][column]
    assert value is not None, (table, label, column)
    return value
