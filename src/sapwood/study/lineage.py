"""Lineage: what an arm begins with, learns from, and is measured by, in words."""

from collections.abc import Iterable

from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.trial import Trial

USED = {"start": "begins with the weights of", "teacher": "learns from the answers of", "like": "is measured by"}


def lineage(trials: Iterable[Trial]) -> dict[str, str]:
    """Of each arm that uses other trials what it does with which, {arm: "begins with the weights of S"}."""
    found: dict[str, dict[str, None]] = {}
    for trial in trials:
        for name, other in sorted(trial.uses, key=lambda use: [*USED].index(use[0])):
            found.setdefault(trial.arm, {})[f"{USED[name]} {_called(other, trial)}"] = None
    return {arm: "; ".join(said) for arm, said in found.items()}


def _called(other: Trial | Elsewhere, trial: Trial) -> str:
    """What `trial` uses: an arm, with its seed where that is another, or a file."""
    if isinstance(other, Elsewhere):
        return f"the network in {other.path.name}"
    return other.arm if other.seed == trial.seed else f"{other.arm}, seed {other.seed}"
