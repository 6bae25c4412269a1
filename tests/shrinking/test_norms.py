"""Norms over several channels: whole groups go exactly, numbers under a layer norm only where allowed."""

import pytest
import torch
import torch.nn.functional as F
from test_whole_networks import tokens
from torch import nn
from zoo import Written, conv, image, settled

from sapwood.errors import InputError
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import compact, shrink


def grouped(norm, width=12):
    def forward(of, x):
        x = F.silu(of["n"](of["a"](x)))
        return of["head"]((x + of["c"](F.silu(of["b"](x)))).mean((2, 3)))

    return settled(
        Written(forward, a=conv(3, width), n=norm, b=conv(width, 5), c=conv(5, width), head=nn.Linear(width, 3))
    ), image()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [3, 12])
def test_a_group_is_a_unit(groups, affine, unchanged):
    model, example = grouped(nn.GroupNorm(groups, 12, affine=affine))
    unchanged(model)
    found = sites(model, example)
    assert {site.name: site.units for site in found} == {"layers.a": groups, "layers.b": 5}
    result = shrink(model, {"layers.a": torch.arange(groups) % 3 != 1}, found, example=example)
    norm = result.model.layers["n"]
    assert result.difference < 1e-13
    assert (norm.num_channels, norm.num_groups, result.model.layers["a"].out_channels) == (8, groups * 2 // 3, 8)


def test_groups_that_would_fit_wrongly_are_seen():
    """Half of four groups of four leaves eight channels, which four groups would divide without a word."""
    model, example = grouped(nn.GroupNorm(4, 16, affine=False), width=16)
    found = sites(model, example)
    result = shrink(model, {"layers.a": torch.arange(4) < 2}, found, example=example)
    assert (result.difference < 1e-13, result.model.layers["n"].num_groups) == (True, 2)


def test_one_group_is_everything_and_stays():
    model, example = grouped(nn.GroupNorm(1, 12))
    assert {site.name for site in sites(model, example)} == {"layers.b"}


def stream(norm):
    def forward(of, x):
        x = of["stem"](x)
        x = x + of["down"](F.gelu(of["up"](of["n1"](x))))
        return of["head"](of["n2"](x))

    return settled(Written(forward, stem=nn.Linear(5, 8), n1=norm(8), up=nn.Linear(8, 6), down=nn.Linear(6, 8),
                           n2=norm(8), head=nn.Linear(8, 3))), tokens(5)  # fmt: skip


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_stream_goes_only_where_loss_is_allowed(norm, unchanged):
    model, example = stream(norm)
    unchanged(model)
    assert {site.name: site.units for site in sites(model, example)} == {"layers.up": 6}
    assert any("normalises across units" in pinned.because for pinned in couplings(model, example).pinned)
    found = sites(model, example, lossy=True)
    assert {site.name: (site.units, site.lossy) for site in found} == {
        "layers.stem": (8, True), "layers.up": (6, False)
    }  # fmt: skip
    result = shrink(model, {"layers.stem": torch.arange(8) % 2 == 0}, found, example=example)
    assert result.difference is None
    assert result.model.layers["n1"].normalized_shape == (4,)
    assert result.model(example).shape == model(example).shape
    assert not torch.allclose(result.model(example), model(example))


def test_what_is_exact_beside_a_lossy_site_is_proven():
    model, example = stream(nn.LayerNorm)
    found = sites(model, example, lossy=True)
    assert shrink(model, {"layers.up": torch.arange(6) > 2}, found, example=example).difference < 1e-13


def test_a_lossy_site_is_not_folded():
    model, example = stream(nn.LayerNorm)
    found = sites(model, example, lossy=True)
    with pytest.raises(InputError, match=r"'layers\.stem' is lossy"):
        shrink(model, {"layers.stem": torch.arange(8) > 0}, found, example=example, removed="folded")


def test_compact_never_loses_anything():
    model, example = stream(nn.LayerNorm)
    with torch.no_grad():
        model.layers["stem"].weight[0] = 0
        model.layers["down"].weight[0] = 0
        model.layers["up"].weight[:2] = 0
    assert compact(model, example=example).difference < 1e-13
