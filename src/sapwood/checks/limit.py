"""Laws of choosing by a limit instead of a number: as much as a cost allows; whatever lies above a threshold."""

from collections.abc import Callable, Mapping
from functools import partial
from math import log2

import torch
from torch import Tensor

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.checks.selector import demand_not_finite_refused, scores_to_choose_from
from sapwood.currency import Keep, Scores

Cost = Callable[[Keep], float]
Within = Callable[[Mapping[str, Tensor], Cost, float], Keep]  # (scores, cost, limit) -> keep
Above = Callable[[Mapping[str, Tensor], float], Keep]  # (scores, threshold) -> keep
LIMITS = (0.0, 1.0, 40.0, 77.5, 130.0, 131.0, 371.0, 10_000.0)


def check_within(name: str, within: Within) -> list[Result]:
    """The laws of choosing within a cost, tried on `within`."""
    return tried(laws_of_within(name, within))


def laws_of_within(name: str, within: Within) -> Laws:
    """The laws of choosing within a cost about `within`, not yet tried."""
    bodies: dict[str, Callable[[Within], None]] = {
        "the cost is at most the limit": _fits,
        "keeping one more breaks the limit": _one_more,
        "the lowest scores go, of equals the last": _lowest,
        "the cost is asked for about log2(entries) times": _asks,
        "a limit that nothing meets is refused": _refuses_limit,
        "NaN, infinite and no scores are refused": _within_refuses_scores,
    }
    return {f"within {name}: {law}": partial(body, within) for law, body in bodies.items()}


def check_above(name: str, above: Above) -> list[Result]:
    """The laws of thresholds, tried on `above`."""
    return tried(laws_of_above(name, above))


def laws_of_above(name: str, above: Above) -> Laws:
    """The laws of thresholds about `above`, not yet tried."""
    bodies: dict[str, Callable[[Above], None]] = {
        "exactly the scores greater than the threshold stay": _greater,
        "NaN, infinite and no scores are refused": _above_refuses_scores,
        "a threshold that is NaN or infinite is refused": _refuses_threshold,
    }
    return {f"above {name}: {law}": partial(body, above) for law, body in bodies.items()}


def _entries(keep: Keep) -> float:
    return float(sum(int(k.sum()) for k in keep.values()))


def _weighted(keep: Keep) -> float:
    """Entries of "a" cost 1, of "b" 7."""
    return float(keep["a"].sum() + 7 * keep["b"].sum())


def _cases() -> list[tuple[Scores, Cost, float]]:
    every = [scores_to_choose_from(levels) for levels in (0, 3)]
    return [(scores, cost, limit) for scores in every for cost in (_entries, _weighted) for limit in LIMITS]


def _in_order(scores: Scores, keep: Keep) -> list[tuple[str, int]]:
    """(entry, flat index) of everything, highest score first and of equals the first, after what `keep` kept."""
    places = [(name, i) for name, s in scores.items() for i in range(s.numel())]
    places.sort(key=lambda at: -scores[at[0]].flatten()[at[1]].item())  # stable: positions settle ties
    return sorted(places, key=lambda at: not keep[at[0]].flatten()[at[1]].item())


def _fits(within: Within) -> None:
    for scores, cost, limit in _cases():
        found = cost(within(scores, cost, limit))
        demand(found <= limit, f"{cost.__name__} is {found}, the limit {limit}")


def _one_more(within: Within) -> None:
    for scores, cost, limit in _cases():
        keep = within(scores, cost, limit)
        gone = [at for at in _in_order(scores, keep) if not keep[at[0]].flatten()[at[1]]]
        if gone:
            name, index = gone[0]
            more = {n: k.clone() for n, k in keep.items()}
            more[name].view(-1)[index] = True
            demand(cost(more) > limit, f"{cost.__name__} {cost(keep)} could be {cost(more)}, the limit is {limit}")


def _lowest(within: Within) -> None:
    for scores, cost, limit in _cases():
        keep = within(scores, cost, limit)
        whole = {n: torch.ones_like(k) for n, k in keep.items()}
        demand(_in_order(scores, keep) == _in_order(scores, whole), f"limit {limit}: what stays is not the highest")


def _asks(within: Within) -> None:
    scores, asked = scores_to_choose_from(), []

    def cost(keep: Keep) -> float:
        asked.append(1)
        return _entries(keep)

    within(scores, cost, 40)
    most = log2(sum(s.numel() for s in scores.values())) + 4
    demand(len(asked) <= most, f"asked {len(asked)} times")


def _refuses_limit(within: Within) -> None:
    demand_refused(lambda: within(scores_to_choose_from(), lambda keep: _entries(keep) + 10, 9.5), "a limit of 9.5")


def _within_refuses_scores(within: Within) -> None:
    demand_not_finite_refused(lambda scores: within(scores, lambda keep: 0.0, 1.0))


def _greater(above: Above) -> None:
    for levels in (0, 4):
        scores = scores_to_choose_from(levels)
        for threshold in (-1.0, 0.0, 1.0, 2.0, 99.0):
            keep = above(scores, threshold)
            demand(list(keep) == list(scores), f"keys {list(keep)}, expected {list(scores)}")
            wrong = [n for n, s in scores.items() if not torch.equal(keep[n], s > threshold)]
            demand(not wrong, f"threshold {threshold}: {wrong} keep others")


def _above_refuses_scores(above: Above) -> None:
    demand_not_finite_refused(lambda scores: above(scores, 0.0))


def _refuses_threshold(above: Above) -> None:
    for threshold in (float("nan"), float("inf"), -float("inf")):
        demand_refused(partial(above, scores_to_choose_from(), threshold), f"threshold {threshold}")
