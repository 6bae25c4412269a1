"""The small decoder: what it may look at, how it begins, what can be removed from it."""

import pytest
import torch

from sapwood import InputError
from sapwood.models.gpt import first_weights, gpt
from sapwood.shrinking.shrink import shrink
from sapwood.shrinking.sites import sites

SMALL = {"symbols": 11, "context": 8, "width": 12, "heads": 3, "blocks": 2}


def network():
    torch.manual_seed(0)
    return gpt(**SMALL, dtype=torch.float64).eval()


def test_the_size_is_the_one_that_is_told():
    assert sum(p.numel() for p in gpt().parameters()) == 136_960


def test_a_place_sees_what_came_before_it_and_nothing_after():
    model, tokens = network(), torch.randint(11, (2, 8), generator=torch.Generator().manual_seed(1))
    whole = model(tokens)
    assert whole.shape == (2, 8, 11)
    for place in range(8):
        other = tokens.clone()
        other[:, place] = (other[:, place] + 1) % 11
        changed = (model(other) != whole).any(2).any(0)
        assert changed.tolist() == [at >= place for at in range(8)]
    torch.testing.assert_close(model(tokens[:, :5]), whole[:, :5], rtol=0, atol=1e-12)


def test_first_weights_are_drawn_in_the_width_that_is_told_and_nothing_else_is_drawn():
    model, again = gpt(), gpt()
    stds = {name: float(p.detach().std()) for name, p in model.named_parameters() if p.dim() > 1}
    assert all(abs(std / (0.01 if "back" in name else 0.02) - 1) < 0.1 for name, std in stds.items())
    assert not any(p.any() for name, p in model.named_parameters() if name.endswith("bias"))
    torch.manual_seed(5)
    made, luck = gpt(), torch.get_rng_state()
    torch.manual_seed(5)
    first_weights(again)
    assert torch.equal(torch.get_rng_state(), luck)
    assert all(torch.equal(one, other) for one, other in zip(made.parameters(), again.parameters(), strict=True))


def test_heads_and_hidden_units_can_be_removed():
    model, tokens = network(), torch.randint(11, (2, 6), generator=torch.Generator().manual_seed(2))
    found = sites(model, tokens)
    heads, hidden = {f"blocks.{i}.attention.query": 3 for i in (0, 1)}, {f"blocks.{i}.hidden": 48 for i in (0, 1)}
    assert {site.name: site.units for site in found} == heads | hidden
    keep = {site.name: torch.arange(site.units) % 3 != 1 for site in found}
    small = shrink(model, keep, found, example=tokens)
    assert small.proven
    assert small.model.blocks[0].attention.query.weight.shape == (8, 12)
    assert small.model.blocks[1].back.weight.shape == (12, 32)
    zeroed = network()
    with torch.no_grad():
        for block in zeroed.blocks:
            block.attention.back.weight[:, 4:8] = 0
            block.back.weight[:, ~keep["blocks.0.hidden"]] = 0
    torch.testing.assert_close(small.model(tokens), zeroed(tokens), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "value"), [("heads", 5), ("width", 0), ("blocks", 1.5)])
def test_sizes_that_make_no_network_are_refused(size, value):
    with pytest.raises(InputError, match=f"gpt has .*{size}={value}.* give whole numbers of 1 or more"):
        gpt(**SMALL | {size: value})
