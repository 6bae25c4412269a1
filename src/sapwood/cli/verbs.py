"""The six verbs and their options: what the command line can do. Frozen: a change needs a decision record.

Nothing heavy is imported here, so that `sapwood --help` answers at once; each verb imports what it needs.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Scale(StrEnum):
    """How much of a study is run."""

    smoke = "smoke"
    small = "small"
    paper = "paper"


class PoolName(StrEnum):
    """Where trials run."""

    serial = "serial"
    processes = "processes"


app = typer.Typer(
    help="Prune neural networks with numbers you can trust.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: what draws the boxes takes longer to import than everything else here
    pretty_exceptions_enable=False,
)

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
Workers = Annotated[int | None, typer.Option(min=1, help="By default one per core, at most one per trial.")]
Device = Annotated[str, typer.Option(metavar="D", help="cpu, cuda, cuda:1, ...")]
Trained = Annotated[
    Path,
    typer.Argument(metavar="TRIAL", help="The folder of a finished trial, results/STUDY/ID, or a run's checkpoint."),
]
Target = Annotated[Path, typer.Option("--to", metavar="FILE", help="What to write; its ending says how.")]


@app.command()
def run(
    study: StudyName,
    scale: Annotated[Scale, typer.Option(help="How much of it.")] = Scale.small,
    only: Only = None,
    changes: Changes = None,
    pool: Annotated[PoolName | None, typer.Option(help="By default processes, when there are several workers.")] = None,
    workers: Workers = None,
    device: Device = "cpu",
    download: Annotated[bool, typer.Option("--download", help="Fetch missing data sets first.")] = False,
    results: Results = Path("results"),
    source: Source = None,
) -> None:
    """Run a study's trials and write its report. Finished trials are not run again, interrupted ones go on.

    Every process computes with one thread: on a busy machine, two can be many times slower than one.
    """
    from sapwood.cli.running import Order, carry_out

    order = Order(
        study, scale, tuple(only or ()), tuple(changes or ()), pool, workers, device, download, results, source
    )
    carry_out(order)


@app.command()
def report(
    study: StudyName,
    results: Results = Path("results"),
    source: Source = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write what it shows to small files for git, in DIR/STUDY."),
    ] = None,
) -> None:
    """Write a study's report again, from the results there are."""
    from sapwood.cli.running import write_report

    write_report(study, results, source, keep)


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="criteria, statistics, allocations, schedules, shares, stopping, methods, tasks, data or studies; "
            "all when left out.",
        ),
    ] = None,
) -> None:
    """Name what there is, with one line each."""
    from sapwood.cli.listing import print_lists

    print_lists(kind)


@app.command()
def shrink(source: Trained, to: Target) -> None:
    """Write a finished trial's network without the units that its zeros have made useless, and say what that saves."""
    from sapwood.cli.smaller import shrink_to

    shrink_to(source, to)


@app.command()
def export(
    source: Trained,
    to: Target,
    masked: Annotated[bool, typer.Option("--masked", help="At full size, with its zeros; not compacted.")] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Samples in every call, for .onnx and .pt2; any number when left out.")
    ] = None,
) -> None:
    """Write a finished trial's network as .safetensors, .onnx or .pt2, compacted, and compare it with what was written.

    A .onnx file needs sapwood[onnx]. A .pt2 file is for torch.export.load, which should be given trusted files only.
    A .swz file is the fewest bytes: the network at full size without its zeros, shared values and Huffman's code.
    """
    from sapwood.cli.smaller import export_to

    export_to(source, to, masked=masked, batch=batch)


@app.command()
def check(
    file: Annotated[
        str, typer.Argument(metavar="FILE[:NAME]", help="A Python file, or one thing in it: mine.py:my_solver.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="KIND",
            help="criterion, statistic, unit_gate, gate, method, solver or selector; told by types and names of "
            "parameters when left out.",
        ),
    ] = None,
) -> None:
    """Hold what a file defines to the laws of its kind: criteria, statistics, gates, methods, solvers, selectors."""
    from sapwood.cli.checking import check_file

    check_file(file, kind)
