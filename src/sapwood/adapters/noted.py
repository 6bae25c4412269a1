"""Noted: masks, units and evidence as one text, which the checkpoint of any trainer can hold."""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import NamedTuple

from safetensors.torch import load, save
from torch import Tensor, zeros_like

from sapwood import processes
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
    everybody: bool = True  # whether the evidence is the sum over all processes that train together

    @property
    def mine(self) -> Evidence:
        """This process's share of the evidence, so that the sum over all is what was noted."""
        if self.evidence and not self.everybody:
            raise InputError(
                "the checkpoint was written in the middle of an epoch that is observed, by one of several processes: "
                "what the others saw is not in it; go on from a checkpoint of an epoch's end"
            )
        if processes.rank() == 0:
            return self.evidence
        return {layer: {s: zeros_like(each) for s, each in sums.items()} for layer, sums in self.evidence.items()}


def written(noted: Noted) -> str:
    """The text."""
    tensors = {f"masks/{name}": mask for name, mask in noted.masks.items()}
    tensors |= {f"units/{name}": kept for name, kept in noted.units.items()}
    tensors |= {f"seen/{layer}/{name}": s for layer, sums in noted.evidence.items() for name, s in sums.items()}
    ordered = {f"{at:09}/{name}": each.detach().cpu().clone() for at, (name, each) in enumerate(tensors.items())}
    packed = zlib.compress(save({name: each.contiguous() for name, each in ordered.items()}), 1)
    return f"{VERSION}{noted.last} {noted.watched} {int(noted.everybody)} {b64encode(packed).decode()}"


def read(text: object) -> Noted:
    """What was written; InputError if it was not."""
    if not isinstance(text, str) or not text.startswith(VERSION):
        raise InputError(
            f"the checkpoint notes of the pruning {str(text)[:20]!r}, which this version of sapwood cannot read; go on "
            "with the version that wrote it"
        )
    try:
        last, watched, everybody, packed = text.removeprefix(VERSION).split(" ")
        loaded = load(zlib.decompress(b64decode(packed, validate=True)))
        tensors = {name.partition("/")[2]: loaded[name] for name in sorted(loaded)}  # ties go by the order
        parts = _of("masks", tensors), _of("units", tensors), _evidence(tensors)
        return Noted(int(last), int(watched), *parts, everybody=everybody == "1")
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
