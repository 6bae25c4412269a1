"""What is printed: Table 10 of Ganguli & Chong 2024, and what the papers that it quotes report themselves."""

from typing import NamedTuple


class Quoted(NamedTuple):
    """A line of Table 10, what the paper quoted there reports itself (errors in percent), and a remark."""

    method: str
    fold: float
    left: float  # percent of the weights, as printed
    dense: float | None
    error: float | None
    own_fold: float | None
    own_left: float | None
    remark: str


TABLE_10 = (
    Quoted("Han et al. 2015, magnitude", 12, 8, 1.64, 1.59, 12, 8.2, "Right. The text has it prune before training."),
    Quoted("Han et al. 2016, deep compression", 40, 8, 1.64, 1.58, 12, 8,
           "40 is of the bits of quantised, Huffman-coded weights; of weights it is 12."),
    Quoted("Guo et al. 2016, surgery", 56, 1.8, 2.28, 1.99, 56, 1.8,
           "Right, from a weaker dense network; the released one counts 53.8. Pruned while training, not before."),
    Quoted("Frankle & Carbin 2019, lottery ticket", 7, 13.5, None, None, 28, 3.6,
           "13.5 % is where accuracy peaks; it is that of the dense network until 3.6 %. Not structured."),
    Quoted("Molchanov et al. 2017, variational dropout", 7, 13.97, 1.64, 1.92, 68, 1.43,
           "86.03 % is the plain mean of three layers' sparsities; of all weights it is 98.57 %. Not by magnitude."),
    Quoted("Ganguli & Chong 2024, activation", 94, 1.06, None, None, None, None,
           "No accuracy, no seeds, no epochs, no scope; every other table stops at 85 % sparsity."),
)  # fmt: skip
