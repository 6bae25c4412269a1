"""Selection where the scores lie: the host's choice, bit by bit, and the laws of selectors on that way too."""

from functools import partial

import pytest
import torch
from planted.placing import TOGETHER, place_laws, same_choice, small_parts

from sapwood import select
from sapwood.checks import limit, selector
from sapwood.checks.selector import scores_to_choose_from
from sapwood.selection import on_device


@pytest.fixture
def there(monkeypatch):
    """Every choice is made as on another device, in parts of sixteen scores."""
    monkeypatch.setattr(on_device, "suits", lambda scores: True)
    with small_parts():
        yield


@pytest.mark.parametrize("law", place_laws().values(), ids=place_laws())
def test_the_choice(law):
    law()


LAWS = {
    **selector.laws("everywhere", select.everywhere),
    **selector.laws("per_layer", select.per_layer, scope="local"),
    **limit.laws_of_within("within", select.within),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_laws_of_selectors(law, there):
    law()


@pytest.mark.parametrize("count", [-1, 132])
def test_what_cannot_go_is_refused_in_the_same_words(count, monkeypatch):
    said = []
    for elsewhere in (True, False):
        monkeypatch.setattr(on_device, "suits", lambda scores, there=elsewhere: there)
        with pytest.raises(select.InputError) as refused:
            select.drop(scores_to_choose_from(), count)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert f"asked to remove {count} of 131" in said[0]


def test_the_cpu_is_the_host_and_types_without_an_order_go_there():
    scores = scores_to_choose_from()
    assert not on_device.suits(scores)
    meta = {n: s.to("meta") for n, s in scores.items()}
    assert not on_device.suits(meta)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("choose", [select.everywhere, select.per_layer, partial(select.everywhere, least=3)])
def test_a_gpu_chooses_as_the_cpu_does(choose):
    same_choice(TOGETHER, "cuda")
    scores = {n: torch.randn(2_000_003, generator=torch.Generator().manual_seed(s)) for s, n in enumerate("ab")}
    here, there = choose(scores, 0.7), choose({n: s.cuda() for n, s in scores.items()}, 0.7)
    assert all(there[n].is_cuda and torch.equal(there[n].cpu(), keep) for n, keep in here.items())
