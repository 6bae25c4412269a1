"""Verdicts: the paper's three questions and its exception, and what the methods' own papers promise, by the rows."""

from functools import partial

from sapwood.study.asked import MISSING as MISSING
from sapwood.study.finals import goal_value
from sapwood.study.pooled import Bound, Pooled, apart, findings, in_short
from sapwood.study.pooled import compared as compared_of
from sapwood.study.rethought import named
from sapwood.study.rethought import protocols as protocols_of
from sapwood.study.seeds import Seeds, minus
from sapwood.study.table import Table

from .arms import AT_ONCE, CLIFF, DENSE, DRAWN, LUCK, MASKED, SOFT, STRUCTURED, STRUCTURES, pairs

FT, SCRATCH_E, SCRATCH_B = ("fine_tune", "pruned"), ("scratch_e", "pruned"), ("scratch_b", "pruned")


def lost(rows: Table, arm: str) -> Seeds:
    """How many points of test accuracy a VGG loses with 40 % of its channels, not tuned."""
    return minus(goal_value(rows, arm), goal_value(rows, f"{arm}, {CLIFF}"))


ASKED = (
    Pooled("Scratch-B minus fine-tuning",
           "1. Is the pruned architecture, trained from random weights for the same cost as the whole network, as good "
           "as fine-tuning what was inherited? (The paper: yes, for structured methods.)",
           pairs(STRUCTURED, SCRATCH_B, FT)),
    Pooled("fine-tuning minus fine-tuning of random units",
           "2. Are the weights that a criterion chose worth more than those of units drawn by luck? (The paper: "
           "hardly.)", pairs(STRUCTURED, FT, LUCK)),
    Pooled("Scratch-B of the pruned widths minus that of uniform ones",
           "3. Is the architecture that was found better than uniform widths of as many multiply-adds? (The paper: "
           "only where the method chooses widths itself.)", pairs(STRUCTURED, SCRATCH_B, ("scratch_b", "uniform"))),
    Pooled("fine-tuning minus Scratch-E, unstructured",
           "The exception: at 95 % sparsity fine-tuning is at least as good as training the masked network from "
           "scratch.", pairs(MASKED, FT, SCRATCH_E)),
    Pooled("fine-tuning minus that of masks shuffled within layers",
           "At 95 % sparsity it matters which weights stay: masks shuffled within each layer are worse.",
           pairs(MASKED, FT, LUCK)),
    Bound("VGG, points lost with 40 % of the channels, scales drawn to 0",
          "Network slimming: with scales drawn to 0, 40 % of the channels go untuned for at most 3 points ...",
          partial(lost, arm=f"VGG, {DRAWN}"), most=3),
    Bound("VGG, points lost so without drawing, minus with it",
          "... and without, for at least 15 more: training moves the cliff.",
          lambda rows: minus(lost(rows, f"VGG, {DENSE}"), lost(rows, f"VGG, {DRAWN}")), least=15),
    Bound("VGG, structures that became 0 left out, not tuned, minus as many drawn by luck, fine-tuned",
          "Sparse structure selection needs no tuning: it is at least as good as luck that is fine-tuned.",
          apart(f"VGG, {STRUCTURES}", named(f"VGG, {STRUCTURES}", *LUCK)), least=0),
    Bound("LeNet-5, soft filter pruning minus as many cut at once, trained on as long",
          "Soft filter pruning is at most half a point below a cut at once with equal extra epochs.",
          apart(f"LeNet-5, {SOFT}", f"LeNet-5, {AT_ONCE}"), least=-0.5),
)  # fmt: skip
SHUFFLED = ASKED[4]  # is below, with all the others
summary_of, verdict = partial(findings, ASKED), partial(in_short, [each for each in ASKED if each is not SHUFFLED])
compared = partial(compared_of, [asked for asked in ASKED if isinstance(asked, Pooled)])
protocols = partial(protocols_of, (*STRUCTURED, *MASKED))
