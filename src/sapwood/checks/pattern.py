"""Laws of patterns: n of every m consecutive scores stay, the highest ones, of equals the first."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.checks.selector import demand_not_finite_refused
from sapwood.currency import Keep, Scores

Pattern = Callable[[Mapping[str, Tensor], int, int], Keep]  # (scores, n, m) -> keep
CASES = ((2, 4), (1, 4), (4, 4), (3, 6), (1, 1), (1, 12))


def check_pattern(name: str, pattern: Pattern) -> list[Result]:
    """The laws of n:m patterns, tried on `pattern`."""
    return tried(laws(name, pattern))


def laws(name: str, pattern: Pattern) -> Laws:
    """The laws of n:m patterns about `pattern`, not yet tried."""
    bodies: dict[str, Callable[[Pattern], None]] = {
        "keys, shapes and type of the scores": _form,
        "n of every m consecutive scores stay": _counts,
        "the highest of each block stay": _highest,
        "of equal scores the lowest index stays": _first_stays,
        "scores are not changed": _pure,
        "NaN, infinite and no scores are refused": _refuses_scores,
        "n outside 1..m, and rows that m does not divide, are refused": _refuses_blocks,
    }
    return {f"pattern {name}: {law}": partial(body, pattern) for law, body in bodies.items()}


def _scores(levels: int = 0) -> Scores:
    """A matrix, a kernel and a transposed matrix, whose last dimension is 12; with `levels`, most scores tie."""
    luck = torch.Generator().manual_seed(0)
    shapes = {"a": (5, 12), "b": (3, 2, 12), "c": (12, 4)}
    plain = {n: torch.randn(s, generator=luck, dtype=torch.float64) for n, s in shapes.items()}
    made = {n: (s * levels).round() for n, s in plain.items()} if levels else plain
    return made | {"c": made["c"].T}


def _blocks(tensors: Mapping[str, Tensor], m: int) -> Tensor:
    """All blocks of m, as they follow one another along the last dimension: [blocks, m]."""
    return torch.cat([torch.stack(t.unfold(-1, m, m).flatten(0, -2).unbind()) for t in tensors.values()])


def _form(pattern: Pattern) -> None:
    scores = _scores()
    keep = pattern(scores, 2, 4)
    demand(list(keep) == list(scores), f"keys {list(keep)}, expected {list(scores)}")
    for name, k in keep.items():
        demand(k.shape == scores[name].shape and k.dtype is torch.bool, f"{name}: {k.dtype} {tuple(k.shape)}")


def _counts(pattern: Pattern) -> None:
    for levels in (0, 1):
        for n, m in CASES:
            stay = _blocks(pattern(_scores(levels), n, m), m).sum(1).tolist()
            demand(set(stay) == {n}, f"{n} of {m} was asked for; blocks keep {sorted(set(stay))}")


def _highest(pattern: Pattern) -> None:
    for n, m in CASES:
        scores = _scores()
        kept, ranked = _blocks(pattern(scores, n, m), m), _blocks(scores, m)
        lowest = ranked.masked_fill(~kept, torch.inf).amin(1)
        gone = ranked.masked_fill(kept, -torch.inf).amax(1)
        demand(bool((lowest > gone).all()), f"{n} of {m}: a score that went is above one that stayed")


def _first_stays(pattern: Pattern) -> None:
    for n, m in CASES:
        scores = _scores(levels=1)
        for kept, ranked in zip(_blocks(pattern(scores, n, m), m), _blocks(scores, m), strict=True):
            for level in ranked.unique():
                tied = kept[ranked == level]
                demand(bool((tied[:-1] | ~tied[1:]).all()), f"{n} of {m}: of equal scores a later one stayed")


def _pure(pattern: Pattern) -> None:
    scores = _scores()
    before, random = {n: s.clone() for n, s in scores.items()}, torch.get_rng_state()
    pattern(scores, 2, 4)
    demand(all(torch.equal(scores[n], before[n]) for n in scores), "the scores were changed")
    demand(torch.equal(random, torch.get_rng_state()), "the global random state was advanced")


def _refuses_scores(pattern: Pattern) -> None:
    demand_not_finite_refused(lambda scores: pattern(scores, 1, 1))


def _refuses_blocks(pattern: Pattern) -> None:
    for n, m in ((0, 4), (5, 4), (-1, 4), (2, 5)):
        demand_refused(partial(pattern, _scores(), n, m), f"{n} of {m} of rows of 12")
