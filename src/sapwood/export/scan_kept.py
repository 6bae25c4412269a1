"""What a scan has measured, kept in a file by content: what network, which units were gone, what was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isclose
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sapwood import disk, schema
from sapwood.errors import InputError
from sapwood.processes import digest
from sapwood.training import checkpoint

SAME = 1e-6  # relative: how near the whole network's number must be to the kept one
FORMAT = schema.record(
    {"network": schema.text, "whole": schema.number, "values": schema.mapping(schema.mapping(schema.number))}
)


@dataclass
class Kept:
    """Numbers of one network: that of all of it, and {site and order of its units: {units kept: number}}."""

    path: Path | None
    network: str
    whole: float
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    added: int = 0

    def add(self, name: str, count: int, value: float) -> None:
        """Note a number, and write all to the file if there is one."""
        self.values.setdefault(name, {})[str(count)] = value
        self.added += 1
        if self.path is not None:
            found = {"network": self.network, "whole": self.whole, "values": self.values}
            checkpoint.write(self.path, {"scan": found})

    def get(self, name: str, count: int) -> float | None:
        """What is known of a site with so many units."""
        return self.values.get(name, {}).get(str(count))


def kept_of(path: Path | None, model: nn.Module, whole: float) -> Kept:
    """What a file knows of this network; nothing if it is of another one, or if the whole one gives another number."""
    network = digest({name: t.detach() for name, t in model.state_dict().items() if isinstance(t, Tensor)}).hex()
    found = None if path is None else read_scan(path)
    if found is None or found["network"] != network or not isclose(found["whole"], whole, rel_tol=SAME):
        return Kept(path, network, whole)
    return Kept(path, network, whole, {name: dict(each) for name, each in found["values"].items()})


def read_scan(path: Path) -> Mapping[str, Any] | None:
    """What a file holds, None where there is none; InputError if it is no scan."""
    if not disk.there(path):
        return None
    saved: Any = checkpoint.read(path).get("scan")
    try:
        FORMAT(saved, "it")
    except schema.Unexpected as error:
        raise InputError(f"{path} holds no scan ({schema.brief(error)}); delete it, or give another cache=") from error
    found: Mapping[str, Any] = saved
    return found


def in_order(name: str, order: Tensor) -> str:
    """A site's name in the file, with the order in which its units go."""
    return f"{name} {blake2b(order.cpu().contiguous().numpy().tobytes(), digest_size=6).hexdigest()}"
