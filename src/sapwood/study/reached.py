"""Reached: which arms have another sparsity than they were asked for, and so are not to be set beside the others."""

from collections.abc import Iterable, Sequence

from sapwood.study.finals import at_end, cycles
from sapwood.study.grid import number
from sapwood.study.seeds import Seeds, summed_up
from sapwood.study.table import Table
from sapwood.trials.trial import Trial

CLOSE, SHARE = 0.005, 0.025  # of all; and of what should be left, so that 0.992 is not taken for 0.995
MEASURES = {"sparsity_hidden": "of the hidden layers", "sparsity": "of all weights"}


def elsewhere(trials: Iterable[Trial], rows: Table) -> list[str]:
    """A line for each arm that ended at another sparsity than its option `sparsity`, in one seed or more.

    Of the hidden layers' and of all weights' sparsity the nearer one counts: methods ask for the one or the other.
    """
    asked = {trial.arm: share for trial in trials if (share := _asked(trial))}
    return [line for arm, share in asked.items() if (line := _line(rows, arm, share))]


def _asked(trial: Trial) -> float:
    """The sparsity that a trial asks for; 0 where it has no such option, or another one takes its place."""
    options = trial.all_options()
    share = options.get("sparsity")
    return share if isinstance(share, float) and not options.get("quality") else 0.0


def _line(rows: Table, arm: str, share: float) -> str:
    found = {words: at_end(rows, arm, metric) for metric, words in MEASURES.items()}
    known = {words: seeds for words, seeds in found.items() if seeds}
    if not known:
        return ""
    nearest = min(known, key=lambda words: _furthest(known[words], share))
    if _furthest(known[nearest], share) <= min(CLOSE, SHARE * (1 - share)):
        return ""
    reached = number(summed_up(known[nearest]))
    return f"arm {arm} asked for a sparsity of {share:g} and has {reached} {nearest}{_cycles(rows, arm)}"


def _furthest(seeds: Seeds, share: float) -> float:
    return max(abs(value - share) for value in seeds.values())


def _cycles(rows: Table, arm: str) -> str:
    """How many of its cycles it made, where that is why."""
    planned, made = summed_up(at_end(rows, arm, "cycles_planned", "note")), summed_up(cycles(rows, arm))
    short = planned and made and made.mean < planned.mean
    return f" ({number(made, 1).replace('.0', '')} of {planned.mean:.0f} cycles)" if short and planned else ""


def in_a_line(lines: Sequence[str]) -> str:
    """All of them in one sentence, for a terminal."""
    return f"Not comparable: {'; '.join(lines)}." if lines else ""
