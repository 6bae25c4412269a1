"""Budget: how much a method may leave: a share of multiply-adds, parameters, bytes, or measured milliseconds."""

import math
from collections.abc import Sequence

from sapwood.currency import Keep, Scores
from sapwood.errors import InputError
from sapwood.export.deadline import PARTS, climbed, first_made, largest
from sapwood.export.targets import KINDS, Target, target_of
from sapwood.export.timing import side_by_side
from sapwood.selection import select
from sapwood.shrinking.cost import Cost, bytes_of, fewest, macs_of, parameters_of
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.site import Site
from sapwood.training.run import Run

SECONDS = 1.0  # for which a network is timed


def budget_of(words: str) -> Target | None:
    """What words such as "parameters=0.5" ask for, None for none; InputError unless it is a share of something."""
    kind, _, number = words.partition("=")
    try:
        found = target_of(**{kind: float(number)}) if words and kind in KINDS else None
    except ValueError as error:
        raise InputError(f"budget {words!r} is none: give {' or '.join(KINDS)} and a share, as in bytes=0.5") from error
    if words and (found is None or not found.is_share):
        raise InputError(f"budget {words!r} is none: give {' or '.join(KINDS)} and a share, as in bytes=0.5")
    return found


def within(run: Run, scores: Scores, found: Sequence[Site], budget: Target, *, multiple: int = 1) -> Keep:
    """The fewest removals, lowest scores first, after which a share of what the run's network has is left, or less.

    Milliseconds are those of the task's examples in PyTorch, one thread, beside the whole network; the answer hangs on
    the machine, so remember it (`run.shrink` does). Noted: the share of the multiply-adds that is left, `macs_left`.
    """
    work = macs_of(run.apart.one, found)
    if budget.kind == "ms":
        keep = _in_time(run, scores, found, budget, work, multiple)
    else:
        cost = {"macs": work, "parameters": parameters_of(run.model, found), "bytes": bytes_of(run.model, found)}
        counted = cost[budget.kind]
        keep = fewest(scores, counted, budget.value * float(counted({})), multiple=multiple)
    run.note(macs_left=float(work(keep) / work({})))
    return keep


def _in_time(run: Run, scores: Scores, found: Sequence[Site], budget: Target, work: Cost, multiple: int) -> Keep:
    """The largest network that is measured to be fast enough."""
    whole, model = float(work({})), run.model
    least = select.by_count(scores, {name: min(multiple, len(s)) for name, s in scores.items()})
    smallest = max(1, math.ceil(PARTS * float(work(least)) / whole))

    def fits(share: float) -> bool:
        small = shrink(run.apart.several, at(share), found, check=False).model
        times = side_by_side(model, small, run.task.examples, threads=1, seconds=SECONDS)
        return times.left.median <= budget.value

    def at(share: float) -> Keep:
        return fewest(scores, work, share * whole, multiple=multiple)

    low = climbed(fits, largest(fits, smallest))
    return first_made(lambda share: at(share) if fits(share) else None, low, smallest)
