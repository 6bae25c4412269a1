"""Bugs planted in selection: among all scores, in blocks, within a cost, above a threshold."""

import torch
from planted.mutant import bugs, instead

from sapwood import select
from sapwood.checks import limit, pattern, selector
from sapwood.errors import InputError
from sapwood.selection import on_host

drop, spare, cut, blockwise, within = select.drop, on_host._spare, on_host.lowest, select._blockwise, select.within
rowwise, unchecked = select._rowwise, select._dropped


def everywhere_laws():
    return selector.laws("everywhere", select.everywhere)


def local_laws():
    return selector.laws("per_layer", select.per_layer, scope="local")


def row_laws():
    return selector.laws("per_row", select.per_row, scope="row")


def pattern_laws():
    return pattern.laws("n_of_m", select.n_of_m)


def within_laws():
    return limit.laws_of_within("within", select.within)


def above_laws():
    return limit.laws_of_above("above", select.above)


def one_too_few(scores, count, **options):
    return drop(scores, max(0, count - 1), **options)


def highest(scores, count, **options):
    return drop({name: -s for name, s in scores.items()}, count, **options)


def highest_first(scores, count, *asked):
    return unchecked({name: -s for name, s in scores.items()}, count, *asked)


def relative(scores, count, **options):
    return drop({name: s / s.abs().mean() for name, s in scores.items()}, count, **options)


def flat(scores, count, **options):
    return {name: keep.flatten() for name, keep in drop(scores, count, **options).items()}


def sorting(pools, count):
    for pool in pools:
        pool.sort()
    return cut(pools, count)


def last_stays(stays, at_cut, spared, ties):
    spare(stays, at_cut, spared, "first goes")


def by_turns(stays, at_cut, spared, ties):
    spare(stays, at_cut, spared, "first stays" if spared % 2 else "first goes")


def together(scores, sparsity, **options):
    return select.everywhere(scores, sparsity, **options)


def overwriting(name, scores, n, m, dim):
    return blockwise(name, scores.abs_(), n, m, dim)


def padded(name, scores, n, m, dim):
    missing = -scores.shape[-1] % m
    wide = torch.nn.functional.pad(scores, (0, missing), value=-1e9)
    return blockwise(name, wide, n, m, dim)[..., : scores.shape[-1]]


def columnwise(name, scores, sparsity, dim):
    return rowwise(name, scores.T, sparsity, dim).T if scores.dim() == 2 else rowwise(name, scores, sparsity, dim)


def one_by_one(scores, cost, limit):
    count = 0
    while float(cost(drop(scores, count))) > limit:
        count += 1
    return drop(scores, count)


def giving_up(scores, cost, limit):
    try:
        return within(scores, cost, limit)
    except InputError:
        return drop(scores, sum(s.numel() for s in scores.values()))


MUTANTS = (
    *bugs(
        "selector everywhere",
        everywhere_laws,
        {
            "exactly as many go as asked": {"removes one too few": instead(select, "drop", one_too_few)},
            "exactly as many go as asked when all scores tie": {
                "a strict threshold: all that tie at the cut go": instead(on_host, "_spare", lambda *_: None)
            },
            "the lowest scores go": {"the highest go": instead(select, "drop", highest)},
            "of equal scores the lowest index stays": {
                "of ties the last index stays": instead(on_host, "_spare", last_stays)
            },
            "more sparsity keeps a subset": {
                "ties settled from either end by turns": instead(on_host, "_spare", by_turns)
            },
            "an increasing transform of the scores changes nothing": {
                "scores divided by their layer's mean first": instead(select, "drop", relative)
            },
            "scores are not changed": {"the caller's scores are sorted in place": instead(on_host, "lowest", sorting)},
            "keys, shapes and type of the scores": {"masks come back flat": instead(select, "drop", flat)},
            "NaN, infinite and no scores are refused": {
                "NaN ranked like a number": instead(select, "_finite", lambda scores: scores)
            },
            "a sparsity outside [0, 1) is refused": {
                "any number taken for a sparsity": instead(select, "_checked", float)
            },
        },
    ),
    *bugs(
        "selector per_layer",
        local_laws,
        {
            "exactly as many go as asked": {
                "ranks all layers together where each is to be ranked alone": instead(select, "per_layer", together)
            }
        },
    ),
    *bugs(
        "selector per_row",
        row_laws,
        {
            "exactly as many go as asked": {
                "columns ranked where rows are to be ranked": instead(select, "_rowwise", columnwise)
            }
        },
    ),
    *bugs(
        "pattern n_of_m",
        pattern_laws,
        {
            "keys, shapes and type of the scores": {
                "n:m masks as numbers": instead(select, "_blockwise", lambda *a: blockwise(*a).float())
            },
            "n of every m consecutive scores stay": {
                "n + 1 of m stay": instead(
                    select, "_blockwise", lambda name, s, n, m, dim: blockwise(name, s, min(n + 1, m), m, dim)
                )
            },
            "the highest of each block stay": {
                "the lowest of each block stay": instead(
                    select, "_blockwise", lambda name, s, n, m, dim: blockwise(name, -s, n, m, dim)
                )
            },
            "of equal scores the lowest index stays": {
                "of ties in a block the last index stays": instead(
                    select, "_blockwise", lambda name, s, n, m, dim: blockwise(name, s.flip(-1), n, m, dim).flip(-1)
                )
            },
            "scores are not changed": {"n:m overwrites the scores": instead(select, "_blockwise", overwriting)},
            "NaN, infinite and no scores are refused": {
                "n:m ranks NaN": instead(select, "_finite", lambda scores: scores)
            },
            "n outside 1..m, and rows that m does not divide, are refused": {
                "the last block may be shorter": instead(select, "_blockwise", padded)
            },
        },
    ),
    *bugs(
        "within within",
        within_laws,
        {
            "the cost is at most the limit": {
                "the limit overstepped by one": instead(
                    select, "within", lambda s, cost, limit: within(s, cost, limit + 1)
                )
            },
            "keeping one more breaks the limit": {
                "cost < limit for cost <= limit": instead(
                    select, "within", lambda s, cost, limit: within(s, cost, max(0, limit - 1e-9))
                )
            },
            "the lowest scores go, of equals the last": {
                "the highest go first to meet a cost": instead(select, "_dropped", highest_first)
            },
            "the cost is asked for about log2(entries) times": {
                "one weight after another is tried": instead(select, "within", one_by_one)
            },
            "a limit that nothing meets is refused": {
                "everything goes when the limit cannot be met": instead(select, "within", giving_up)
            },
            "NaN, infinite and no scores are refused": {
                "NaN ranked to meet a cost": instead(select, "_finite", lambda scores: scores)
            },
        },
    ),
    *bugs(
        "above above",
        above_laws,
        {
            "exactly the scores greater than the threshold stay": {
                ">= for > at a threshold": instead(select, "above", lambda s, t: {n: v >= t for n, v in s.items()})
            },
            "NaN, infinite and no scores are refused": {
                "NaN compared with a threshold": instead(select, "_finite", lambda scores: scores)
            },
            "a threshold that is NaN or infinite is refused": {
                "any threshold taken": instead(select, "above", lambda s, t: {n: v > t for n, v in s.items()})
            },
        },
    ),
)
