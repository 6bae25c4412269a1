"""Operators that move numbers, take and put them, sum them: units go exactly, or stay and say why."""

import pytest
import torch
import torch.nn.functional as F
from oracle import confirmed
from random_checks import answers_alike
from random_moves import Frozen
from torch import nn
from zoo import Written, conv, flat, image, settled

from sapwood.shrinking.cutting.units import spread
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import compact, shrink


def between(how, out=6, **layers):
    """Channels of `a`, what is done with them, and what reads the outcome."""
    return settled(Written(lambda of, x: of["out"](how(of, of["a"](x))), a=conv(3, 6), out=conv(out, 4), **layers))


def lost(model, example, units):
    """The sites, by how many units; a third of them goes, one site alone and all together, and the rest is proven."""
    found = sites(model, example)
    assert {site.name: site.units for site in found} == units
    keep = {site.name: torch.arange(site.units) % 3 != 1 for site in found}
    for each in (keep, *({name: keep[name]} for name in keep)):
        small = shrink(model, each, found, example=example).model
        answers_alike(small, example, confirmed(model, example, found, each))
    return found


def why_stays(model, example, name):
    """What is said of a layer none of whose units may go."""
    found = couplings(model, example)
    assert name not in {site.name for site in found.sites}
    return " ".join(pinned.because for pinned in found.pinned if pinned.name == name)


# ---- in another tensor's shape ----


@pytest.mark.parametrize(
    "spread_over",
    [
        lambda gate, h: gate.expand_as(h) * h,
        lambda gate, h: torch.mul(*torch.broadcast_tensors(gate, h)),
        lambda gate, h: gate.broadcast_to(h.shape) * h,
        lambda gate, h: gate.expand(-1, -1, *h.shape[2:]) * h,
    ],
)
def test_a_gate_as_large_as_what_it_gates(spread_over):
    def how(of, h):
        return spread_over(torch.sigmoid(of["b"](h.mean((2, 3), keepdim=True))), h)

    lost(between(how, b=conv(6, 6, 1)), image(), {"layers.a": 6})


def test_a_map_spread_over_channels_stays_and_they_may_go():
    model = between(lambda of, h: of["b"](h).expand_as(h) * h, b=conv(6, 1))
    lost(model, image(), {"layers.a": 6})


@pytest.mark.parametrize("back", [torch.Tensor.view_as, torch.Tensor.reshape_as])
def test_back_into_a_shape_ties_the_units_that_lie_there(back):
    def forward(of, x):
        h = of["a"](x).unflatten(0, (2, 2))
        return of["out"](F.relu(back(of["b"](h.flatten(0, 1)), h)))

    layers = {"a": nn.Linear(5, 6), "b": nn.Linear(6, 6), "out": nn.Linear(6, 3)}
    found = lost(settled(Written(forward, **layers)), flat(5, 4), {"layers.a": 6})
    assert {slot.tensor for slot in found[0].at("makes")} == {"layers.a.weight", "layers.b.weight"}


def test_a_shape_in_which_units_lie_elsewhere_pins_both():
    model = between(lambda of, h: h.flatten(1).view(2, 64, 6).transpose(1, 2).reshape_as(h))
    assert "aten." in why_stays(model, image(), "layers.a")


# ---- taken and put ----


def half_by_half(of, h):
    y, half = torch.zeros_like(h), h.shape[1] // 2
    y[:, :half], y[:, half:] = -h[:, half:], h[:, :half]
    return y


def row_by_row(of, h):
    y = h.new_zeros(h.shape)
    y[:, :, 1:] = h[:, :, :-1]
    y[..., 0] = 0.0
    return y


@pytest.mark.parametrize(("how", "units"), [(half_by_half, 3), (row_by_row, 6)])
def test_slices_that_are_assigned(how, units):
    lost(between(how), image(), {"layers.a": units})


def test_slices_of_a_size_written_down_are_found_out_before_they_are_offered():
    def how(of, h):
        y = torch.zeros_like(h)
        y[:, :3] = h[:, 3:6]
        return y

    assert "a size may be written into aten.slice" in why_stays(between(how), image(), "layers.a")


def test_what_is_written_into_numbers_of_nobody_stays():
    def how(of, h):
        y = torch.zeros(h.shape, dtype=h.dtype)
        y[:, :, 1:] = h[:, :, 1:]
        return y

    assert "writes into a part of numbers that belong to no unit" in why_stays(between(how), image(), "layers.a")


PLACES = torch.tensor([7, 1, 0, 1, 2, 3, 6, 5])
TAKEN = {
    "index_select": lambda of, h: h.index_select(2, PLACES),
    "index": lambda of, h: h[:, :, PLACES] + h[:, :, PLACES[:, None], PLACES],
    "gather": lambda of, h: h.gather(2, h.argsort(2)),
    "gather with places for all": lambda of, h: h.gather(2, PLACES[None, None, :, None].expand_as(h)),
    "take_along_dim": lambda of, h: h.take_along_dim(PLACES[None, None, :, None], 2),
    "scatter_add": lambda of, h: torch.zeros_like(h).scatter_add(3, PLACES.expand_as(h), h),
    "index_add": lambda of, h: h.index_add(2, PLACES, of["b"](h)),
    "index_put": lambda of, h: h.index_put((torch.tensor([0, 1]), None, PLACES[1:3]), h[:, :, 0].amax(0)[None].mT),
    "a mask of all": lambda of, h: h.masked_fill(h < 0, 0.5).index_put((h > 1,), torch.tensor(2.0).to(h)),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TAKEN if name != "index_put"])
def test_places_along_which_no_units_lie(name):
    lost(between(TAKEN[name], b=conv(6, 6)), image(), {"layers.a": 6})


@pytest.mark.parametrize(
    "how",
    [
        lambda of, h: h.index_select(1, PLACES[1:7] % 6),
        lambda of, h: h.gather(1, torch.zeros(2, 6, 8, 8, dtype=torch.long)),
        lambda of, h: h.sort(1)[0],
        lambda of, h: h.index_add(1, torch.arange(6), h),
    ],
)
def test_places_along_units_pin_them(how):
    assert "aten." in why_stays(between(how), image(), "layers.a")


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_bags_of_embeddings(mode):
    model = settled(
        Written(
            lambda of, x: of["out"](F.relu(of["b"](of["bag"](x)))),
            bag=nn.EmbeddingBag(11, 6, mode=mode), b=nn.Linear(6, 5), out=nn.Linear(5, 3),
        )
    )  # fmt: skip
    words = torch.arange(12).view(3, 4) % 11
    found = sites(model, words)
    assert {site.name: site.units for site in found} == {"layers.bag": 6, "layers.b": 5}
    result = shrink(model, {"layers.bag": torch.arange(6) < 4}, found, example=words)
    assert (result.difference < 1e-13, result.model.layers["bag"].embedding_dim) == (True, 4)


# ---- summed ----

NORMALISED = {
    "normalize": lambda of, h: F.normalize(h, dim=1),
    "its own norm": lambda of, h: h / h.norm(dim=1, keepdim=True),
    "the largest": lambda of, h: h / (torch.linalg.vector_norm(h, ord=torch.inf, dim=1, keepdim=True) + 1e-3),
    "squares": lambda of, h: h / (h**2).sum(1).sqrt()[:, None],
    "of lengths": lambda of, h: h * ((g := h.norm(dim=(2, 3), keepdim=True)) / (g.sum(1, keepdim=True) + 1e-3)),
    "behind a norm": lambda of, h: F.normalize(F.relu(of["n"](h)), dim=1) * of["scale"],
}


@pytest.mark.parametrize("name", NORMALISED)
def test_channels_divided_by_a_norm_of_all(name):
    layers = {"n": nn.BatchNorm2d(6), "scale": nn.Parameter(torch.ones(6, 1, 1))} if name == "behind a norm" else {}
    model = between(NORMALISED[name], **layers)
    if name == "the largest":  # the oracle watches other norms
        found = sites(model, image())
        keep = {"layers.a": torch.arange(6) > 1}
        assert shrink(model, keep, found, example=image()).difference < 1e-13
    else:
        lost(model, image(), {"layers.a": 6})


@pytest.mark.parametrize(
    "how",
    [
        lambda of, h: F.normalize(h.sigmoid(), dim=1),
        lambda of, h: h / h.exp().sum(1, keepdim=True),
        lambda of, h: F.normalize(h + 1, dim=1),
        lambda of, h: F.normalize(h + h.detach().amax(2, keepdim=True).cos(), dim=1),
        lambda of, h: F.normalize(h / of["scale"], dim=1),
        lambda of, h: h / h.norm(p=0, dim=1, keepdim=True),
        lambda of, h: F.normalize(h.add_(0.5), dim=1),
    ],
)
def test_a_sum_of_what_is_not_0_by_itself_pins(how):
    model = between(how, scale=nn.Parameter(torch.ones(6, 1, 1)))
    said = why_stays(model, image(), "layers.a")
    assert "not 0 by themselves" in said or "whose number counts" in said


def test_what_is_written_through_a_view_is_seen():
    """The norm reads what was put into the tensor by another name."""

    def how(of, h):
        part = h[:, :, :4]
        part.sigmoid_()
        return F.normalize(h, dim=1)

    assert "not 0 by themselves" in why_stays(between(how), image(), "layers.a")


def test_a_mean_over_units_counts_them_and_is_lossy():
    """The global response norm of ConvNeXt-V2."""

    def how(of, h):
        lengths = h.norm(dim=(2, 3), keepdim=True)
        return h * (lengths / (lengths.mean(1, keepdim=True) + 1e-6))

    model = between(how)
    assert "whose number counts" in why_stays(model, image(), "layers.a")
    (site,) = sites(model, image(), lossy=True)
    assert (site.name, site.units, site.lossy) == ("layers.a", 6, True)
    result = shrink(model, {"layers.a": torch.arange(6) > 2}, [site], example=image())
    assert (result.difference, result.model(image()).shape) == (None, model(image()).shape)


def test_the_answer_may_be_a_sum_over_units():
    model = settled(
        Written(lambda of, x: F.relu(of["b"](F.relu(of["a"](x)))).sum(-1), a=nn.Linear(5, 6), b=nn.Linear(6, 4))
    )
    lost(model, flat(5), {"layers.a": 6, "layers.b": 4})


def test_distances_and_cosines():
    def forward(of, x):
        one, two = of["a"](x), torch.tanh(of["b"](x))
        return torch.cat([torch.cdist(one, two), F.cosine_similarity(one, two, -1)[:, None]], 1)

    model = settled(Written(forward, a=nn.Linear(5, 6), b=nn.Linear(5, 6)))
    found = sites(model, flat(5))
    assert {site.name: site.units for site in found} == {"layers.a": 6}
    assert shrink(model, {"layers.a": torch.arange(6) > 2}, found, example=flat(5)).difference < 1e-12


def test_units_masked_to_0_under_a_sum_are_compacted_and_others_are_not():
    model, example = (
        between(NORMALISED["behind a norm"], n=nn.BatchNorm2d(6), scale=nn.Parameter(torch.ones(6, 1, 1))),
        image(),
    )
    found = sites(model, example)
    masks = spread(model, {"layers.a": torch.arange(6) > 1}, found)
    result = compact(model, masks, example=example)
    assert (result.difference < 1e-13, result.model.layers["a"].out_channels) == (True, 4)
    silent = {name: mask for name, mask in masks.items() if name == "layers.a.weight"}  # their norm sends constants
    result = compact(model, silent, example=example)
    assert result.model.layers["a"].out_channels == 6
    assert any("linalg_vector_norm" in staying.because for staying in result.staying) or not result.staying


# ---- the rest ----


@pytest.mark.parametrize(
    "norm",
    [
        Frozen(6),
        Written(lambda of, x: (x - of["m"]) / (of["v"].abs() + 1e-3).sqrt() * of["g"], **{
            name: nn.Parameter(torch.ones(6, 1, 1)) for name in "mvg"}),
    ],
    ids=["of buffers", "of parameters"],
)  # fmt: skip
def test_frozen_norms(norm):
    lost(between(lambda of, h: F.relu(of["n"](h)), n=norm), image(), {"layers.a": 6})


def test_every_unit_with_every_other_keeps_the_larger_side():
    def forward(of, x):
        return of["out"]((of["a"](x)[:, :, None] * of["b"](x)[:, None]).sum(2))

    model = settled(Written(forward, a=nn.Linear(5, 6), b=nn.Linear(5, 3), out=nn.Linear(6, 2)))
    lost(model, flat(5), {"layers.a": 6})
    assert "gives one number to many units" in why_stays(model, flat(5), "layers.b")


def test_a_shift_by_padding_keeps_units_apart_from_steps():
    def forward(of, x):
        h = of["a"](x)
        return of["out"](h + F.pad(h, (0, 0, 1, 0))[:, :-1] * of["g"])

    model = settled(Written(forward, a=nn.Linear(5, 6), g=nn.Parameter(torch.ones(6)), out=nn.Linear(6, 2)))
    lost(model, flat(5, 6).view(2, 3, 5), {"layers.a": 6})


def test_complex_filters_hold_for_their_channels():
    def how(of, h):
        return torch.fft.irfft2(torch.fft.rfft2(h) * torch.view_as_complex(of["filter"]), s=h.shape[2:])

    model = between(how, filter=nn.Parameter(torch.ones(6, 8, 5, 2)))
    found = sites(model, image())
    result = shrink(model, {"layers.a": torch.arange(6) > 1}, found, example=image())
    assert (result.difference < 1e-13, result.model.bare["filter"].shape) == (True, (4, 8, 5, 2))
