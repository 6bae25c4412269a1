"""Due: after how many epochs weights or units are removed, and how much is gone or left from then on."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sapwood.errors import InputError
from sapwood.export.targets import target_of
from sapwood.selection.schedule import Schedule, geometric_rounds

Amount = float | Mapping[int, float] | Schedule
At = int | Collection[int]


@dataclass(frozen=True)
class Due:
    """One kind of amount, "sparsity" (removed) or a kind of target (left), and the function that says it by epochs."""

    kind: str
    amount: Schedule  # epochs that are over -> the amount from then on; None: nothing to do
    last: int | None  # the last epoch with something to do; None: not known

    @property
    def whole_units(self) -> bool:
        """Whether units go, and not single weights."""
        return self.kind != "sparsity"

    def refuse_never(self, over: int, epochs: int | None) -> None:
        """Raise unless all that is due comes between now and the end of training; `epochs` None: nobody knows it."""
        if epochs is not None and self.last is not None and self.last > epochs:
            raise InputError(
                f"pruning is due after {self.last} epochs, and training ends after {epochs}; set at= lower"
            )
        if self.last is not None and self.last < over:
            raise InputError(
                f"pruning was due after {self.last} epochs; training goes on after {over}, from a checkpoint that "
                f"knows of no pruning; set at={over} or later"
            )
        if epochs is not None and not self.amounts(over, epochs):
            raise InputError(f"the schedule of {self.kind} has nothing to do in {epochs} epochs; it is asked by epochs")

    def amounts(self, first: int, last: int | None) -> dict[int, float]:
        """{epochs that are over: amount} of all that is due from `first` to `last`."""
        end = self.last if last is None else last
        found = {epoch: self.amount(epoch) for epoch in range(first, (end or 0) + 1)}
        return {epoch: amount for epoch, amount in found.items() if amount is not None}


def due(at: At | None, given: Mapping[str, Amount | None]) -> Due:
    """What is due, from the one amount in `given`; InputError unless it is exactly one, and can be."""
    found = {kind: amount for kind, amount in given.items() if amount is not None}
    if len(found) != 1:
        what = " and ".join(f"{kind}={amount!r}" for kind, amount in found.items()) or "no amount"
        raise InputError(
            f"{what} was given; give one of sparsity= (the share of weights that is removed), macs= or parameters= "
            "(what may be left when whole units are removed)"
        )
    ((kind, amount),) = found.items()
    if callable(amount) or isinstance(amount, Mapping):
        if at is not None:
            raise InputError(f"at is {at!r}, and {kind} says itself after which epochs; leave at= out")
        return _scheduled(kind, amount)
    steps = _epochs(1 if at is None else at)
    return Due(kind, _table(dict(zip(steps, _rounds(kind, amount, len(steps)), strict=True))), steps[-1])


def _scheduled(kind: str, amount: Mapping[int, float] | Schedule) -> Due:
    if isinstance(amount, Mapping):
        steps = _epochs(list(amount))
        amounts = [_usable(kind, amount[step]) for step in steps]
        growing = amounts if kind == "sparsity" else amounts[::-1]
        if growing != sorted(growing):
            raise InputError(f"{kind} is {dict(amount)!r}; what was removed stays removed, so let it {_way(kind)}")
        return Due(kind, _table(dict(zip(steps, amounts, strict=True))), steps[-1])

    def checked(epoch: int) -> float | None:
        found = amount(epoch)
        return None if found is None else _usable(f"{kind} after {epoch} epochs", found, kind)

    return Due(kind, checked, None)


def _way(kind: str) -> str:
    return "rise" if kind == "sparsity" else "fall"


def _table(amounts: Mapping[int, float]) -> Schedule:
    return lambda epoch: amounts.get(epoch)


def _rounds(kind: str, amount: float, rounds: int) -> tuple[float, ...]:
    """Every time the same fraction of what is left; a number of MACs or parameters has to come all at once."""
    _usable(kind, amount)
    if rounds == 1:
        return (amount,)
    if kind == "sparsity":
        return geometric_rounds(amount, rounds)
    if amount > 1:
        raise InputError(f"{kind} is {amount!r} for several epochs; give a share, or say {kind}={{epoch: number}}")
    return (*(1 - gone for gone in geometric_rounds(1 - amount, rounds)[:-1]), amount)


def _usable(name: str, amount: float, kind: str = "") -> float:
    if (kind or name) != "sparsity":
        return target_of(**{kind or name: amount}).value
    number = isinstance(amount, int | float) and not isinstance(amount, bool)
    if not number or not math.isfinite(amount) or not 0 <= amount < 1:
        raise InputError(f"{name} is {amount!r}; give the fraction of weights that is removed, in [0, 1)")
    return float(amount)


def _epochs(at: At) -> list[int]:
    """In order, each once."""
    steps = [at] if isinstance(at, int) else list(at) if isinstance(at, Collection) and not isinstance(at, str) else []
    if not steps or any(not isinstance(step, int) or isinstance(step, bool) or step < 0 for step in steps):
        raise InputError(f"at is {at!r}; give how many epochs come before the pruning, 0 or more, or a list of such")
    return sorted(set(steps))
