"""Laws of checkpoints: what goes in comes out, a damaged file is refused, a failed write leaves the old file."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.errors import InputError
from sapwood.training import checkpoint

Tree = dict[str, Any]


def check_checkpoint() -> list[Result]:
    """The laws of checkpoints, tried on the way this version writes them."""
    return tried(laws())


def laws() -> Laws:
    """The laws of checkpoints, not yet tried."""
    bodies: dict[str, Callable[[], None]] = {
        "what goes in comes out: values, types, shapes, order": _there_and_back,
        "a file with any byte changed is refused": _changed,
        "a file that is cut short, or foreign, is refused": _cut_short,
        "a write that fails leaves the old file and nothing else": _failed_write,
        "equal trees have one fingerprint, unequal ones have two": _fingerprints,
    }
    return {f"checkpoint: {law}": body for law, body in bodies.items()}


def _tree() -> Tree:
    luck = torch.Generator().manual_seed(0)
    return {
        "w": torch.randn(3, 2, generator=luck, dtype=torch.float64),
        "view": torch.randn(4, 3, generator=luck).T,
        "mask": torch.tensor([[True, False], [False, True]]),
        "nothing": torch.empty(0, 5),
        "scalar": torch.tensor(-0.0),
        "numbers": {"step": 7, "loss": 0.1 + 0.2, "best": math.inf, "yes": True, "none": None},
        "by number": {1: {"exp_avg": torch.zeros(2)}, 0: {"step": torch.tensor(3.0)}},
        "one path": {"a/b": torch.zeros(1), "a": {"b": torch.ones(1)}, 7: torch.ones(2), "7": torch.zeros(2)},
        "lists": [1, [2.5, "drei"], (4, torch.ones(2, dtype=torch.bfloat16)), {}, []],
        "words": "Grüße, __tensor__ \n",
    }


def _there_and_back() -> None:
    tree, found = _tree(), Tree()
    try:
        found = checkpoint.decode(checkpoint.encode(tree))
    except InputError as error:
        demand(False, f"{tree} was refused: {error}")
    demand(_same(tree, found), f"{tree} came back as {found}")


def _same(a: Any, b: Any) -> bool:
    """Equal in type, value and order; tensors in type, shape and bits."""
    if isinstance(a, Tensor):
        alike = isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return alike and torch.equal(a, b) and torch.equal(a.signbit(), b.signbit())
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _changed() -> None:
    content = checkpoint.encode(_tree())
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1
        demand_refused(partial(checkpoint.decode, bytes(damaged)), f"a file with byte {at} changed")


def _cut_short() -> None:
    content = checkpoint.encode(_tree())
    for length in (0, 1, 8, 9, len(content) // 2, len(content) - 1):
        demand_refused(partial(checkpoint.decode, content[:length]), f"{length} of {len(content)} bytes")
    demand_refused(partial(checkpoint.decode, b"PK\x03\x04" + b"\0" * 500), "another kind of file")


def _failed_write() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        checkpoint.write(path, {"step": 1})
        with patch("os.replace", side_effect=OSError("disk full")):
            demand_refused(partial(checkpoint.write, path, {"step": 2}), "a failing disk")
        demand_refused(partial(checkpoint.write, path, {"step": object()}), "an object")
        demand(checkpoint.read(path) == {"step": 1}, "the old file has gone")
        demand([p.name for p in Path(folder).iterdir()] == ["state"], "something was left beside it")


def _fingerprints() -> None:
    tree = _tree()
    same = checkpoint.fingerprint(_tree()) == checkpoint.fingerprint(tree)
    demand(same, "two equal trees have two fingerprints")
    other = [
        tree | {"scalar": torch.tensor(0.0)},
        tree | {"mask": tree["mask"].to(torch.uint8)},
        tree | {"nothing": torch.empty(5, 0)},
        tree | {"words": "Grüße"},
        {**{k: v for k, v in tree.items() if k != "w"}, "v": tree["w"]},
    ]
    for changed in other:
        demand(checkpoint.fingerprint(changed) != checkpoint.fingerprint(tree), "two trees have one fingerprint")
