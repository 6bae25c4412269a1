"""Noted: masks, units and evidence as one text, which the checkpoint of any trainer can hold."""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import NamedTuple

from safetensors.torch import load, save
from torch import Tensor

from sapwood.currency import Keep, Masks
from sapwood.errors import InputError
from sapwood.scoring.evidence import Evidence
from sapwood.scoring.statistics import STATISTICS

VERSION = "1 "


class Noted(NamedTuple):
    """What a callback goes on with: how many epochs were over when it last pruned, and what was seen since."""

    last: int
    watched: int  # the epoch that the evidence is of
    masks: Masks
    units: Keep
    evidence: Evidence


def written(noted: Noted) -> str:
    """The text."""
    tensors = {f"masks/{name}": mask for name, mask in noted.masks.items()}
    tensors |= {f"units/{name}": kept for name, kept in noted.units.items()}
    tensors |= {f"seen/{layer}/{name}": s for layer, sums in noted.evidence.items() for name, s in sums.items()}
    packed = zlib.compress(save({name: each.detach().cpu().clone().contiguous() for name, each in tensors.items()}), 1)
    return f"{VERSION}{noted.last} {noted.watched} {b64encode(packed).decode()}"


def read(text: object) -> Noted:
    """What was written; InputError if it was not."""
    if not isinstance(text, str) or not text.startswith(VERSION):
        raise InputError(
            f"the checkpoint notes of the pruning {str(text)[:20]!r}, which this version of sapwood cannot read; go on "
            "with the version that wrote it"
        )
    try:
        last, watched, packed = text.removeprefix(VERSION).split(" ")
        tensors = load(zlib.decompress(b64decode(packed, validate=True)))
        return Noted(int(last), int(watched), _of("masks", tensors), _of("units", tensors), _evidence(tensors))
    except Exception as error:  # of four libraries, whose errors say nothing about the checkpoint
        raise InputError(
            f"what the checkpoint notes of the pruning is damaged ({error}); go on from another checkpoint"
        ) from error


def _of(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{kind}/"): each for name, each in tensors.items() if name.startswith(f"{kind}/")}


def _evidence(tensors: Mapping[str, Tensor]) -> Evidence:
    found: Evidence = {}
    for name, each in _of("seen", tensors).items():
        layer, _, statistic = name.rpartition("/")
        found.setdefault(layer, {})[STATISTICS.get(statistic, statistic)] = each
    return found
