"""Bugs planted in what is told to somebody who waits: how long trials are, and how much of them is left."""

from importlib import import_module
from types import SimpleNamespace
from unittest.mock import patch

from golden import trajectories
from planted.mutant import bugs, instead

from sapwood.checks.law import demand
from sapwood.trials.telling import Progress
from sapwood.trials.trial import defaults

progress, lengths = import_module("sapwood.cli.progress"), import_module("sapwood.trials.length")


def laws():
    """Of waiting."""
    return {
        "waiting: lengths are those of recorded trajectories": _lengths,
        "waiting: what a rule may end is no length but a limit": _limits,
        "waiting: the time left follows from steps made by this command": _left,
    }


def _length(method, **options):
    return lengths.length(method, defaults(method) | options)


def _lengths():
    for method in ("l1_filters", "iterative_magnitude", "lottery_ticket", "deep_compression"):
        found, made = _length(method, **trajectories.OPTIONS[method]), len(trajectories.GOLDEN[method].correct)
        demand(found == (made, True), f"{method} takes {made} epochs, not {found}")


def _limits():
    for method, exact in (("dense", False), ("gradual_magnitude", True)):
        found = _length(method, epochs=5, stop="spikes")
        demand(found.exact is exact, f"{method}: {found}")


def _left():
    """Half was done before; it waited 100 s for its folder; then a tenth took 10 s."""
    now = [0.0]
    with patch.object(progress, "time", SimpleNamespace(monotonic=lambda: now[0])):
        pace = progress.Pace(2)
        for now[0], done in ((0.0, 0.5), (100.0, 0.5), (110.0, 0.6)):
            pace.hear(Progress("one", "S", 0, "", done))
        said = pace.of("one"), pace.left()
    demand(said == ("about 40 s left", "about 2 min left for all 2 trials if they are alike"), f"it says {said}")


CLAIMS = {
    "lengths are those of recorded trajectories": {
        "rounds are counted once": instead(lengths, "COUNTED", {}),
        "what is trained after the cut is forgotten": instead(lengths, "PHASES", ("first_epochs", "epochs")),
    },
    "what a rule may end is no length but a limit": {
        "rules are forgotten": instead(lengths, "_ruled", lambda *given: False),
        "an option that is not asked about counts": instead(
            lengths, "_ruled", lambda method, options: options["stop"] != "epochs"
        ),
    },
    "the time left follows from steps made by this command": {
        "what was done before counts": instead(progress.Seen, "work", property(lambda seen: seen.now.done)),
        "waiting counts": instead(progress.Seen, "standing", lambda *given: False),
        "the rest is as long as the whole": instead(progress, "_share", lambda news: 0.1 * (news.done == 0.6)),
    },
}

MUTANTS = bugs("waiting", laws, CLAIMS)
