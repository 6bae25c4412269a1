"""Evidence: what one layer shows in a pass, the statistics that sum it up, and the sums.

Shape suffixes: N samples times positions, I inputs times kernel positions, O outputs.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.scoring.layout import columns, matrix, rows


@dataclass(eq=False)
class Sight:
    """What one layer showed in one call, in one canonical shape whatever the layer's type, without its graph.

    y_NO, the outputs before the activation function, has one row per sample and position; x_NI, made when asked for,
    one column per weight an output reads. `gw_OI` belongs to a whole batch: of several calls the first one holds it.
    """

    layer: nn.Module | None  # None: a parameter that belongs to no such layer
    x: Tensor | None
    y: Tensor | None
    gy: Tensor | None = None  # d(sum of the samples' losses) / dy, for statistics that look backward
    gw: Tensor | None = None  # the same of the weight
    why: str = "this statistic needs gradients; use observe(..., loss=...)"  # why what is None cannot be seen
    wanted: Tensor | None = None  # what the layer of this name in the original network gave for the same samples
    _y_NO: Tensor | None = None  # cached_property takes a lock, which every step of training would wait for

    @property
    def y_NO(self) -> Tensor:
        """Outputs before the activation function, [N, O]."""
        if self._y_NO is None:
            self._y_NO = rows(self._layer, self._there(self.y).detach())
        return self._y_NO

    @cached_property
    def x_NI(self) -> Tensor:
        """Inputs, [N, I]: what each output position multiplies with its weights."""
        x_NI = columns(self._layer, self._there(self.x).detach())
        if len(x_NI) != len(self.y_NO):
            raise InputError(f"{self.layer} made {len(self.y_NO)} outputs where {len(x_NI)} follow from its inputs")
        return x_NI

    @cached_property
    def wanted_NO(self) -> Tensor:
        """What the original network's layer gave for the same samples, [N, O]; this one's outputs if none was named."""
        if self.wanted is None:
            return self.y_NO
        wanted_NO = rows(self._layer, self.wanted.detach())
        if len(wanted_NO) != len(self.y_NO):
            raise InputError(f"{self.layer} gave {len(self.y_NO)} outputs where the original gave {len(wanted_NO)}")
        return wanted_NO

    @cached_property
    def gy_NO(self) -> Tensor:
        """The outputs' gradients, [N, O]."""
        return rows(self._layer, self._there(self.gy))

    @cached_property
    def gw_OI(self) -> Tensor:
        """The weight's gradient, summed over all its uses in the batch, [O, I]."""
        return matrix(self.layer, self._there(self.gw).detach())

    @property
    def _layer(self) -> nn.Module:
        if self.layer is None:
            raise InputError(self.why)
        return self.layer

    def _there(self, tensor: Tensor | None) -> Tensor:
        if tensor is None:
            raise InputError(self.why)
        return tensor


class Statistic(str):
    """A sum over samples of something a layer sees. It equals its name, so evidence can be saved by name.

    Law: of(a ++ b) = of(a) + of(b) for any split of the samples.
    """

    of: Callable[[Sight], Tensor]
    backward: bool
    of_weight: bool  # looks at gw_OI only, so that nobody has to see the layer's calls
    wants: bool  # looks at wanted_NO
    rows: Callable[[Sight], Tensor] | None  # for counts: 0 or 1 for each row, see `statistics.counting`

    def __new__(
        cls,
        name: str,
        of: Callable[[Sight], Tensor],
        backward: bool = False,
        of_weight: bool = False,
        wants: bool = False,
    ) -> "Statistic":
        self = super().__new__(cls, name)
        self.wants = wants
        self.of, self.backward, self.of_weight, self.rows = of, backward, of_weight, None
        return self


def counted(rows: Tensor) -> Tensor:
    """How many ones each column of `rows` has."""
    return rows.sum(0, dtype=torch.float64).to(torch.int64)


class Sums(MutableMapping[str, Tensor]):
    """What one layer has shown, {statistic: sum}; exact whenever somebody looks.

    Adding up a batch's rows costs more than finding what to count, so counts are kept row by row, [N, O], until they
    are read, a batch has another size, or the outputs' type could no longer hold them.
    """

    MOST = 256  # ones that any type of two bytes or more adds up exactly, bfloat16 too

    def __init__(self, sums: Mapping[str, Tensor]) -> None:
        self._sums = dict(sums)
        self._pending: dict[Statistic, Tensor] = {}
        self._passes = 0

    def see(self, statistic: Statistic, sight: Sight) -> None:
        """Add what the layer showed in one pass."""
        if statistic.rows is None or _touched is not None:
            _add_to(self._sums, statistic, statistic.of(sight))
            touched(self._sums, str(statistic), self._sums[statistic])
            return
        ones, before = statistic.rows(sight), self._pending.get(statistic)
        if before is not None and before.shape == ones.shape and self._passes < self.MOST:
            before += ones
        elif ones.element_size() == 1:
            _add_to(self._sums, statistic, counted(ones))
        else:
            if before is not None:
                self.settled()
            self._pending[statistic] = ones
        self._passes += 1

    def settled(self) -> dict[str, Tensor]:
        """The sums, with nothing pending."""
        for statistic, ones in self._pending.items():
            _add_to(self._sums, statistic, counted(ones))
        self._pending.clear()
        self._passes = 0
        return self._sums

    def __getitem__(self, statistic: str) -> Tensor:
        return self.settled()[statistic]

    def __setitem__(self, statistic: str, value: Tensor) -> None:
        self.settled()[statistic] = value

    def __delitem__(self, statistic: str) -> None:
        del self.settled()[statistic]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settled())

    def __len__(self) -> int:
        return len(self.settled())


def _add_to(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    # The first is copied: it may be a piece of the layer's own output, which others go on using.
    sums[str(name)] = sums[name].add_(value.detach()) if name in sums else value.detach().clone()


Touched = tuple[Mapping[str, Any], str, Any]  # what had been found under a name where
_touched: list[Touched] | None = None


@contextmanager
def straight(noted: list[Touched]) -> Iterator[None]:
    """Inside, every sum is added to where it lies, with nothing pending; which ones these are is noted."""
    global _touched
    _touched = noted
    try:
        yield
    finally:
        _touched = None


def touched(holder: Mapping[str, Any], name: str, thing: Any) -> None:
    """What `holder` has under this name was added to."""
    if _touched is not None:
        _touched.append((holder, name, thing))


Evidence = dict[str, MutableMapping[str, Tensor]]  # layer name -> statistic -> its sum


class Adds(NamedTuple):
    """What a hook of `observing` adds to, and in which passes: for who sums up several models' layers at once."""

    name: str
    statistics: tuple[Statistic, ...]
    evidence: Evidence
    training: bool | None


def settled(evidence: Evidence) -> Evidence:
    """The same in plain dicts: nothing is pending and nothing goes on being added."""
    return {name: sums.settled() if isinstance(sums, Sums) else sums for name, sums in evidence.items()}
