"""What the report needs besides rows: what a prune costs, measured when nothing else runs, and maps of weights."""

from pathlib import Path

from sapwood.study import cost, maps
from sapwood.study.earlier import as_found
from sapwood.study.table import Table, read

from .arms import trials
from .figures import MAPPED, PARAMETERS

MAPPED_ARMS = tuple(label for labels in MAPPED.values() for label in labels)
COST = "cost.csv"
FILES = (COST, maps.FILE)
SIZES = {"smoke": (10**4, 10**5, 10**6), "small": cost.SIZES[:-1], "paper": cost.SIZES}


def extras(folder: Path, scale: str) -> None:
    """Write FILES into the folder of results, as far as they are not there."""
    if not (folder / COST).exists():
        cost.write(cost.prune_cost(SIZES[scale]), folder / COST)
    mine = as_found((trial for trial in trials(scale) if trial.arm in MAPPED_ARMS and trial.seed == 0), folder)
    if all((folder / trial.id / "weights.safetensors").exists() for trial in mine):
        ids = [trial.id for trial in mine]
        maps.keep_maps(read(folder, ids), folder, folder / maps.FILE, MAPPED_ARMS, PARAMETERS)


def more(folder: Path) -> Table:
    """The costs, as rows for the tables."""
    return cost.as_rows(folder / COST)
