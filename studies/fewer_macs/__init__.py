"""Fewer multiply-adds: trained CIFAR ResNets, pruned by every way here and by Torch-Pruning, all recovered alike.

The trained ResNet-20 and ResNet-56 are cut to 75, 50 and 35 % of their multiply-adds, and to what others print; then
all train on for an epoch, ten at 73 %, in bfloat16: SGD from 0.01 to 0 along half a cosine. The last epoch counts,
and choices look at validation images only. ResNet-56 gets the ways that are best on ResNet-20: `arms.BEST`.
Expected: ours at least equal to Torch-Pruning at every budget, better at one.

Smoke: digits, in seconds. Small: ResNet-20, about 6 hours of computing, estimated. Paper: ResNet-56 besides,
about 6 more. A trial that is stopped goes on where it was.
Run: sapwood run fewer_macs --scale paper     before, for the peer's arms: benchmarks/peers/cut_by_torch_pruning.py
Last run: never at small or paper.
"""

from sapwood.study.milliseconds import FILE, as_rows, measured
from sapwood.study.study import Study, Tabled

from .arms import timed, trials
from .verdicts import IN_PRINT, NETS, reached, summary_of

STUDY = Study(
    name="fewer_macs",
    title="Trained CIFAR ResNets at fewer multiply-adds: every way to cut, one recovery",
    paper="Torch-Pruning 1.6.1: Fang, Ma, Song, Mi, Wang, DepGraph, CVPR 2023; the ways cite their own papers",
    trials=trials,
    tables=(
        *(Tabled(net.name, "0 seeds: not run. Times of seed 0, in turn in one process.", reached(net)) for net in NETS),
        Tabled(
            "In print", "Other dense networks, other recoveries: to see where ours stands, not a contest.", IN_PRINT
        ),
    ),
    summary=summary_of,
    extras=lambda folder, scale: measured(folder, timed(scale)),
    files=(FILE,),
    more=as_rows,
)
