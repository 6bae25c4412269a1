"""Maps: where the weights of a study's networks are not 0.

Seen in the weights of finished trials where these are; else in one small file of bits, which can be kept where a
study's weights are too much to keep.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sapwood import disk, schema
from sapwood.errors import InputError, unknown
from sapwood.study.table import Table, final
from sapwood.training import checkpoint
from sapwood.trials.folder import finished, weights_of

FILE = "maps.safetensors"

PACKED = schema.record({
    "shape": schema.items(schema.whole(0, 2**31), least=2),
    "bits": lambda bits, where: schema.demand(
        isinstance(bits, torch.Tensor) and bits.dtype is torch.uint8, where, bits, "a tensor of bytes"
    ),
})  # fmt: skip
Map = NDArray[np.bool_]  # [outputs, inputs], inputs times kernel positions; True: not 0


def maps(rows: Table, folder: Path, labels: Collection[str] | None = None) -> dict[str, dict[str, Map]]:
    """Maps of the weights, {arm: {parameter: map}}, from each arm's trial with the lowest seed of all.

    Read from the trial's weights in `folder`, else from `maps.safetensors` there; an arm that neither has is left out.
    """
    kept = _kept(folder / FILE)
    trials = _first(rows)
    wanted = trials if labels is None else [label for label in labels if label in trials]
    found = {label: _seen(folder / trials[label]) or kept.get(trials[label]) for label in wanted}
    return {label: each for label, each in found.items() if each}


def keep_maps(rows: Table, folder: Path, path: Path, labels: Collection[str], parameters: Collection[str]) -> None:
    """Write the maps of these parameters of these arms, seen in the weights in `folder`, to `path`: a bit a weight."""
    trials = _first(rows)
    kept = {}
    for label in labels:
        seen = _seen(folder / trials[label]) if label in trials else {}
        if not seen:
            raise InputError(f"arm {label!r} has no finished trial with weights in {folder}; run it, or leave it out")
        if strangers := [name for name in parameters if name not in seen]:
            raise unknown(f"weight matrix of arm {label!r}:", strangers[0], seen)
        kept[trials[label]] = {name: _packed(seen[name]) for name in parameters}
    checkpoint.write(path, {"maps": kept})


def _first(rows: Table) -> dict[str, str]:
    """Each arm's finished trial with the lowest seed of all, so that maps side by side are of one seed."""
    over = final(rows)
    lowest = min((row["seed"] for row in over), default=0)
    return {row["row"]: row["trial"] for row in over if row["seed"] == lowest}


def _seen(trial: Path) -> dict[str, Map]:
    """The maps of a finished trial's weights, masks applied; none without them."""
    if not finished(trial):
        return {}
    saved = weights_of(trial)
    masks = saved["masks"]
    matrices = {name: w * masks[name] if name in masks else w for name, w in saved["model"].items() if w.ndim > 1}
    return {name: (w.flatten(1) != 0).numpy() for name, w in matrices.items()}


def _packed(alive: Map) -> dict[str, Any]:
    return {"shape": list(alive.shape), "bits": torch.from_numpy(np.packbits(alive))}


def _kept(path: Path) -> dict[str, dict[str, Map]]:
    """What `keep_maps` wrote, by trial; nothing without the file."""
    if not disk.there(path):
        return {}
    saved = checkpoint.read(path).get("maps")
    if not isinstance(saved, dict) or not all(isinstance(each, dict) for each in saved.values()):
        raise InputError(f"{path} is a checkpoint but holds no maps; delete it, or make it again with keep_maps")
    return {trial: {name: _unpacked(path, name, each) for name, each in maps.items()} for trial, maps in saved.items()}


def _unpacked(path: Path, name: str, packed: Mapping[str, Any]) -> Map:
    try:
        PACKED(packed, "it")
        (outputs, inputs), bits = packed["shape"], packed["bits"]
        schema.demand(
            bits.dim() == 1 and len(bits) == -(-outputs * inputs // 8), "shape", packed["shape"], "that of its bits"
        )
    except (schema.Unexpected, ValueError) as error:
        raise InputError(f"the map of {name!r} in {path} cannot be read ({error}); make it again") from error
    return np.unpackbits(bits.numpy(), count=outputs * inputs).reshape(outputs, inputs).astype(bool)
