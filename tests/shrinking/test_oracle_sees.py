"""The oracle against networks worked out by hand, and against sites that are wrong."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from oracle import confirmed, spoilt
from torch import nn
from zoo import Written, built, flat, image, mlp, plain, residual, settled

from sapwood.shrinking.finding import sites


def test_an_answer_worked_out_by_hand():
    """Unit 0 sends relu(1 * 2) = 2, read with 10 and 100; unit 1 sends relu(3 * 2 + 1) = 7, read with 1 and 0."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [3.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 1.0]))
        model[2].weight.copy_(torch.tensor([[10.0, 1.0], [100.0, 0.0]]))
        model[2].bias.copy_(torch.tensor([0.5, 0.25]))
    x = torch.tensor([[2.0]], dtype=torch.float64)
    touched, answer = spoilt(model, x, {("0.weight", 0): torch.tensor([True, False])})
    assert answer.tolist() == [[7.5, 0.25]]
    assert {place: here.tolist() for place, here in touched.items()} == {
        ("0.bias", 0): [True, False],
        ("2.weight", 1): [True, False],
    }


def test_who_holds_and_who_reads():
    """Norms, slopes, scales and depthwise filters hold; a matrix used backwards reads by its rows."""

    def forward(of, x):
        x = of["deep"](F.prelu(of["norm"](of["a"](x)), of["slope"])) * of["scale"]
        return x.mean((2, 3)) @ of["head"]

    model = settled(Written(
        forward, a=nn.Conv2d(3, 2, 1), norm=nn.BatchNorm2d(2), deep=nn.Conv2d(2, 4, 1, groups=2),
        slope=nn.Parameter(torch.ones(2)), scale=nn.Parameter(torch.ones(4, 1, 1)),
        head=nn.Parameter(torch.ones(4, 3)),
    ))  # fmt: skip
    touched, _ = spoilt(model, image(), {("layers.a.weight", 0): torch.tensor([False, True])})
    one, two = [False, True], [False, False, True, True]
    held = {f"layers.norm.{part}": one for part in ("weight", "bias", "running_mean", "running_var")}
    assert {place: here.tolist() for place, here in touched.items()} == {
        (name, 0): here
        for name, here in {
            **held, "layers.a.bias": one, "bare.slope": one, "layers.deep.weight": two, "layers.deep.bias": two,
            "bare.scale": two, "bare.head": two,
        }.items()
    }  # fmt: skip


@pytest.mark.parametrize("make", [mlp, plain, residual], ids=lambda make: make.__name__)
def test_wrong_sites_are_seen(make):
    """Each slot shifted by one, and each left out."""
    model, example = built(make)
    for site in sites(model, example):
        keep = {site.name: torch.arange(site.units) != 1}
        for number, slot in enumerate(site.slots):
            for wrong in ([replace(slot, unit_of=slot.unit_of.roll(1))], []):
                slots = (*site.slots[:number], *wrong, *site.slots[number + 1 :])
                with pytest.raises(AssertionError, match="touched"):
                    confirmed(model, example, [replace(site, slots=slots)], keep)


def test_what_the_oracle_cannot_watch_spoils_the_answer():
    """A weight computed on the way is not known, so NaN spreads over all that it makes."""
    w = nn.Parameter(torch.ones(3, 4))
    model = settled(Written(lambda of, x: F.linear(of["a"](x), 2 * of["w"]), a=nn.Linear(5, 4), w=w))
    _, answer = spoilt(model, flat(5), {("layers.a.weight", 0): torch.arange(4) == 1})
    assert bool(answer.isnan().all())
