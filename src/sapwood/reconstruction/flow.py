"""Flow: what the blocks of a network read, of every batch, handed on from one block to the next as they change."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.scoring import batches as batching
from sapwood.scoring.evidence import Evidence, Statistic, settled
from sapwood.scoring.observation import observing, recording

Call = tuple[tuple[Any, ...], Mapping[str, Any]]  # what a block is called with


class Flow:
    """What the next block reads, of every batch: in the pruned network, and in the original if that is asked for.

    With `skim`, the model's own code is run for the first batch only as it is, and for the others with blocks that give
    back what they read, up to the last block: that is enough to learn what else blocks are called with (masks,
    positions), unless it depends on what blocks compute, which the first batch shows.
    On `device` each batch is moved there for a block and back; the block itself is the caller's to move.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        given: Sequence[batching.Arguments],
        original: bool,
        *,
        skim: bool = False,
        device: torch.device | None = None,
    ) -> None:
        self.blocks = [model.get_submodule(name) for name in names]
        self.names, self.now, self.beside = names, list[Tensor](), list[list[Call]]()
        self.device, self.at = device, 0  # the batch that is on its way
        first = self._passed(model, given[0])
        skim = skim and self._can_skim(model, given[0], first)
        for number, arguments in enumerate(given):
            calls = first if number == 0 else (self._skimmed if skim else self._passed)(model, arguments)
            self.now.append(calls[0][0][0].clone())
            self.beside.append([(args[1:], kwargs) for args, kwargs in calls])
        self.was = list(self.now) if original else None
        self.ahead = set[int]()  # blocks that the original's inputs have passed, before they were changed

    def _passed(self, model: nn.Module, arguments: batching.Arguments) -> list[Call]:
        """One pass of the model, in which is noted what the blocks are called with."""
        calls, gave = list[Call](), list[Tensor]()

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not calls and args and isinstance(args[0], Tensor):  # the first block may write on it
                args = (args[0].clone(), *args[1:])
            calls.append((args, kwargs))

        def after(module: nn.Module, args: Any, y: Any) -> None:
            gave.append(leading(y))

        hooks = [block.register_forward_pre_hook(before, with_kwargs=True) for block in dict.fromkeys(self.blocks)]
        hooks += [block.register_forward_hook(after) for block in dict.fromkeys(self.blocks)]
        try:
            arguments.call(model)
        finally:
            for hook in hooks:
                hook.remove()
        self._refuse_broken(calls, gave)
        return calls

    def _refuse_broken(self, calls: Sequence[Call], gave: Sequence[Tensor]) -> None:
        if len(calls) != len(self.blocks):
            raise InputError(f"{len(self.blocks)} blocks ran {len(calls)} times; each must run once")
        for number, (args, _) in enumerate(calls):
            if not args or not isinstance(args[0], Tensor) or (number and args[0] is not gave[number - 1]):
                raise InputError(
                    f"block {self.names[number]!r} does not read what the one before gives, as its first argument; "
                    "give blocks=[...] that run one after another, or leave out layers with only=[...]"
                )

    def _can_skim(self, model: nn.Module, arguments: batching.Arguments, calls: Sequence[Call]) -> bool:
        """Whether blocks are called with the same, but for what they read, when none of them computes anything."""
        try:
            skimmed = self._skimmed(model, arguments)
        except Exception:  # code that cannot do with what blocks give now: it is run as it is
            return False
        return _same([(args[1:], kwargs) for args, kwargs in calls], [(a[1:], kwargs) for a, kwargs in skimmed])

    def _skimmed(self, model: nn.Module, arguments: batching.Arguments) -> list[Call]:
        """What the blocks are called with in a pass in which each gives what it reads, up to the last."""
        calls = list[Call]()

        def instead(*args: Any, **kwargs: Any) -> Any:
            calls.append((args, kwargs))
            if len(calls) == len(self.blocks):
                raise _Enough
            return args[0]

        with _replaced(self.blocks, instead), suppress(_Enough):
            arguments.call(model)
        if len(calls) != len(self.blocks):
            raise InputError(f"{len(self.blocks)} blocks ran {len(calls)} times; each must run once")
        return calls

    def observed(
        self, number: int, statistics: Sequence[Statistic], layers: Sequence[str], *, all_run: bool = True
    ) -> Evidence:
        """The sums over what a block's layers see, by their names in the block.

        InputError where `all_run` and a layer did not; otherwise such a layer has no sums.
        """
        block, evidence = self.blocks[number], Evidence()
        self.ahead.add(number)
        for batch, beside in enumerate(self.beside):
            self.at, gave = batch, None
            if self.was is not None:
                with recording(block, layers) as gave:
                    self.was[batch] = self._called(block, self.was[batch], beside[number])
            with observing(block, *statistics, only=layers, into=evidence, wanted=gave):
                self._called(block, self.now[batch], beside[number])
        unseen = [name for name in layers if name not in evidence]
        if unseen and all_run:
            raise InputError(f"layer {unseen[0]!r} of block {self.names[number]!r} did not run; leave it out by only=")
        return settled(evidence)

    def forward(self, number: int) -> None:
        """The block is done: what it gives is what the next one reads."""
        for batch, beside in enumerate(self.beside):
            if self.was is not None and number not in self.ahead:  # nothing in it was changed
                self.was[batch] = self._called(self.blocks[number], self.was[batch], beside[number])
            self.now[batch] = self._called(self.blocks[number], self.now[batch], beside[number])

    def _called(self, block: nn.Module, x: Tensor, beside: Call) -> Tensor:
        """What a block gives; it may write on what it reads."""
        if self.device is None:
            given: Tensor = leading(block(x.clone(), *beside[0], **beside[1]))
            return given
        args, kwargs = batching.moved(beside[0], self.device), batching.moved(dict(beside[1]), self.device)
        moved: Tensor = leading(block(x.to(self.device, copy=True), *args, **kwargs))
        return moved.to(x.device)


class _Enough(BaseException):
    """All blocks have been called: what comes behind them need not be computed."""


@contextmanager
def _replaced(blocks: Sequence[nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """All blocks compute this, and afterwards what they did before."""
    own = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        block.__dict__["forward"] = forward
    try:
        yield
    finally:
        for block, before in zip(blocks, own, strict=True):
            if before is None:
                block.__dict__.pop("forward", None)
            else:
                block.__dict__["forward"] = before


def _same(one: Any, other: Any) -> bool:
    """Whether two trees of tensors and other things are equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return type(one) is type(other) and bool(one is other or one == other)


def leading(y: Any) -> Any:
    """What the next block reads: the first of a tuple, which blocks of transformers may give."""
    return y[0] if isinstance(y, tuple) and y else y
