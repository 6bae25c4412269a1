"""Figures: error against compression, one panel for each family of methods."""

from sapwood.study.folds_drawn import drawn
from sapwood.study.study import Figure as Drawing

from .arms import CURVES

PANELS = {
    "(a) while training": (
        "gradual magnitude", "gradual magnitude, ERK", "gradual LAMP", "iterative magnitude", "dynamic surgery",
        "variational dropout", "lottery ticket",
    ),
    "(b) by activation": (
        "gradual magnitude", "global activation, N", "global activation, N & W", "local activation, N",
        "local activation, N & W",
    ),
    "(c) from the beginning": ("gradual magnitude", "SNIP", "GraSP", "SynFlow", "RigL", "SET"),
    "(d) controls": (
        "gradual magnitude", "one-shot magnitude", "ticket, reinitialised", "ticket, mask shuffled", "random mask",
        "random mask, ERK", "narrow dense",
    ),
}  # fmt: skip


FIGURES = (
    Drawing(
        "Error against compression",
        "Means over seeds, bars: 95 % intervals. Grey line: the dense network; dotted: half a point above it. First in "
        "every panel: gradual magnitude with one ranking over all layers. Points that fell short of the compression "
        "asked for are left out.",
        drawn(CURVES, PANELS),
    ),
)
