"""The removed entries of one weight: made exactly 0, in its gradient and in what an optimiser remembers of it too.

Entries are cleared bit by bit, so that NaN and infinity become 0 as well, at the price of a multiplication; through
`.data`, so that a layer which runs twice in a pass, or anew for its gradients, does not find its weight changed.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sapwood import processes
from sapwood.errors import InputError
from sapwood.masking import masks as mask
from sapwood.masking.named import Masked
from sapwood.masking.seal import Seal, newer, seal, sealed_again, storage_of, unbroken

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an entry
SIGNED = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # whose first bit alone is -0


class Removed:
    """One weight under one mask. Nothing is read or written as long as nobody has touched it: see `seal`."""

    sealable = True  # False: it is cleared whenever somebody may have written

    def __init__(self, given: Masked, gradients: bool, known: MutableMapping[int, "weakref.ref[Removed]"]) -> None:
        """`known` gets it under its weight's id, for those who look for the weights of an optimiser."""
        self.name, self.keep, self.places = given.names[0], processes.own(given.keep), given.places
        self.shape = given.weight.shape
        self.gradients, self.known = gradients, known
        self._bits: dict[torch.dtype, Tensor] = {}
        self.bounds: dict[torch.dtype, Any] = {}  # what `launched` keeps
        self._memory: dict[tuple[int, str], Seal | None] = {}  # seals of what optimisers remember
        self._hook: RemovableHandle | None = None
        self.weight: Tensor = given.weight
        self.sealed: Seal | None = None
        # The weight as last sealed, also as integers, and the mask's bits.
        self._alias = self._view = self._ones = processes.own(given.weight).data
        self._storage = self._alias.untyped_storage()
        self._gradient: Callable[[], Tensor | None] = _nothing  # a weak reference
        self._gradient_seal: Seal | None = None
        self._bind(given.weight)

    def begin(self) -> None:
        """Removed entries of the weight are 0.0, whatever the sign was."""
        part = processes.own(self.weight)
        _leave(part, as_bits(self.keep.to(part.device), part.dtype, signs=False))
        self.clear()

    def clear(self) -> None:
        """Removed entries of the weight are exactly 0, whatever they were."""
        weight, before = self.weight, self.sealed
        # As `seal` asks, in few calls: this is done after every step.
        if (
            before is not None
            and storage_of(weight) == before[0]
            and weight.stride() == before[1]
            and self._storage.resizable()
        ):
            self._view.bitwise_and_(self._ones)
            self.sealed = newer(before, self._alias)
            return
        self.zero(self.weight)
        self.sealed = seal(self.weight)
        if self.sealed is not None:
            self._alias, self._ones = self.weight.data, self._bits_for(self.weight)
            self._storage = self._alias.untyped_storage()
            data = torch.view_as_real(self._alias) if self._alias.is_complex() else self._alias
            self._view = data.view(self._ones.dtype)
        if self._hook is None and self.gradients and self.weight.requires_grad:
            self._watch_gradient()

    def clear_gradient(self) -> None:
        """Removed entries of `.grad` are exactly 0."""
        gradient = self.weight.grad
        if gradient is None:
            return
        if gradient.layout is not torch.strided:
            self._zero_sparse(gradient)
            return
        self.zero(gradient)
        self._gradient, self._gradient_seal = weakref.ref(gradient), seal(gradient)

    def gradient_is_clear(self) -> bool:
        """Whether nobody has written to `.grad`, or put another one there, since it was cleared."""
        gradient = self.weight.grad
        return gradient is None or (self._gradient() is gradient and unbroken(gradient, self._gradient_seal))

    def clear_memory(self, state: Mapping[Any, Any]) -> None:
        """Removed entries of everything of the weight's shape in an optimiser's state are exactly 0."""
        for key, value in self._remembered(state):
            if not unbroken(value, self._memory.get(key)):
                self.zero(value)
                self._memory[key] = seal(value)

    def written(self, state: Mapping[Any, Any], *, gradient: bool = False) -> Iterator[tuple[Tensor, "Removed"]]:
        """What a step may have written to, on a device where nobody can tell; in need of being cleared, with itself."""
        if self._hook is None and self.gradients:
            self.clear()  # which begins to watch the gradient
        else:
            yield self.weight, self
        if gradient and self.weight.grad is not None:
            if self.weight.grad.layout is torch.strided:
                yield self.weight.grad, self
            else:
                self.clear_gradient()
        yield from ((value, self) for _, value in self._remembered(state))

    def vouch(self, state: Mapping[Any, Any]) -> None:
        """What an optimiser has just written is known to be 0 where it was 0: nobody need look."""
        self.sealed = sealed_again(self.weight, self.sealed, self._alias)
        for key, value in self._remembered(state):
            self._memory[key] = sealed_again(value, self._memory.get(key))

    def found(self, owner: nn.Module, weight: Tensor | None) -> None:
        """Another tensor is where the weight was: a parameter takes its place, anything else must have its zeros."""
        where = f"parameter {self.name!r}, whose mask is held,"
        places = [place.owner._parameters.get(place.leaf) for place in self.places]
        if weight is None or all(place.owner is not owner for place in self.places):
            raise InputError(f"{where} is not there any more; release the mask before the network is changed")
        if weight.shape != self.shape:
            raise InputError(
                f"{where} has shape {tuple(weight.shape)} now, its mask {tuple(self.shape)}; "
                "release the mask before the network is changed"
            )
        if any(other is not weight for other in places):
            raise InputError(f"{where} was tied to others and is so no longer; release the mask, then hold it anew")
        if isinstance(weight, nn.Parameter):
            self._bind(weight)
        else:
            _refuse_unless_zero(where, weight, self.keep)

    def let_go(self) -> None:
        """No hook is left on the weight."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _bind(self, weight: Tensor) -> None:
        self.let_go()
        self.weight, self.sealed = weight, None
        self._gradient, self._gradient_seal = _nothing, None
        self._memory.clear()
        self.known[id(weight)] = weakref.ref(self)

    def _remembered(self, state: Mapping[Any, Any]) -> Iterator[tuple[tuple[int, str], Tensor]]:
        if not state:  # plain SGD
            return
        for name, value in state.get(self.weight, _EMPTY).items():
            shaped = isinstance(value, Tensor) and value.shape == self.shape and name != "step"
            if shaped and (value.is_floating_point() or value.is_complex()):
                yield (id(state), name), value

    def _watch_gradient(self) -> None:
        mine = weakref.ref(self)

        def arrived(_: Tensor) -> None:
            this = mine()
            if this is not None:
                this.clear_gradient()

        self._hook = self.weight.register_post_accumulate_grad_hook(arrived)  # type: ignore[no-untyped-call]

    def zero(self, tensor: Tensor) -> None:
        """Removed entries of a tensor of the weight's shape are 0, with the sign that they had."""
        _leave(tensor, self._bits_for(tensor))

    def _bits_for(self, tensor: Tensor) -> Tensor:
        bits = self._bits.get(tensor.dtype)
        if bits is None or bits.device != tensor.device:
            bits = self._bits[tensor.dtype] = as_bits(self.keep.to(tensor.device), tensor.dtype)
        return bits

    def _zero_sparse(self, gradient: Tensor) -> None:
        """Of an embedding with sparse=True: the mask's entries at the rows that were looked up."""
        with torch.no_grad():
            gradient._values().masked_fill_(self.keep[tuple(gradient._indices())].logical_not(), 0)


def as_bits(keep: Tensor, dtype: torch.dtype, *, signs: bool = True) -> Tensor:
    """All ones where an entry stays, the sign's bit alone where it was removed, as small as broadcasting allows.

    A multiplication by 0 keeps the sign as well, and scores that are drawn from a weight's bits depend on it. Without
    `signs` no bit stays where an entry was removed.
    """
    integers = INTEGERS[dtype.itemsize // (2 if dtype.is_complex else 1)]
    ones = mask.thin(keep).to(integers).neg_()  # in place: new memory for a large one takes longer than the work
    if signs and (dtype.is_complex or dtype in SIGNED):
        ones.bitwise_or_(torch.iinfo(integers).min)
    return ones.unsqueeze(-1) if dtype.is_complex else ones


def _leave(tensor: Tensor, bits: Tensor) -> None:
    """Keep these bits of a tensor's entries and clear all others."""
    data = torch.view_as_real(tensor.data) if tensor.is_complex() else tensor.data
    data.view(bits.dtype).bitwise_and_(bits)


def _nothing() -> None:
    """A reference to no gradient."""


_EMPTY: dict[str, Any] = {}


def _refuse_unless_zero(where: str, weight: Tensor, keep: Tensor) -> None:
    """A tensor that is no parameter was put there for one pass, as torch.func.functional_call does."""
    try:
        back = int(torch.count_nonzero(weight.detach().masked_fill(keep, 0)))
    except RuntimeError as error:
        raise InputError(
            f"{where} is computed in a way that cannot be looked into ({error}); release the mask"
        ) from error
    if back:
        raise InputError(
            f"{where} was replaced for one pass (torch.func.functional_call) by a tensor in which {back} removed "
            "entries are not 0; multiply it by the mask, or release the mask"
        )
