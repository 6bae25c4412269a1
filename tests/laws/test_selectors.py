"""Every selector under the laws of selectors; patterns, costs and thresholds under theirs; what options add."""

from functools import partial

import pytest
import torch

from sapwood import select
from sapwood.checks import limit, pattern, selector
from sapwood.checks.selector import scores_to_choose_from


def by_count(scores, sparsity):
    """`select.by_count`, asked in sparsities."""
    return select.by_count(scores, {n: s.numel() - round(sparsity * s.numel()) for n, s in scores.items()})


def drop(scores, sparsity):
    """`select.drop`, asked in sparsities."""
    return select.drop(scores, round(sparsity * sum(s.numel() for s in scores.values())))


def each_by_name(scores, sparsity):
    """`select.per_layer` with one sparsity for each entry."""
    return select.per_layer(scores, dict.fromkeys(scores, sparsity))


def nothing_gone(scores, sparsity):
    """`select.everywhere` among masks that have removed nothing, protecting nothing."""
    among = {n: torch.ones_like(s, dtype=torch.bool) for n, s in scores.items()}
    return select.everywhere(scores, sparsity, among=among, least=0)


def first(scores, n, m):
    """`select.n_of_m` along the first dimension of scores turned so that it is their last."""
    turned = select.n_of_m({name: s.movedim(-1, 0) for name, s in scores.items()}, n, m, dim=0)
    return {name: keep.movedim(0, -1) for name, keep in turned.items()}


SELECTORS = {  # name -> (selector, its scope)
    "everywhere": (select.everywhere, "global"),
    "everywhere, among": (nothing_gone, "global"),
    "per_layer": (select.per_layer, "local"),
    "per_layer, by name": (each_by_name, "local"),
    "per_row": (select.per_row, "row"),
    "by_count": (by_count, "local"),
    "drop": (drop, "global"),
}
COUNTED = {"by_count", "drop"}  # these take numbers: a sparsity outside [0, 1) is for their adapters here to refuse
LAWS = {
    law: body
    for name, (choose, scope) in SELECTORS.items()
    for law, body in selector.laws(name, choose, scope=scope).items()
    if name not in COUNTED or "a sparsity outside" not in law
}
LAWS |= pattern.laws("n_of_m", select.n_of_m) | pattern.laws("n_of_m, dim=0", first)
LAWS |= limit.laws_of_within("within", select.within) | limit.laws_of_above("above", select.above)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_selector(law):
    law()


def test_every_selector_is_under_laws():
    """A public function of `select` that takes scores and gives keep must be named above."""
    public = {n for n, f in vars(select).items() if callable(f) and getattr(f, "__module__", "") == select.__name__}
    public = {n for n in public if not n.startswith("_")}
    assert public == {"everywhere", "per_layer", "by_count", "drop", "above", "per_row", "n_of_m", "within"}


@pytest.mark.parametrize("levels", [0, 3])
def test_first_goes_is_first_stays_read_backwards(levels):
    scores = scores_to_choose_from(levels)
    backwards = {n: s.flatten().flip(0).view(s.shape) for n, s in reversed(scores.items())}
    for sparsity in (0.1, 0.5, 0.77):
        keep = select.everywhere(scores, sparsity, ties="first goes")
        other = select.everywhere(backwards, sparsity)
        assert all(torch.equal(keep[n].flatten(), other[n].flatten().flip(0)) for n in scores)


@pytest.mark.parametrize("choose", [select.everywhere, select.per_layer])
def test_what_is_gone_counts_and_stays_gone(choose):
    scores = scores_to_choose_from()
    luck = torch.Generator().manual_seed(5)
    among = {n: torch.rand(s.shape, generator=luck) > 0.3 for n, s in scores.items()}
    keep = choose(scores, 0.6, among=among)
    assert all((among[n] | ~k).all() for n, k in keep.items())
    gone = {n: int((~k).sum()) for n, k in keep.items()}
    if choose is select.everywhere:
        assert sum(gone.values()) == round(0.6 * 131)
        alive = torch.cat([scores[n][among[n]] for n in scores])
        stay = torch.cat([keep[n][among[n]] for n in scores])
        assert alive[stay].min() > alive[~stay].max()
    else:
        assert gone == {n: round(0.6 * s.numel()) for n, s in scores.items()}


def test_asking_for_less_than_is_gone_removes_nothing_more():
    scores = scores_to_choose_from()
    among = {n: s > 0 for n, s in scores.items()}
    keep = select.everywhere(scores, 0.1, among=among)
    assert all(torch.equal(keep[n], among[n]) for n in scores)


def test_the_least_highest_of_each_entry_stay_whatever_others_score():
    scores = scores_to_choose_from()
    scores["b"] -= 100
    assert not select.everywhere(scores, 0.5)["b"].any()
    keep = select.everywhere(scores, 0.5, least=5)
    assert sum(int((~k).sum()) for k in keep.values()) == round(0.5 * 131)
    assert sorted(scores["b"][keep["b"]].tolist()) == scores["b"].sort().values[-5:].tolist()
    named = select.everywhere(scores, 0.5, least={"b": 2})
    assert int(named["b"].sum()) == 2


@pytest.mark.parametrize("choose", [partial(select.drop, count=-1), partial(select.drop, count=132)])
def test_more_than_there_is_and_less_than_nothing_are_refused(choose):
    with pytest.raises(select.InputError, match="removable"):
        choose(scores_to_choose_from())


def test_half_floats_and_integers_are_ranked_as_they_are():
    scores = scores_to_choose_from()
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        rounded = {n: s.to(dtype) for n, s in scores.items()}
        wide = select.everywhere({n: s.double() for n, s in rounded.items()}, 0.6)
        assert all(torch.equal(k, wide[n]) for n, k in select.everywhere(rounded, 0.6).items())
    whole = {n: (s * 10).long() for n, s in scores.items()}
    wide = select.everywhere({n: s.double() for n, s in whole.items()}, 0.6)
    assert all(torch.equal(k, wide[n]) for n, k in select.everywhere(whole, 0.6).items())


def test_two_of_four_along_the_input_channels_of_a_convolution():
    scores = torch.randn(6, 8, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keep = select.n_of_m({"w": scores}, 2, 4, dim=1)["w"]
    assert keep.view(6, 2, 4, 3, 3).sum(2).eq(2).all()
    for o, group, y, x in [(0, 0, 0, 0), (3, 1, 2, 1), (5, 0, 1, 2)]:
        best = scores[o, 4 * group : 4 * group + 4, y, x].topk(2).indices.sort().values
        assert torch.equal(keep[o, 4 * group : 4 * group + 4, y, x].nonzero().flatten(), best)
    flat = {"w": scores[:, :, 0, 0]}
    assert torch.equal(select.n_of_m(flat, 2, 4, dim=1)["w"], select.n_of_m(flat, 2, 4)["w"])
    with pytest.raises(select.InputError, match=r"'w' has 3 scores along dimension -1, not a multiple of m=4"):
        select.n_of_m({"w": scores}, 2, 4)
    with pytest.raises(select.InputError, match="no dimension 4"):
        select.n_of_m({"w": scores}, 2, 4, dim=4)


def test_rows_are_outputs_whatever_the_kernel():
    scores = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keep = select.per_row({"w": scores}, 0.5)["w"]
    assert keep.flatten(1).sum(1).tolist() == [9] * 4
    turned = select.per_row({"w": scores}, 0.5, dim=1)["w"]
    assert turned.sum((0, 2)).tolist() == [6] * 6
    each = select.per_row({"w": scores, "v": scores}, {"w": 0.5, "v": 0.0})
    assert torch.equal(each["w"], keep)
    assert each["v"].all()
