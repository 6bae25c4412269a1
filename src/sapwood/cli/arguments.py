"""Arguments and options of the verbs, as typer reads them, and what some can be. Nothing heavy is imported here."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Scale(StrEnum):
    """How much of a study is run."""

    smoke = "smoke"
    small = "small"
    paper = "paper"


class Pools(StrEnum):
    """Where trials run."""

    serial = "serial"
    processes = "processes"
    together = "together"
    ray = "ray"


class Family(StrEnum):
    """What a file can be begun for."""

    criterion = "criterion"
    gate = "gate"
    method = "method"


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name (see: sapwood list), or a file.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results are kept.")]
Source = Annotated[
    Path | None,
    typer.Option("--from", metavar="DIR", help="First restore the results kept in DIR/STUDY; see report --keep."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Only these trials: arm, method, task, seed or an option. Of one key any value, of several keys all.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value for an option of the methods that have it."),
]
Workers = Annotated[str | None, typer.Option(metavar="N", help="By default one per core, at most one per trial.")]
PoolName = Annotated[
    str | None,
    typer.Option(
        "--pool",
        metavar="serial|processes|together|ray",
        help="By default processes, when there are several workers. together: in one process, where alike trials step "
        "as one. ray: on a Ray cluster.",
    ),
]
Cpus = Annotated[str | None, typer.Option(metavar="N", help="Cores that a trial takes on Ray; 1 when left out.")]
Gpus = Annotated[
    str | None,
    typer.Option(
        metavar="N", help="Graphics cards that a trial takes on Ray, shares too: 0.25. 1 with --device cuda, else 0."
    ),
]
Device = Annotated[str, typer.Option(metavar="D", help="cpu, cuda, cuda:1, ...")]
Trained = Annotated[
    Path,
    typer.Argument(metavar="TRIAL", help="The folder of a finished trial, results/STUDY/ID, or a run's checkpoint."),
]
Target = Annotated[Path, typer.Option("--to", metavar="FILE", help="What to write; its ending says how.")]


Network = Annotated[
    str, typer.Argument(metavar="FILE.py:MAKE", help="MAKE() returns the model, or (model, example of its input).")
]
Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Its state dict: .safetensors, or .pt, .pth, .bin, read safely.")
]
Examples = Annotated[
    list[str] | None,
    typer.Option(
        "--example",
        metavar="SHAPE",
        help="Once for each input: --example 1,3,224,224, or 1,128:int for whole numbers. Of a dict, or by name: "
        "--example image=1,3,32,32 --example meta=1,4.",
    ),
]
Lossy = Annotated[
    bool, typer.Option("--lossy", help="Offer streams that a layer norm goes over, too; no equality is claimed then.")
]
By = Annotated[str, typer.Option(metavar="NAME", help="norm, or a criterion that needs no data: sapwood list.")]
