"""The ten verbs and their options: what the command line can do. Frozen: a change needs a decision record.

Nothing heavy is imported here, so that `sapwood --help` answers at once; each verb imports what it needs.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from sapwood.cli import typed
from sapwood.cli.arguments import (
    By,
    Changes,
    Cpus,
    Device,
    Examples,
    Family,
    Gpus,
    Lossy,
    Network,
    Only,
    PoolName,
    Pools,
    Results,
    Scale,
    Source,
    StudyName,
    Target,
    Trained,
    Weights,
    Workers,
)


def _version(asked: bool) -> None:
    if asked:
        from sapwood import __version__

        print(f"sapwood {__version__}")
        raise typer.Exit


app = typer.Typer(
    help="Prune neural networks with numbers you can trust.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: what draws the boxes takes longer to import than everything else here
    pretty_exceptions_enable=False,
)


@app.callback()
def sapwood(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--traceback", help="Anywhere: an error also says where in the code it arose.")
    ] = False,
) -> None:
    """Prune neural networks with numbers you can trust."""


@app.command()
def prune(
    network: Network,
    weights: Weights = None,
    example: Examples = None,
    macs: Annotated[str | None, typer.Option(metavar="X", help="May be left: a share below 1, or a number.")] = None,
    parameters: Annotated[str | None, typer.Option(metavar="X", help="The same of parameters.")] = None,
    bytes: Annotated[str | None, typer.Option(metavar="X", help="The same of bytes in memory.")] = None,
    ms: Annotated[str | None, typer.Option(metavar="X", help="The same of milliseconds, measured here.")] = None,
    by: By = "norm",
    multiple: Annotated[str, typer.Option(metavar="N", help="Widths that change become multiples of it.")] = "8",
    keep: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A module or parameter that keeps its shape.")
    ] = None,
    uniform: Annotated[bool, typer.Option("--uniform", help="The same share goes everywhere.")] = False,
    lossy: Lossy = False,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="For timing: pytorch, or onnxruntime, which needs sapwood[onnx].")
    ] = "pytorch",
    threads: Annotated[str, typer.Option(metavar="N", help="For timing.")] = "1",
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it: .safetensors, .onnx or .pt2.")] = None,
) -> None:
    """Make a network of your own smaller, say what that did, and write it."""
    from sapwood.cli.owned import Order
    from sapwood.cli.pruning import Wanted, prune_to

    given = {"macs": macs, "parameters": parameters, "bytes": bytes, "ms": ms}
    targets = {name: typed.number(f"--{name}", text) for name, text in given.items()}
    cores = os.cpu_count() or 1
    numbers = {
        "multiple": typed.whole("--multiple", multiple),
        "threads": typed.whole("--threads", threads, most=cores, why=f": there are {cores} cores here"),
    }
    options = {"by": by, "keep": keep or (), "uniform": uniform, "lossy": lossy, "engine": engine, **numbers}
    prune_to(Order(network, weights, example or ()), Wanted(targets, options, to))


@app.command()
def look(
    network: Network,
    weights: Weights = None,
    example: Examples = None,
    lossy: Lossy = False,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also a page with a picture: a name in .html.")
    ] = None,
) -> None:
    """Say what of a network can be removed, what hangs together, and what stays and why."""
    from sapwood.cli.looking import look_at
    from sapwood.cli.owned import Order

    look_at(Order(network, weights, example or ()), lossy=lossy, file=to)


@app.command()
def scan(
    network: Network,
    weights: Weights = None,
    example: Examples = None,
    evaluate: Annotated[
        str, typer.Option(metavar="NAME", help="A function in FILE.py: of the model, it gives a number.")
    ] = "evaluate",
    by: By = "norm",
    share: Annotated[
        list[str] | None, typer.Option(metavar="X", help="A part of a site's units to keep; once for each.")
    ] = None,
    lower: Annotated[bool, typer.Option("--lower", help="A lower number is better, as of a loss.")] = False,
    lossy: Lossy = False,
    cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where numbers are kept; MAKE.scan when left out.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also a picture: .svg, or .html with a table.")
    ] = None,
) -> None:
    """Say what a network is worth when one site alone loses units. An interrupted scan goes on where it was."""
    from sapwood.cli.owned import Order
    from sapwood.cli.scanning import Wanted, scan_with

    shares = tuple(found for text in share or () if (found := typed.number("--share", text)) is not None)
    wanted = Wanted(evaluate, by, shares, lower, lossy, cache, to)
    scan_with(Order(network, weights, example or ()), wanted)


@app.command()
def run(
    study: StudyName,
    scale: Annotated[str, typer.Option(metavar="smoke|small|paper", help="How much of it.")] = "small",
    only: Only = None,
    changes: Changes = None,
    pool: PoolName = None,
    workers: Workers = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    device: Device = "cpu",
    download: Annotated[bool, typer.Option("--download", help="Fetch missing data sets first.")] = False,
    results: Results = Path("results"),
    source: Source = None,
) -> None:
    """Run a study's trials and write its report. Finished trials are not run again, interrupted ones go on.

    Every process computes with one thread: on a busy machine, two can be many times slower than one.
    """
    from sapwood.cli.running import Order, carry_out

    amount, where = typed.choice("--scale", scale, Scale), pool and typed.choice("--pool", pool, Pools)
    number, shares = typed.whole("--workers", workers), (typed.number("--cpus", cpus), typed.number("--gpus", gpus))
    chosen = tuple(only or ()), tuple(changes or ())
    carry_out(Order(study, amount, *chosen, where, number, *shares, device, download, results, source))


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
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them: its options, equation, paper, differences.")
    ] = None,
) -> None:
    """Name what there is, with one line each; with a NAME, say all about that one."""
    if kind is not None and name is not None:
        from sapwood.cli.describing import print_one

        print_one(kind, name)
    else:
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
        str | None,
        typer.Option(metavar="N", help="Samples in every call, for .onnx and .pt2; any number when left out."),
    ] = None,
) -> None:
    """Write a finished trial's network as .safetensors, .onnx or .pt2, compacted, and compare it with what was written.

    A .onnx file needs sapwood[onnx]. A .pt2 file is for torch.export.load, which should be given trusted files only.
    A .swz file is the fewest bytes: the network at full size without its zeros, shared values, the shortest codes.
    """
    from sapwood.cli.smaller import export_to

    export_to(source, to, masked=masked, batch=typed.whole("--batch", batch))


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
            help="criterion, unit_criterion, statistic, unit_gate, gate, method, solver, selector or task; told by "
            "types and names of parameters when left out.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the methods, when their laws are tried."),
    ] = None,
) -> None:
    """Hold what a file defines to the laws of its kind: criteria, gates, methods, solvers, selectors, tasks, ..."""
    from sapwood.cli.checking import check_file

    check_file(file, kind, changes or ())


@app.command()
def new(
    kind: Annotated[str, typer.Argument(metavar="criterion|gate|method", help="What it is.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in Python: my_criterion.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where its two files go.")] = Path(),
) -> None:
    """Begin a criterion, a gate or a method: a small file that works and keeps the laws, and its test."""
    from sapwood.cli.scaffold import begin

    begin(typed.choice("KIND", kind, Family), name, to)
