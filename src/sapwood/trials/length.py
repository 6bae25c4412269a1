"""Length: how many epochs a trial takes, as far as its options say, for somebody who waits for it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Options = Mapping[str, Any]
Counted = Callable[[Options], float | None]

PHASES = (
    "first_epochs",
    "dense_epochs",
    "sparse_epochs",
    "teach_epochs",
    "gate_epochs",
    "search_epochs",
    "epochs",
    "tune",
    "share_epochs",
    "retrain",
)


class Length(NamedTuple):
    """So many epochs."""

    epochs: float
    exact: bool = True  # False: at most; a rule may end the training earlier


def length(method: str, options: Options, like: float | None = None) -> Length | None:
    """How many epochs a method takes with all its options; None where these do not say.

    `like` is the length of the trial that it is to be like, if there is one.
    """
    if options.get("as_long"):
        return None if like is None else Length(float(round(like)))
    epochs = COUNTED.get(method, _phases)(options)
    return Length(float(epochs), not _ruled(method, options)) if epochs else None


def _phases(options: Options) -> float:
    """All that an option gives a length, one after another."""
    given = (options.get(name) for name in PHASES)
    return sum(each for each in given if isinstance(each, int | float))


def _rounds(options: Options) -> float:
    rounds = options["rounds"] * options["round_epochs"]
    return _phases(options) + float(rounds)


def _ticket(options: Options) -> float:
    """Every training but the first begins at the epoch to which it was rewound."""
    return float(options["round_epochs"] * (options["rounds"] + 1) - options["rewind"] * options["rounds"])


def _rethought(options: Options) -> float | None:
    """The length of "scratch_b" follows from the size of the network that it is given."""
    lengths = {"scratch_b": None, "scratch_e": options["epochs"]}
    return lengths.get(options["protocol"], options["tune"])


def _from_scratch(options: Options) -> float | None:
    return None if options["equal_cost"] else _phases(options)


def _unsaid(options: Options) -> None:
    """A phase for each layer: it depends on the network."""


def _ruled(method: str, options: Options) -> bool:
    """Whether a rule or a target may end the training before its epochs are over."""
    phases = ("dense_epochs", "retrain") if method == "gradual_magnitude" else PHASES
    return options.get("stop", "epochs") != "epochs" and any(options.get(name) for name in phases)


COUNTED: dict[str, Counted] = {  # methods whose length is not the sum of their phases'
    "deep_compression": _rounds,
    "iterative_magnitude": _rounds,
    "lottery_ticket": _ticket,
    "pruning_from_scratch": _from_scratch,
    "rethink": _rethought,
    "thinet": _unsaid,
}
