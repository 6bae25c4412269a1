"""The verbs `shrink` and `export`: a trial's network made smaller, and written for use elsewhere."""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from math import ceil
from pathlib import Path

import torch
from torch import nn

from sapwood import codec
from sapwood.cli.trained import Trained, trained
from sapwood.codec import Sizes
from sapwood.errors import InputError
from sapwood.export import save, to_onnx, to_program
from sapwood.extras import installs
from sapwood.measure import flops
from sapwood.shrinking.shrunk import Shrunk
from sapwood.training.loop import measured
from sapwood.training.size import size

NOT_COMPARED = f"not compared, for which onnxruntime is needed; run: {installs('onnxruntime')}"
KINDS = (".safetensors", ".onnx", ".pt2", ".swz")
Row = tuple[str, str, str, str]  # what, before, after, how many times smaller


def shrink_to(source: Path, file: Path) -> None:
    """Compact the network found at `source`, say what that does to its size and its answers, and write it."""
    refuse_bad_file(file, KINDS[:1])
    torch.set_num_threads(1)
    found = trained(source)
    small = found.compacted()
    _tell_rebuilt(found)
    print("\n".join(aligned(_table(found, small.model))))
    print(f"largest difference of the outputs: {small.difference:.1e} (relative, float64)")
    for line in _staying(small):
        print(line)
    save(small.model, file, of=found.original())
    print(f"written: {file} (for sapwood.export.load, whose make is {found.make})")


def export_to(source: Path, file: Path, *, masked: bool, batch: int | None) -> None:
    """Write the network found at `source`, compacted or `masked`, in the format that the file's ending names.

    As .swz it is always at full size: zeros take next to nothing there, and what is left comes back bit by bit.
    """
    refuse_bad_file(file, KINDS)
    if batch is not None and file.suffix in (".safetensors", ".swz"):
        raise InputError(f"--batch {batch} is for .onnx and .pt2; {file} takes any batch, leave it out")
    hush()
    torch.set_num_threads(1)
    found = trained(source)
    _tell_rebuilt(found)
    if file.suffix == ".swz":
        print("\n".join(_coded(codec.save(found.model, file, masks=found.masks))))
        print(f"written: {file} (for sapwood.codec.load, whose make is {found.make_this})")
        return
    network = found.masked() if masked else found.compacted().model
    if file.suffix == ".safetensors":
        save(network, file, of=found.original())
    else:
        write = to_onnx if file.suffix == ".onnx" else to_program
        apart = write(network, found.example(batch or 2), file, batch=batch)
        where = "ONNX Runtime" if file.suffix == ".onnx" else "torch.export"
        told = NOT_COMPARED if apart is None else f"{apart:.1e} (relative)"
        print(f"largest difference between {where} and the network: {told}")
    print(f"written: {file}")


def _tell_rebuilt(found: Trained) -> None:
    """What the network's method has made of the one that it began with, where it has rebuilt it."""
    if found.rebuilt:
        was, now = (size(model, found.example(1)) for model in (found.original(), found.model))
        print(
            f"its method rebuilt it: {now.parameters:,} of {was.parameters:,} parameters and {now.macs:,} of "
            f"{was.macs:,} MACs are left"
        )


def hush() -> None:
    """Keep torch's notes on packages that a network does not need, such as torchvision, off the terminal."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def refuse_bad_file(file: Path, kinds: Iterable[str]) -> None:
    """Asked before anything is computed."""
    if file.suffix not in kinds:
        raise InputError(
            f"--to {file} ends in {file.suffix or 'nothing'!r}; give a name that ends in {' or '.join(kinds)}"
        )
    if not os.path.isdir(file.parent):
        raise InputError(f"--to {file}: there is no folder {file.parent}; make it first")
    if os.path.isdir(file):
        raise InputError(f"--to {file} is a folder; give the name of a file")


def _table(found: Trained, small: nn.Module) -> list[Row]:
    before, task = found.masked(), found.task
    rows: list[Row] = [("", "masked", "smaller", "")]
    rows.append(_sizes("parameters", *(sum(p.numel() for p in model.parameters()) for model in (before, small))))
    rows.append(_sizes("bytes", *(_bytes(model) for model in (before, small))))
    try:
        rows.append(_sizes("MACs", *(flops(model, found.example(1), sparse=False) // 2 for model in (before, small))))
    except InputError:
        rows.append(("MACs", "not counted", "not counted", ""))
    answers = [measured(model, task, task.data.test) for model in (before, small)]
    return rows + [
        (f"test {name}", f"{value:.4f}", f"{answers[1][name]:.4f}", "") for name, value in answers[0].items()
    ]


def _sizes(what: str, before: int, after: int) -> Row:
    return what, f"{before:,}", f"{after:,}", f"{before / after:.2f} times smaller" if after else ""


def _bytes(model: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in chain(model.parameters(), model.buffers()))


def _coded(sizes: Sizes) -> list[str]:
    """What every tensor takes in the file, and the whole of it."""
    rows: list[Row] = [("", "entries", "bytes", "  as")]
    for each in sizes.stored:
        values = (
            f"  {each.layout}"
            + f", {each.values} values" * bool(each.values)
            + "".join(f", {coder}" for coder in dict.fromkeys(each.coders))
        )
        rows.append((each.name, f"{each.entries:,}", f"{each.bytes:,}", values))
    rows.append(("names and the like", "", f"{sizes.bytes - sum(each.bytes for each in sizes.stored):,}", ""))
    rows.append(("the file", "", f"{sizes.bytes:,}", f"  {sizes.fold:.2f} times smaller than {sizes.dense:,}"))
    coded, bound = sum(each.coded for each in sizes.stored), sum(each.entropy for each in sizes.stored)
    tables = sum(each.table for each in sizes.stored)
    more = (
        f"Codes take {-(-coded // 8):,} of these bytes, where the entropy of their symbols is {ceil(bound / 8):,}; "
        f"tables of Huffman's codes take {tables:,}"
    )
    return [*aligned(rows), more] if coded else aligned(rows)


def aligned(rows: list[Row]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    return [f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]


def _staying(small: Shrunk) -> list[str]:
    """Useless units that could not go, by reason."""
    reasons = Counter(stays.because for stays in small.staying)
    return [f"{number} useless units stay: {because}" for because, number in reasons.most_common()]
