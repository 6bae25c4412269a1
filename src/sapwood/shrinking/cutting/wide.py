"""Wide: running a network in a wide type although its code casts, and with the same random numbers every time.

`model.double()` widens parameters. What the code itself makes is as narrow as before: `.float()`, states of zeros,
tables of sines, autocast. Here every operator gets wide numbers and gives wide ones.
"""

import random
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sapwood.errors import InputError, first_line
from sapwood.shrinking.cutting.lent import Lent
from sapwood.shrinking.tracing.graph import written_out
from sapwood.shrinking.tracing.lines import OWN as ROOM
from sapwood.shrinking.tracing.lines import of_torch, where

T = TypeVar("T")
CAST: dict[torch.dtype, Callable[[nn.Module], nn.Module]] = {
    torch.float64: nn.Module.double,
    torch.float32: nn.Module.float,
    torch.float16: nn.Module.half,
    torch.bfloat16: nn.Module.bfloat16,
}
REAL = tuple(CAST)  # the widest first
SLEEPY = {  # flat somewhere, so that they may hide what they read
    "relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "threshold", "hardsigmoid", "hardswish", "sigmoid",
    "tanh", "gelu", "silu", "elu", "mish", "hardshrink", "softshrink",
}  # fmt: skip


class Narrow(Exception):
    """The original does not run in this type, or not all of it: what stands in the way."""


def types_of(model: nn.Module) -> tuple[torch.dtype, ...]:
    """Those in which a proof is tried, the widest first: float64, float32, and the model's own."""
    own = {p.dtype for p in model.parameters() if p.is_floating_point()}
    return tuple(dtype for dtype in REAL if dtype is torch.float64 or dtype is torch.float32 or dtype in own)


def in_widest(model: nn.Module, run: Callable[[torch.dtype], T]) -> tuple[T, torch.dtype]:
    """What a proof gives in the widest type in which the model runs, and that type; an InputError if there is none."""
    obstacles = list[str]()
    for dtype in types_of(model):
        try:
            return run(dtype), dtype
        except Narrow as obstacle:
            obstacles.append(f"in {str(dtype)[6:]}: {obstacle}")
    raise InputError(f"{type(model).__name__} itself cannot be run for the proof; {'; '.join(obstacles)}")


def narrowest(types: Iterable[torch.dtype | None]) -> torch.dtype | None:
    """Of several proofs the weakest counts; None if one of them was none."""
    found = list(types)
    return None if None in found else max(filter(None, found), key=REAL.index, default=None)


@torch.no_grad()
def widened_(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model in this type; tensors that modules keep as plain attributes too."""
    CAST[dtype](model)
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and value.is_floating_point() and value.is_leaf:
                module.__dict__[name] = value.detach().to(dtype)
    return model


class Wide(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While open, operators compute in `dtype` where the code says less, and random numbers start from the same seed.

    `drawn` lists the random draws, `narrow` the operators that gave less than `dtype` all the same. The draws numbered
    in `even` give the same number everywhere. `awake`: what is flat somewhere, as a ReLU, lets a tenth of its input by.
    `lent`: what operators read of empty parameters.
    """

    supports_higher_order_operators = True  # what these run inside is as wide as what it is given

    def __init__(
        self,
        dtype: torch.dtype,
        even: frozenset[int] = frozenset(),
        *,
        awake: bool = False,
        gpus: Iterable[int] = (),
        lent: Lent | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.even, self.awake, self.gpus, self.lent = dtype, even, awake, tuple(gpus), lent
        self.types = {narrow: dtype for narrow in REAL if narrow.itemsize < dtype.itemsize}
        if dtype is torch.float64:
            self.types |= {torch.complex64: torch.complex128, torch.complex32: torch.complex128}
        self.compiled = False  # torch compiles what runs graphs of its own
        self.drawn, self.narrow = list[tuple[str, torch.Size]](), list[str]()

    def again(self, even: frozenset[int] | None = None, *, awake: bool | None = None) -> "Wide":
        """Another like it, which has seen nothing."""
        even, awake = self.even if even is None else even, self.awake if awake is None else awake
        return Wide(self.dtype, even, awake=awake, gpus=self.gpus, lent=self.lent)

    def seed(self, number: int) -> None:
        """Only where models draw whose random state is kept."""
        for generator in (torch.default_generator, *(torch.cuda.default_generators[index] for index in self.gpus)):
            generator.manual_seed(number)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operator, with wide numbers."""
        args, kwargs = (args, kwargs or {}) if self.lent is None else self.lent.given(func, args, kwargs or {})
        if not isinstance(func, torch._ops.OpOverload):
            self.compiled = True
            return func(*args, **kwargs)
        name = func._schema.name.rpartition("::")[2].rstrip("_")
        if not func.is_view:
            args, kwargs = self._raised(func, args, kwargs)
        if name == "_grouped_mm" and args[0].dim() == 2 and args[1].dim() == 3:
            return _grouped(args[0], args[1], kwargs.get("offs", args[2] if len(args) > 2 else None))
        if self.awake and name in SLEEPY and isinstance(args[0], Tensor) and args[0].is_floating_point():
            return self._leaking(func, args, kwargs)
        if torch.Tag.nondeterministic_seeded in func.tags and _drops(func, args, kwargs):
            return self._draw(func, name, args, kwargs)
        out = func(*args, **kwargs)
        if not func.is_view and isinstance(out, Tensor) and out.dtype in self.types:
            self.narrow.append(f"aten.{name} ({where()})")
        return out

    def _raised(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments in the wide type; what is written to stays what it is."""
        written = {argument.name for argument in func._schema.arguments if argument.alias_info is not None}
        names = [argument.name for argument in func._schema.arguments]
        args = [a if n in written else self._wide(a) for n, a in zip(names, args, strict=False)]
        return args, {n: a if n in written else self._wide(a) for n, a in kwargs.items()}

    def _wide(self, argument: Any) -> Any:
        return pytree.tree_map(self._wide_one, argument)

    def _wide_one(self, part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.to(self.types[part.dtype]) if part.dtype in self.types else part
        return self.types.get(part, part) if isinstance(part, torch.dtype) else part

    def _leaking(self, func: Any, args: Any, kwargs: Any) -> Any:
        leak = args[0] * 0.1
        out = func(*args, **kwargs)
        return out.add_(leak) if out is args[0] else out + leak

    def _draw(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Every draw has a seed of its own, so that one of another size changes nothing about the next."""
        number = len(self.drawn)
        self.seed(number)
        out = func(*args, **kwargs)
        first = out[0] if isinstance(out, tuple | list) else out
        self.drawn.append((f"aten.{name} ({where()})", first.shape))
        if number not in self.even:
            return out
        if name == "native_dropout":
            return args[0].clone(), torch.ones_like(out[1])
        if name.startswith(("rand", "normal", "uniform", "exponential", "bernoulli")) and first.is_floating_point():
            first.fill_(1.0 if name.startswith("bernoulli") else 0.5)
        return out


def _drops(func: Any, args: Any, kwargs: Any) -> bool:
    """Attention draws random numbers only if it drops some."""
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    return "dropout_p" not in names or given.get("dropout_p", 0.0) > 0


def _grouped(x_NI: Tensor, w_GIO: Tensor, ends_G: Tensor) -> Tensor:
    """Rows of one group after another, each by the group's matrix; torch has it in bfloat16 only."""
    ends = [0, *ends_G.tolist()]
    parts = [x_NI[start:end] @ w for start, end, w in zip(ends, ends[1:], w_GIO, strict=False)]
    return torch.cat([*parts, x_NI.new_zeros(len(x_NI) - ends[-1], w_GIO.shape[-1])])


@contextmanager
def running_in(mode: Wide) -> Iterator[Wide]:
    """Run in a wide type: numbers without a type are of this type too. Python's own random numbers start anew."""
    default, state = torch.get_default_dtype(), random.getstate()
    try:
        torch.set_default_dtype(max(default, mode.dtype, key=lambda dtype: dtype.itemsize))
        mode.seed(0)
        random.seed(0)
        with mode, written_out():
            yield mode
    finally:
        torch.set_default_dtype(default)
        random.setstate(state)
        if mode.compiled:  # inside of a mode; outside of it that would not run
            torch._dynamo.reset()


def said(error: Exception) -> str:
    """The first line of an error, and where in code outside of torch and of this room it stopped."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not of_torch(f.filename) and not f.filename.startswith(ROOM)
    ]
    first = first_line(error)
    return f"{first} ({frames[-1].filename}:{frames[-1].lineno})" if frames else first
