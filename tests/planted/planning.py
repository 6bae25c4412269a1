"""Bugs planted in plans: schedules, shares, allocations, stopping rules."""

import math
from functools import partial
from unittest.mock import patch

from planted.mutant import bugs, instead

from sapwood import allocate, schedule, stopping
from sapwood.checks import allocation
from sapwood.checks import schedule as schedules
from sapwood.checks import stopping as rules
from sapwood.training.stopping import RULES

polynomial, geometric, erk, er, plain = (
    schedule.polynomial, schedule.geometric_shares, allocate.erk, allocate.er, allocate._plain)  # fmt: skip


def polynomial_laws():
    return schedules.laws("polynomial", schedule.polynomial)


def geometric_laws():
    return schedules.laws_of_shares("geometric", schedule.geometric_shares)


def erk_laws():
    return allocation.laws("erk", allocate.erk, ratio=lambda shape: sum(shape) / math.prod(shape))


def er_laws():
    return allocation.laws("er", allocate.er)


def spikes_laws():
    return rules.laws("spikes", RULES["spikes"])


def patience_laws():
    return rules.laws("patience", RULES["patience"])


def not_landing(*numbers, **options):
    return polynomial(*numbers, **options, land=False)


def falling(begin, end, every, final, initial=0.0):
    return polynomial(begin, end, every, initial, initial=final)


def one_late(begin, end, every, final, initial=0.0):
    return polynomial(begin, end, every + 1, final, initial=initial)


def once_each():
    """A schedule whose answers are used up: another run in the same process finds none."""
    done = set()

    def make(*numbers, initial=0.0):
        wanted = polynomial(*numbers, initial=initial)

        def sparsity(step):
            new = (numbers, step) not in done
            done.add((numbers, step))
            return wanted(step) if new else None

        return sparsity

    return make


def as_printed(total, cycles, base=0.8):
    return tuple(total * base**c for c in range(cycles))


def any_total(total, cycles, base=0.8):
    return (total / max(cycles, 1),) * cycles


def _scaled(shapes, density, *, cap):
    sizes = {name: math.prod(shape) for name, shape in plain(shapes).items()}
    ratios = {name: sum(shape) / math.prod(shape) for name, shape in plain(shapes).items()}
    scale = density * sum(sizes.values()) / math.fsum(ratios[name] * size for name, size in sizes.items())
    return {name: min(cap, scale * ratio) for name, ratio in ratios.items()}


def rest_to_the_first(shapes, density):
    found, (first, *_) = erk(shapes, density), shapes
    sizes = {name: math.prod(shape) for name, shape in plain(shapes).items()}
    smaller = {name: d * 0.999 for name, d in found.items() if name != first}
    left = density * sum(sizes.values()) - math.fsum(d * sizes[name] for name, d in smaller.items())
    return {first: left / sizes[first], **smaller}


def backwards(shapes):
    turned = {n: s if isinstance(s, tuple) else tuple(s.shape)[::-1] for n, s in shapes.items()}
    return plain(turned)


def own_memory():
    """A rule that keeps what it has seen to itself, and begins anew when it is given an empty state."""
    kept = {}

    def rule(state, value):
        if not state:
            kept.clear()
        state["asked"] = 1
        return stopping.spiked(kept, value)

    return rule


upside_down = partial(stopping.stale, patience=5, higher_is_better=True)
MUTANTS = (
    *bugs(
        "schedule polynomial",
        polynomial_laws,
        {
            "lands on its final sparsity exactly": {
                "the last prune left out": instead(schedule, "polynomial", not_landing)
            },
            "never falls, and stays between initial and final": {
                "from final to initial": instead(schedule, "polynomial", falling)
            },
            "due at begin, every so many steps, and never outside the span": {
                "due a step late each time": instead(schedule, "polynomial", one_late)
            },
            "the same answer twice": {"answers are used up": lambda: patch.object(schedule, "polynomial", once_each())},
        },
    ),
    *bugs(
        "shares geometric",
        geometric_laws,
        {
            "one share a cycle, which sum to the total": {
                "shares as the paper prints them, not normalised": instead(schedule, "geometric_shares", as_printed)
            },
            "never rise from one cycle to the next": {
                "the smallest share first": instead(
                    schedule, "geometric_shares", lambda total, cycles: geometric(total, cycles)[::-1]
                )
            },
            "a total outside [0, 1) and no cycles are refused": {
                "shares of any total": instead(schedule, "geometric_shares", any_total)
            },
        },
    ),
    *bugs(
        "allocation erk",
        erk_laws,
        {
            "densities lie in (0, 1]": {
                "ERK not capped at 1": instead(allocate, "erk", partial(_scaled, cap=math.inf))
            },
            "the kept entries add up to the density of all": {
                "what the cap takes away is lost": instead(allocate, "erk", partial(_scaled, cap=1.0))
            },
            "more density never means less for an entry": {
                "uniform where little is to go": instead(
                    allocate, "erk", lambda shapes, density: erk(shapes, density, 1 if density < 0.8 else 0)
                )
            },
            "the order of the entries changes nothing": {
                "the first entry gets what rounding leaves": instead(allocate, "erk", rest_to_the_first)
            },
            "a density outside (0, 1] and no entries are refused": {
                "any density taken": instead(allocate, "_refuse_bad_density", lambda density: None)
            },
            "densities are min(1, c ratio) for one c": {"kernel positions forgotten": instead(allocate, "erk", er)},
        },
    ),
    *bugs(
        "allocation er",
        er_laws,
        {
            "tensors and their shapes mean the same": {
                "tensors read inputs first": instead(allocate, "_plain", backwards)
            }
        },
    ),
    *bugs(
        "rule spikes",
        spikes_laws,
        {
            "resumed from JSON at any point, the same answers": {
                "a rule keeps its memory to itself": lambda: patch.dict(RULES, spikes=own_memory())
            },
            "two runs under one rule do not disturb each other": {
                "one memory for all runs of a rule": lambda: patch.dict(RULES, spikes=own_memory())
            },
            "the state holds numbers only": {
                "tensors kept in a rule's state": instead(stopping, "_number", lambda value: value)
            },
            "NaN is refused": {"NaN is no improvement, and no error": instead(stopping, "_number", float)},
        },
    ),
    *bugs(
        "rule patience",
        patience_laws,
        {"a falling value never stops": {"higher taken for better": lambda: patch.dict(RULES, patience=upside_down)}},
    ),
)
