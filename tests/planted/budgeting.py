"""Bugs planted in the budgets of methods: what is counted, against what, and what is measured."""

from unittest.mock import patch

import torch
from planted.mutant import bugs, instead

from sapwood.checks import tiny_task
from sapwood.checks.law import demand
from sapwood.export import run_budget as budget
from sapwood.export.pruned import Times
from sapwood.measure.clock import Ratio, Timing
from sapwood.shrinking.cost import macs_of, parameters_of
from sapwood.shrinking.finding import sites
from sapwood.training.run import start

first_made = budget.first_made


def laws():
    """Of `within`."""
    return {
        "budget: a share of the parameters is met, and one unit more would break it": _parameters,
        "budget: a share of the time is met, as it was measured last": _time,
    }


def asked(words):
    """A run, its sites, and what stays by scores in rising order."""
    run = start(tiny_task(), 0)
    found = sites(run.apart.several)
    scores = {site.name: torch.arange(float(site.units)) for site in found}
    return run, found, budget.within(run, scores, found, budget.budget_of(words))


def _parameters():
    run, found, keep = asked("parameters=0.6")
    count = parameters_of(run.model, found)
    limit = 0.6 * float(count({}))
    more = {name: torch.arange(len(kept)) >= len(kept) - int(kept.sum()) - 1 for name, kept in keep.items()}
    demand(float(count(keep)) <= limit < float(count(more)), f"{float(count(keep))} of {limit} parameters are left")


def _time():
    """Time goes by parameters; the second measurement of a network is the true one."""
    seen = []

    def timed(before, after, example, *, threads, seconds):
        whole, size = (float(sum(p.numel() for p in each.parameters())) for each in (before, after))
        seen.append(size)
        left = size / whole * (0.5 if seen.count(size) == 1 else 1)
        times = (Timing(each, each, each, each, 1, threads, (each,) * 4) for each in (whole, left * whole))
        return Times(*times, Ratio(left, left, left, 1, threads), "cpu")

    with patch.object(budget, "side_by_side", timed):
        run, found, keep = asked("ms=0.45")
    count = parameters_of(run.model, found)
    left = float(count(keep)) / float(count({}))
    demand(left <= 0.45 or seen.count(float(count(keep))) == 1, f"{left:.2f} of the time is left")


def removed(**given):
    ((kind, share),) = given.items()
    return budget.Target(kind, 1 - share)


def the_last(made, low, smallest):
    low_share = low / budget.PARTS
    return first_made(lambda share: made.__closure__[0].cell_contents(low_share), low, smallest)


CLAIMS = {
    "a share of the parameters is met, and one unit more would break it": {
        "whatever the budget names, multiply-adds are counted": instead(
            budget, "parameters_of", lambda model, found: macs_of(start(tiny_task(), 0).apart.one, found)
        ),
        "a budget says what is removed, not what is left": instead(budget, "target_of", removed),
    },
    "a share of the time is met, as it was measured last": {
        "a network that was fast enough once is not measured again": instead(budget, "first_made", the_last)
    },
}

MUTANTS = bugs("budget", laws, CLAIMS)
