"""Laws of selectors: exact, nested, ties by position, blind to monotone transforms, strict about bad scores."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.currency import Keep, Scores

Selector = Callable[[Mapping[str, Tensor], float], Keep]  # (scores, sparsity) -> keep
SCOPES = ("row", "local", "global")  # numbers that fit a smaller scope can fit a larger one as well
SPARSITIES = (0.0, 0.1, 0.25, 0.5, 0.77, 0.9, 0.99)


def check_selector(name: str, selector: Selector, *, scope: str = "global") -> list[Result]:
    """The laws of selectors. `scope`: "global" ranks all entries together, "local" each by itself, "row" each row."""
    return tried(laws(name, selector, scope=scope))


def laws(name: str, selector: Selector, *, scope: str = "global") -> Laws:
    """The laws of selectors about `selector`, not yet tried."""
    bodies: dict[str, Callable[[Selector, str], None]] = {
        "keys, shapes and type of the scores": _form,
        "exactly as many go as asked": _exact,
        "exactly as many go as asked when all scores tie": _exact_ties,
        "the lowest scores go": _lowest,
        "of equal scores the lowest index stays": _first_stays,
        "more sparsity keeps a subset": _nested,
        "an increasing transform of the scores changes nothing": _increasing,
        "scores are not changed": _pure,
        "NaN, infinite and no scores are refused": _refuses_scores,
        "a sparsity outside [0, 1) is refused": _refuses_sparsity,
    }
    return {f"selector {name}: {law}": partial(body, selector, scope) for law, body in bodies.items()}


def scope_of(selector: Selector) -> str:
    """What a selector ranks together, by how many it removes where; "global" if that fits no scope."""
    for scope in SCOPES:
        try:
            _exact(selector, scope)
        except Exception:  # a stranger's code: the laws say what is wrong with it
            continue
        return scope
    return "global"


def scores_to_choose_from(levels: int = 0) -> Scores:
    """Two tensors of scores; with `levels`, only so many different values, so that most of them tie."""
    luck = torch.Generator().manual_seed(0)
    shapes = {"a": (13, 7), "b": (40,)}
    if levels:
        return {n: torch.randint(levels, s, generator=luck).double() for n, s in shapes.items()}
    return {n: torch.randn(s, generator=luck, dtype=torch.float64) for n, s in shapes.items()}


def _parts(keep: Mapping[str, Tensor], scope: str) -> list[Tensor]:
    if scope == "row":
        return [row for k in keep.values() for row in (k.flatten(1) if k.dim() > 1 else k[None])]
    flat = [k.flatten() for k in keep.values()]
    return [torch.cat(flat)] if scope == "global" else flat


def _form(selector: Selector, scope: str) -> None:
    scores = scores_to_choose_from()
    keep = selector(scores, 0.5)
    demand(list(keep) == list(scores), f"keys {list(keep)}, expected {list(scores)}")
    for name, k in keep.items():
        demand(k.shape == scores[name].shape and k.dtype is torch.bool, f"{name}: {k.dtype} {tuple(k.shape)}")


def _exact(selector: Selector, scope: str) -> None:
    _demand_counts(selector, scope, scores_to_choose_from())


def _exact_ties(selector: Selector, scope: str) -> None:
    _demand_counts(selector, scope, scores_to_choose_from(levels=1))
    _demand_counts(selector, scope, scores_to_choose_from(levels=3))


def _demand_counts(selector: Selector, scope: str, scores: Scores) -> None:
    for sparsity in SPARSITIES:
        for part in _parts(selector(scores, sparsity), scope):
            gone, asked = int((~part).sum()), round(sparsity * part.numel())
            demand(gone == asked, f"sparsity {sparsity} of {part.numel()}: {gone} went, not {asked}")


def _lowest(selector: Selector, scope: str) -> None:
    scores = scores_to_choose_from()
    for kept, ranked in zip(_parts(selector(scores, 0.6), scope), _parts(scores, scope), strict=True):
        demand(bool(ranked[kept].min() > ranked[~kept].max()), "a score that went is above one that stayed")


def _first_stays(selector: Selector, scope: str) -> None:
    scores = scores_to_choose_from(levels=4)
    for kept, ranked in zip(_parts(selector(scores, 0.6), scope), _parts(scores, scope), strict=True):
        for level in torch.unique(ranked):
            tied = kept[ranked == level]
            demand(
                bool((tied[:-1] | ~tied[1:]).all()), f"among scores {level.item()} a later one stayed, an earlier went"
            )


def _nested(selector: Selector, scope: str) -> None:
    for levels in (0, 3):
        keeps = [selector(scores_to_choose_from(levels), s) for s in SPARSITIES]
        for less, more in pairwise(keeps):
            demand(
                all(bool((less[n] | ~more[n]).all()) for n in less), "something removed came back at a higher sparsity"
            )


def _increasing(selector: Selector, scope: str) -> None:
    scores = scores_to_choose_from()
    plain, moved = selector(scores, 0.6), selector({n: s.exp() * 3 + 1 for n, s in scores.items()}, 0.6)
    demand(all(torch.equal(plain[n], moved[n]) for n in plain), "the choice depends on more than the order")


def _pure(selector: Selector, scope: str) -> None:
    scores = scores_to_choose_from()
    before, random = {n: s.clone() for n, s in scores.items()}, torch.get_rng_state()
    selector(scores, 0.6)
    demand(all(torch.equal(scores[n], before[n]) for n in scores), "the scores were changed")
    demand(torch.equal(random, torch.get_rng_state()), "the global random state was advanced")


def _refuses_scores(selector: Selector, scope: str) -> None:
    demand_not_finite_refused(lambda scores: selector(scores, 0.5))


def demand_not_finite_refused(choose: Callable[[Scores], object]) -> None:
    """Raise unless scores that hold NaN or infinity, and no scores at all, are refused."""
    for value in (float("nan"), float("inf"), -float("inf")):
        bad = scores_to_choose_from()
        bad["a"][3, 2] = value
        demand_refused(partial(choose, bad), f"a score of {value}")
    demand_refused(partial(choose, {}), "an empty dict of scores")


def _refuses_sparsity(selector: Selector, scope: str) -> None:
    for sparsity in (-0.1, 1.0, 1.5, float("nan")):
        demand_refused(partial(selector, scores_to_choose_from(), sparsity), f"sparsity {sparsity}")
