"""Law: a property that every member of a family has, and what came out when it was tried."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sapwood.errors import InputError

Laws = dict[str, Callable[[], str | None]]  # what is claimed -> a body that raises unless it is so; it may say more


@dataclass(frozen=True)
class Result:
    """One law tried on one thing: whether it held, and if not, what was seen; or why it is known not to hold."""

    law: str
    passed: bool
    reason: str = ""


def tried(laws: Mapping[str, Callable[[], str | None]]) -> list[Result]:
    """Each law run; a law fails by raising, and the others are still tried."""
    return [_tried(law, body) for law, body in laws.items()]


def broken(results: Iterable[Result]) -> list[Result]:
    """The results that failed."""
    return [result for result in results if not result.passed]


def demand(condition: bool, reason: str) -> None:
    """Raise unless the condition holds. Unlike `assert`, this also works under python -O."""
    if not condition:
        raise AssertionError(reason)


def demand_refused(call: Callable[[], object], what: str) -> None:
    """Raise unless the call raises InputError."""
    try:
        call()
    except InputError:
        return
    raise AssertionError(f"{what} was accepted")


def _tried(law: str, body: Callable[[], str | None]) -> Result:
    try:
        said = body()
    except Exception as error:  # whatever a stranger's code raises is a law that failed
        return Result(law, False, f"{type(error).__name__}: {error}")
    return Result(law, True, said or "")
