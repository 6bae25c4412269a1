"""Figures 6 and A9-A11: which weights of a hidden layer are not 0, pruned and then trained on without masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sapwood.study.plots import side_by_side
from sapwood.study.table import Table

PARTS = {"(a) pruned": ("G1", "M"), "(b) trained on": ("G1 retrained", "M retrained")}
ROWS = tuple(label for part in PARTS.values() for label in part)
PARAMETERS = tuple(f"hidden{layer}.weight" for layer in (1, 2, 3, 4))  # with ROWS, what `keep_maps` is to keep


def layer_maps(layer: int) -> Callable[[Table, Path], Any]:
    """One hidden layer's map in the four networks, as the paper has it."""
    return side_by_side(PARAMETERS[layer - 1], PARTS)
