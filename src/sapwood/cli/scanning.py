"""The verb `scan`: what each site of a network of the user's own is worth, as a function of theirs says it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sapwood.cli.owned import Order, said
from sapwood.cli.smaller import refuse_bad_file
from sapwood.errors import InputError
from sapwood.export.scan import KINDS
from sapwood.export.scan_kept import read_scan
from sapwood.export.scanning import SHARES, sensitivity
from sapwood.export.worth import looks_at_data


@dataclass(frozen=True)
class Wanted:
    """What was typed about the scan."""

    evaluate: str  # the function's name
    by: str
    shares: tuple[float, ...]
    lower: bool
    lossy: bool
    cache: Path | None
    file: Path | None


def scan_with(order: Order, wanted: Wanted) -> None:
    """Scan the network, print the table, write the picture. What was typed wrongly is said before anything runs."""
    if looks_at_data(wanted.by):
        raise InputError(f"--by {wanted.by} looks at data, which a file of Python has: use sapwood.sensitivity there")
    if wanted.file is not None:
        refuse_bad_file(wanted.file, KINDS)
    cache = wanted.cache or Path(f"{order.name}.scan")
    read_scan(cache)
    evaluate, found = order.function(wanted.evaluate), order.made()
    if order.weights is None:
        print(f"no --weights: the numbers are those that {order.name} gives")
    options: dict[str, Any] = {"higher": not wanted.lower, "lossy": wanted.lossy, "by": wanted.by, "cache": cache}
    shares = wanted.shares or SHARES
    asked = _counting(evaluate, f"{order.source.rpartition(':')[0]}:{wanted.evaluate}")
    scan = sensitivity(found.model, found.example, asked, shares=shares, **options)
    print(scan)
    print(f"kept: {cache}, by which the same scan goes on, or asks for next to nothing")
    if wanted.file is not None:
        scan.draw(wanted.file)
        print(f"written: {wanted.file}")


def _counting(evaluate: Callable[..., Any], name: str) -> Callable[[nn.Module], Any]:
    """The same function; in a terminal it says how often it has been asked. That it fails is told by its name."""
    asked = 0

    def ask(model: nn.Module) -> Any:
        nonlocal asked
        asked += 1
        if sys.stderr.isatty():
            print(f"\r{asked} asked", end="", file=sys.stderr, flush=True)
        try:
            return evaluate(model)
        except Exception as error:
            raise InputError(f"{name} fails: {said(error)}; mend it, or see where with --traceback") from error

    return ask
