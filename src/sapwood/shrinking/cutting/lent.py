"""Lent: large weights in a wide type while an operator reads them, so that a proof holds no second model.

A parameter is empty meanwhile: one number, expanded to the parameter's shape. What an operator reads is made then, from
the model's own numbers: widened, stirred, zeroed or cut. A few that were made last are kept.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.shrinking.tracing.computed import sources

T = TypeVar("T")
ENOUGH = 2**26  # bytes: what is not larger in the wide type is widened as a whole, and that much made is kept
LEAST = 2**12  # numbers of a parameter
BLOCK = 2**20  # numbers that are made at a time
WHOLE, SMALL = 0.731, -1.377  # all that is in an empty one: whatever reads it in spite of all gives different outputs
NOISE = 3  # the first seed
LENT = "_sapwood_lent"  # what the memory of numbers that are made is marked with
STRIDED = (torch.ops.aten.as_strided.default, torch.ops.aten._reshape_alias.default)


class Blind(InputError):
    """The original gives no finite number, so that nothing could differ."""


class Unlendable(Exception):
    """Code writes to a weight that is not there."""


@dataclass
class Loan:
    """How the numbers of a parameter are made."""

    own: Tensor  # the model's, never written to
    number: int  # names its noise
    stirred: tuple[float, float] | None = None  # a factor for all numbers, the size of the noise
    zeroed: list[tuple[int, Tensor, bool]] = field(default_factory=list)  # dimension, bool [size]; to 0, else to noise
    staying: Mapping[int, Tensor] = field(default_factory=dict)  # {dimension: bool [size]}; what a cut leaves
    empty: Tensor | None = None  # what stands in its place: while it is held, its memory is nobody else's

    @property
    def shape(self) -> list[int]:
        """What is left of its shape."""
        return [int(self.staying[d].sum()) if d in self.staying else n for d, n in enumerate(self.own.shape)]

    def stir_(self, ordinary: Callable[[Tensor, float], float]) -> None:
        """From now on of ordinary size, which follows from the numbers and the size that they have, and noisy."""
        size = float(torch.linalg.vector_norm(self.own, dtype=torch.float64)) / self.own.numel() ** 0.5
        wanted = ordinary(self.own, size)
        self.stirred = wanted / size if size > 0 else 1.0, 0.5 * wanted

    def made(self, dtype: torch.dtype) -> Tensor:
        """The numbers, of the shape that is left, block of rows after block."""
        rest = {dim: keep.nonzero().flatten().to(self.own.device) for dim, keep in self.staying.items()}
        out, done = torch.empty(self.shape, dtype=dtype, device=self.own.device), 0
        rows = max(1, BLOCK * len(self.own) // self.own.numel())
        for number, start in enumerate(range(0, len(self.own), rows)):
            block = self._changed(self.own[start : start + rows].to(dtype, copy=True), start, number)
            for dim, keep in self.staying.items():
                at = keep[start : start + rows].nonzero().flatten().to(block.device) if dim == 0 else rest[dim]
                block = block.index_select(dim, at)
            out[done : done + len(block)] = block
            done += len(block)
        return out

    def _changed(self, block: Tensor, start: int, number: int) -> Tensor:
        generator = torch.Generator(block.device).manual_seed(NOISE + (self.number << 20) + number)
        if self.stirred is not None:
            noise = torch.randn(block.shape, generator=generator, dtype=torch.float32, device=block.device)
            block.mul_(self.stirred[0]).add_(noise, alpha=self.stirred[1])
        for dim, gone, zero in self.zeroed:
            at = (gone[start : start + len(block)] if dim == 0 else gone).nonzero().flatten().to(block.device)
            values = block.movedim(dim, 0)
            if zero:
                values.index_fill_(0, at, 0.0)
            else:
                shape = len(at), *values.shape[1:]
                noise = torch.rand(shape, generator=generator, dtype=torch.float32, device=block.device)
                values.index_copy_(0, at, (noise + 0.5).to(values))
        return block


class Lent:
    """The loans of a pair of networks, by the memory of the empty parameters."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        numbers = [(p.numel(), p.element_size(), _narrow(p, dtype)) for p in model.parameters()]
        self.dtype, self.most = dtype, max(ENOUGH, sum(count * size for count, size, _ in numbers) // 4)
        wide = sum(count * dtype.itemsize for count, _, narrow in numbers if narrow)
        self.worth_it = dtype is torch.float64 and wide > ENOUGH
        self._loans, self._made, self._now = dict[int, Loan](), dict[int, Tensor](), set[int]()  # made last: at the end

    def take_(self, model: nn.Module, but: Container[str]) -> None:
        """Empty the parameters of a copy on the model's numbers, those named in `but` and small ones aside."""
        apart = {id(p) for p in sources(model)}
        apart |= {id(p) for name, p in model.named_parameters(remove_duplicate=False) if name in but}
        for number, p in enumerate(model.parameters()):
            if id(p) not in apart and p.dim() > 1 and p.numel() >= LEAST and _narrow(p, self.dtype):
                self._empty_(p, Loan(p.data, number), WHOLE)

    def cut_(self, small: nn.Module, whole: nn.Module, places: Mapping[str, Mapping[int, Tensor]]) -> None:
        """Empty those of the smaller network, whose parameters have their new shapes, after those of the whole one."""
        staying = {id(p): places[n] for n, p in small.named_parameters(remove_duplicate=False) if n in places}
        for p, like in zip(small.parameters(), whole.parameters(), strict=True):
            if (loan := self.of(like)) is not None:
                shape = p.shape
                self._empty_(p, replace(loan, zeroed=[], staying=staying.get(id(p), {})), SMALL)
                if p.shape != shape:
                    raise Unlendable("a weight is changed in an unknown way")

    def _empty_(self, parameter: nn.Parameter, loan: Loan, number: float) -> None:
        parameter.data = loan.empty = loan.own.new_full((), number, dtype=self.dtype).expand(loan.shape)
        self._loans[_key(parameter)] = loan

    def of(self, tensor: Tensor) -> Loan | None:
        """The loan of an empty parameter."""
        return self._loans.get(_key(tensor)) if tensor.layout is torch.strided else None

    def given(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments of an operator with numbers; `Unlendable` where it would write to them or not see them."""
        schema = func._schema.arguments if isinstance(func, torch._ops.OpOverload) else ()
        written = {each.name for each in schema if each.alias_info is not None and each.alias_info.is_write}
        named = [*zip((each.name for each in schema), args, strict=False), *kwargs.items()]
        for part in pytree.tree_leaves([value for name, value in named if name in written]):
            if isinstance(part, Tensor) and part.layout is torch.strided and (self.of(part) or _is_lent(part)):
                raise Unlendable("a weight is written to")
        self._now = set()
        if func in STRIDED and self.of(args[0]):
            raise Unlendable("a weight is looked at by strides")
        found: tuple[Any, Any] = pytree.tree_map_only(Tensor, self._numbers, (args, kwargs))
        return found

    def _numbers(self, tensor: Tensor) -> Tensor:
        if (loan := self.of(tensor)) is None:
            return tensor
        if list(tensor.shape) != loan.shape:
            raise Unlendable("a part of a weight is looked at")
        key = _key(tensor)
        self._now.add(key)
        if key in self._made:
            self._made[key] = self._made.pop(key)
        else:
            self._make_room(tensor.numel() * tensor.element_size())
            self._made[key] = loan.made(self.dtype)
            setattr(self._made[key].untyped_storage(), LENT, True)
        return self._made[key]

    def _make_room(self, wanted: int) -> None:
        held = {key: made.numel() * made.element_size() for key, made in self._made.items()}
        for key in [key for key in held if key not in self._now]:
            if sum(held.values()) + wanted > self.most:
                del self._made[key], held[key]


def lending(model: nn.Module, dtype: torch.dtype, run: Callable[[Lent | None], T]) -> T:
    """What a run gives on lent weights; with all weights widened where there is little to lend, or where that fails."""
    lent = Lent(model, dtype)
    if lent.worth_it:
        try:
            return run(lent)
        except Blind:
            raise
        except Exception:  # code that cannot do with it, or the network; the other way says which
            del lent
    return run(None)


def _narrow(p: Tensor, dtype: torch.dtype) -> bool:
    strided = type(p) is nn.Parameter and p.layout is torch.strided and not p.is_meta and bool(p.numel())
    return strided and p.is_floating_point() and p.element_size() < dtype.itemsize


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _is_lent(tensor: Tensor) -> bool:
    return hasattr(tensor.untyped_storage(), LENT)
