"""Networks that are made smaller while they are masked: by torch's own pruning, or by masks that are held."""

import pytest
import torch
import torch.nn.utils.prune as torch_prune
from torch import nn

from sapwood import compact, hold, shrink, sites

X = torch.randn(5, 8, dtype=torch.float64)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    return model, torch.optim.Adam(model.parameters())


@pytest.mark.parametrize("twice", [False, True])
def test_the_zeros_of_torch_s_masks_count(pair, twice):
    model, optimizer = pair
    torch_prune.ln_structured(model[0], "weight", 0.5, 2, 0)
    if twice:
        torch_prune.random_unstructured(model[0], "weight", 0.3)
    small = compact(model, example=X[:1], optimizer=optimizer).model
    assert small[0].out_features == 8
    assert torch.allclose(small(X), model(X), rtol=1e-12)
    assert hasattr(model[0], "weight_orig")  # the model itself is untouched


def test_a_network_cut_while_masks_are_held_is_free(pair):
    model, optimizer = pair
    keep = torch.ones(16, 8, dtype=torch.bool)
    keep[:5], keep[:, 0] = False, False
    with hold(model, optimizer, {"0.weight": keep}):
        small = compact(model, example=X[:1], optimizer=optimizer)
        assert small.model[0].out_features == 11
        assert torch.allclose(small.model(X), model(X), rtol=1e-12)
        units = sites(model, X[:1])
        half = shrink(model, {units[0].name: torch.arange(16) < 8}, units, example=X[:1])
        assert half.model(X).shape == (5, 3)
        assert not any(m._forward_pre_hooks for m in half.model.modules())
