"""The verb `prune`: a network of the user's own made smaller and written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sapwood.cli.owned import Order, Owned
from sapwood.cli.smaller import NOT_COMPARED, hush, refuse_bad_file
from sapwood.errors import InputError
from sapwood.export import to_onnx, to_program
from sapwood.export.engines import engine_of
from sapwood.export.network import put
from sapwood.export.pruning import prune
from sapwood.export.samples import samples_of
from sapwood.export.targets import target_of
from sapwood.export.worth import looks_at_data

KINDS = (".safetensors", ".onnx", ".pt2")


@dataclass(frozen=True)
class Wanted:
    """What was typed about the smaller network."""

    targets: dict[str, float | None]
    options: dict[str, Any]  # of `prune`, without the target
    file: Path | None


def prune_to(order: Order, wanted: Wanted) -> None:
    """Prune the network, print the table, write the file. Whatever was typed wrongly is said before anything runs."""
    target_of(**wanted.targets)
    engine_of(wanted.options["engine"])
    if looks_at_data(wanted.options["by"]):
        raise InputError(
            f"--by {wanted.options['by']} looks at data, which a file of Python has: use sapwood.prune there"
        )
    if wanted.file is not None:
        refuse_bad_file(wanted.file, KINDS)
    torch.set_num_threads(wanted.options["threads"])
    found = order.made()
    if order.weights is None:
        print(f"no --weights: the numbers are those that {order.name} gives")
    asked: dict[str, Any] = {**wanted.targets, **wanted.options}
    pruned = prune(found.model, found.example, **asked)
    print(pruned)
    if wanted.file is not None:
        print(_written(pruned.model, wanted.file, found, order))


def _written(small: torch.nn.Module, file: Path, found: Owned, order: Order) -> str:
    """Write the network in the format that the file's ending names, and say what was compared and how it is read."""
    if file.suffix == ".safetensors":
        put(small, file, of=found.model)  # which the function that was typed builds, at whatever size
        return f"written: {file}, for sapwood.export.load({str(file)!r}, {order.name})"
    hush()
    write = to_onnx if file.suffix == ".onnx" else to_program
    try:
        apart, batch = write(small, found.example, file), "any batch"
    except InputError:  # sizes that hang on the example's
        apart = write(small, found.example, file, batch=samples_of(found.example))
        batch = "the example's batch"
    told = NOT_COMPARED if apart is None else f"compared: {apart:.0e} apart (relative)"
    return f"written: {file}, for {batch}; {told}"
