"""Thin residual branches keep a block of 16 channels or go whole, and what is written holds no zeros of theirs."""

from copy import deepcopy

import kinds
import pytest
import torch
from torch import nn

from sapwood import export, macs_of, masks, prune, spread
from sapwood.export.choices import widths
from sapwood.export.offers import offer_of
from sapwood.export.program import exported
from sapwood.shrinking.tracing.anatomy import Anatomy


def thin(inner=(16, 16, 32, 32, 32, 24)):
    """A stream of 16 channels with thin branches, of which two, three and one are alike."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        *(kinds.Block(16, width) for width in inner),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(module.bias)
    return model, torch.randn(2, 3, 8, 8)


def inner(pruned):
    """How wide the branches are, by site."""
    return {name: int(kept.sum()) for name, kept in pruned.keep.items() if name.endswith(".a")}


@pytest.fixture(scope="module")
def halved():
    model, example = thin()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model(example).square().sum().backward()
    optimizer.step()
    return model, example, prune(model, example, macs=0.45, optimizer=optimizer, timing=0)


def test_they_keep_a_block_or_nothing(halved):
    _, _, pruned = halved
    widths = inner(pruned)
    assert {widths[name] for name in ("1.a", "2.a")} == {0, 16}
    assert all(width == 0 or width >= 16 for name, width in widths.items() if name != "6.a")
    assert widths["6.a"] >= 8  # none is like it, so it is a site as others are
    gone = [name for name, width in widths.items() if not width]
    assert sorted(pruned.branches) == sorted(f"{name.split('.')[0]}.norm_b" for name in gone)
    assert sum(not widths[name] for name in ("1.a", "2.a")) <= 1
    assert sum(not widths[name] for name in ("3.a", "4.a", "5.a")) <= 1
    assert "thin branches" in str(pruned)


def test_what_is_left_equals_the_network_without_them(halved):
    model, example, pruned = halved
    zeroed = deepcopy(model)
    masks.apply_(dict(zeroed.named_parameters()), spread(model, pruned.keep, pruned.sites))
    for name in pruned.branches:
        norm = zeroed.get_submodule(name)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    one, other = (m.double().eval()(example.double()) for m in (zeroed, deepcopy(pruned.model)))
    assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)
    assert pruned.difference <= 1e-12


def test_counts_are_those_of_what_is_returned(halved):
    model, example, pruned = halved
    small = pruned.model
    assert pruned.after.macs == int(macs_of(small, (), example)({})) <= 0.45 * pruned.before.macs
    assert pruned.after.parameters == sum(p.numel() for p in small.parameters())
    assert pruned.after.bytes == sum(t.numel() * t.element_size() for t in (*small.parameters(), *small.buffers()))
    assert pruned.before.parameters == sum(p.numel() for p in model.parameters())


def test_the_optimiser_trains_what_is_left_and_nothing_else(halved):
    _, example, pruned = halved
    small, optimizer = deepcopy((pruned.model, pruned.optimizer))
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in small.parameters()}
    assert len(optimizer.state) == len(held)
    before = [p.detach().clone() for p in held]
    optimizer.zero_grad()
    small.train()(example).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, held, strict=True))


def test_it_is_saved_and_pruned_again(halved, tmp_path):
    model, example, pruned = halved
    export.save(pruned.model, tmp_path / "small.safetensors", of=model)
    again = export.load(tmp_path / "small.safetensors", lambda: thin()[0]).eval()
    assert torch.equal(again(example), deepcopy(pruned.model).eval()(example))
    less = prune(pruned.model, example, macs=0.8, timing=0)
    assert less.after.macs <= 0.8 * pruned.after.macs


@pytest.mark.parametrize("multiple", [8, 1])
def test_a_lower_target_leaves_less_and_no_further_step_fits(multiple):
    model, example = thin()
    anatomy = Anatomy(model, example)
    offer, last = offer_of(anatomy, multiple=multiple), 1.0
    cost = macs_of(anatomy, offer.sites)
    for share in (0.8, 0.65, 0.5, 0.35):
        pruned = prune(model, example, macs=share, multiple=multiple, timing=0)
        left = pruned.after.macs / pruned.before.macs
        assert left <= share
        assert left < last
        assert all(float(cost(more)) > share * pruned.before.macs for more in _one_step_wider(pruned.keep, offer))
        last = left


def _one_step_wider(keep, offer):
    """What stays, with one step more of a site; which units these are does not change the count."""
    for name, kept in keep.items():
        more = [width for width in widths(offer, name, kept.numel()) if width > int(kept.sum())]
        if more:
            yield {**keep, name: torch.arange(kept.numel()) < more[0]}


def test_what_must_stay_stays():
    model, example = thin()
    assert prune(model, example, macs=0.5, uniform=True, timing=0).branches == ()
    named = prune(model, example, macs=0.8, keep=["1.norm_b", "2", "3", "4.norm_b"], timing=0)
    assert named.branches == ()  # of the third pair one is left that may go, and it has no like


def test_no_zeros_are_added_in_what_is_written(halved, tmp_path):
    model, example, pruned = halved
    small = deepcopy(pruned.model).eval()

    def additions(network):
        return sum(
            n.target is torch.ops.aten.add.Tensor
            for n in exported(network, example, (example,), opened=False).graph.nodes
        )

    assert additions(model) == 6
    assert additions(small) == 6 - len(pruned.branches)
    assert export.to_program(small, example, tmp_path / "small.pt2") <= 1e-5


def test_zeros_of_another_shape_or_type_are_still_added():
    class Adds(nn.Module):
        def forward(self, x):
            return x + torch.zeros_like(x[:, :1]), x[:, :1] + torch.zeros_like(x), x + torch.zeros_like(x).double()

    found = exported(Adds(), x := torch.randn(2, 3), (x,), opened=False).module()(torch.ones(2, 3))
    assert [tuple(y.shape) for y in found] == [(2, 3)] * 3
    assert found[2].dtype is torch.float64
