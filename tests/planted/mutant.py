"""Mutant: a bug planted in the real code, and the one law that must catch it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from unittest.mock import patch

from sapwood.checks import Laws

Plant = Callable[[], AbstractContextManager[Any]]  # the bug is in the code inside the block


@dataclass(frozen=True)
class Mutant:
    """The law is named in full; `laws` makes it, and the other laws of its subject, from the code as it is then."""

    bug: str
    law: str
    laws: Callable[[], Laws]
    plant: Plant


def bugs(subject: str, laws: Callable[[], Laws], planted: Mapping[str, Mapping[str, Plant]]) -> tuple[Mutant, ...]:
    """The mutants of one subject, from {what its law claims: {bug: how it is planted}}."""
    return tuple(
        Mutant(bug, f"{subject}: {claim}", laws, plant)
        for claim, planting in planted.items()
        for bug, plant in planting.items()
    )


def instead(owner: Any, name: str, wrong: Any) -> Plant:
    """The attribute `name` of a module or class replaced."""
    return partial(patch.object, owner, name, wrong)


def caught(mutant: Mutant) -> str | None:
    """What the law says of the bug, None if nothing. That the law holds without the bug is seen to first."""
    _holds(mutant.laws, mutant.law)
    with mutant.plant():
        law = mutant.laws()[mutant.law]
        try:
            law()
        except AssertionError as failure:  # anything else means that the mutant crashes, which proves no law
            return str(failure)
    return None


@cache
def _holds(laws: Callable[[], Laws], law: str) -> None:
    laws()[law]()
