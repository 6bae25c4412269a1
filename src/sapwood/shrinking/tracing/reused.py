"""Reused: one copy of a model that is run again and again; what a run changes about it is put back afterwards.

To copy a model takes as long as many a run of it without numbers. So all that a copy has of its own is noted once, and
after every run it is as it was. Where something is held that cannot be looked into, each run gets a copy of its own.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

SHARED = (  # what `deepcopy` gives a copy as it is
    type(None), bool, int, float, complex, str, bytes, type, range, Enum, FunctionType, BuiltinFunctionType, ref,
    torch.dtype, torch.device, torch.layout, torch.memory_format, torch._ops.OpOverload, torch._ops.OpOverloadPacket,
)  # fmt: skip
FILLED = (list, dict, set, OrderedDict, defaultdict, Counter, deque)


class Notes:
    """All that a copy of a model has of its own, as it is now; `whole` unless something cannot be looked into."""

    def __init__(self, model: nn.Module) -> None:
        self.whole = True
        self._known = dict[int, Any]()  # the things too, so that no other gets the number of one that is gone
        self._held = list[tuple[Any, type, dict[str, Any]]]()
        self._filled = list[tuple[Any, Any]]()
        self._data = list[tuple[Tensor, Tensor, bool]]()
        self._see(model)

    def lend(self) -> None:
        """Give buffers, and what else has numbers and is no parameter, numbers that may be written to."""
        for tensor, data, _ in self._data:
            if not (tensor.is_meta or isinstance(tensor, nn.Parameter)):
                tensor.data = data.clone()

    def put_back(self) -> None:
        """Make everything as it was."""
        for thing, kind, content in self._held:
            if type(thing) is not kind:
                thing.__class__ = kind
            vars(thing).clear()
            vars(thing).update(content)
        for thing, content in self._filled:
            thing.clear()
            (thing.extend if isinstance(thing, list | deque) else thing.update)(content)
        for tensor, data, trained in self._data:
            tensor.data, tensor.requires_grad = data, trained

    def _see(self, thing: Any) -> None:
        if isinstance(thing, SHARED) or id(thing) in self._known:
            return
        self._known[id(thing)] = thing
        for part in self._parts(thing):
            self._see(part)

    def _parts(self, thing: Any) -> list[Any]:
        kind = type(thing)
        if kind in FILLED:
            self._filled.append((thing, thing.copy()))
            return list(thing.values() if isinstance(thing, dict) else thing)
        if kind in (tuple, frozenset, torch.Size) or (isinstance(thing, tuple) and hasattr(kind, "_fields")):
            return list(thing)
        if kind is MethodType:
            return [thing.__self__]
        if kind is partial:
            return [thing.func, thing.args, thing.keywords]
        if kind in (Tensor, nn.Parameter) and not thing._is_view():
            self._data.append((thing, thing.data, thing.requires_grad))
        elif not _is_plain(thing):
            self.whole = False
            return []
        self._held.append((thing, kind, dict(vars(thing))))
        return list(vars(thing).values())


def _is_plain(thing: Any) -> bool:
    """Whether `deepcopy` copies the attributes of a thing, and nothing else."""
    kind = type(thing)
    if hasattr(kind, "__deepcopy__") or not hasattr(thing, "__dict__"):
        return False
    try:
        made, of, state, *rest = (*thing.__reduce_ex__(2), None, None, None)[:5]
    except Exception:  # any object may refuse in its own way
        return False
    return made.__name__ == "__newobj__" and of == (kind,) and rest == [None, None] and isinstance(state, dict | None)


class Reused:
    """The copy that `make` gives, or a `ready` one, for one run after another.

    Its parameters may be given other numbers, as by a cut; numbers in place are the caller's to make first.
    """

    def __init__(self, make: Callable[[], nn.Module], ready: nn.Module | None = None) -> None:
        self._make = make
        notes = None if ready is None else Notes(ready)
        self._ready = (ready, notes) if ready is not None and notes is not None and notes.whole else None

    @contextmanager
    def fresh(self) -> Iterator[nn.Module]:
        """The copy as it was made; inside of another use, or where it cannot be put back, a new one."""
        (copy, notes), self._ready = self._ready or self._new(), None
        notes.lend()
        try:
            yield copy
        finally:
            if notes.whole:
                notes.put_back()
                self._ready = copy, notes

    def _new(self) -> tuple[nn.Module, Notes]:
        copy = self._make()
        return copy, Notes(copy)
