"""Sites: the couplings of small networks written out, an oracle that knows no graph, and what is pinned by whom."""

import pytest
import torch
import torch.nn.functional as F
from oracle import confirmed
from torch import nn
from zoo import ZOO, Written, built, conv, flat, image, mlp, plain, residual, settled

from sapwood.errors import InputError
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.tracing.graph import named_tensors


def by_name(model, example):
    return {site.name: site for site in sites(model, example)}


def places(site):
    return {(slot.tensor, slot.dim, slot.role) for slot in site.slots}


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_the_units_worked_out_by_hand(make):
    model, example = built(make)
    assert {site.name: site.units for site in sites(model, example)} == ZOO[make]


def test_the_places_of_a_plain_network():
    found = by_name(*built(plain))
    assert places(found["0"]) == {
        ("0.weight", 0, "makes"), ("0.bias", 0, "holds"), ("1.weight", 0, "holds"), ("1.bias", 0, "holds"),
        ("1.running_mean", 0, "holds"), ("1.running_var", 0, "holds"), ("4.weight", 1, "reads"),
    }  # fmt: skip
    assert places(found["4"]) == {("4.weight", 0, "makes"), ("4.bias", 0, "holds"), ("8.weight", 1, "reads")}
    (reads,) = found["4"].at("reads")
    assert reads.unit_of.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4  # 2 x 2 pixels of each channel, flattened


def test_a_residual_stream_is_one_site():
    found = by_name(*built(residual))
    assert {(t, d) for t, d, role in places(found["layers.stem"]) if role != "holds"} == {
        ("layers.stem.weight", 0), ("layers.b.weight", 0), ("layers.a.weight", 1), ("layers.c.weight", 1),
        ("layers.side.weight", 1),
    }  # fmt: skip
    assert {(t, d) for t, d, role in places(found["layers.d"]) if role != "holds"} == {
        ("layers.d.weight", 0), ("layers.side.weight", 0), ("layers.head.weight", 1),
    }  # fmt: skip


def test_a_pixel_of_a_shuffled_image_takes_its_four_channels_along():
    make = next(make for make in ZOO if make.__name__ == "pixels")
    (makes,) = by_name(*built(make))["layers.a"].at("makes")
    assert makes.unit_of.tolist() == [unit for unit in range(4) for _ in range(4)]


def test_groups_and_halves_lose_the_same():
    names = {make.__name__: make for make in ZOO}
    (makes,) = by_name(*built(names["split"]))["layers.a"].at("makes")
    assert makes.unit_of.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    (makes,) = by_name(*built(names["shuffle"]))["layers.a"].at("makes")
    assert makes.unit_of.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]


def test_sites_that_share_a_dimension_leave_each_others_positions_alone():
    names = {make.__name__: make for make in ZOO}
    found = by_name(*built(names["concat"]))
    (a,), (b,) = found["layers.a"].at("reads"), found["layers.b"].at("reads")
    assert (a.tensor, b.tensor) == ("layers.c.weight",) * 2
    assert a.unit_of.tolist() == [0, 1, 2, 3, -1, -1, -1, -1, -1]
    assert b.unit_of.tolist() == [-1, -1, -1, -1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_every_position_is_of_one_unit_and_every_unit_has_positions(make):
    model, example = built(make)
    taken, tensors = {}, dict(named_tensors(model))
    for site in sites(model, example):
        for slot in site.slots:
            assert len(slot.unit_of) == tensors[slot.tensor].shape[slot.dim]
            assert set(slot.unit_of[slot.unit_of >= 0].tolist()) == set(range(site.units))
            here = taken.setdefault((slot.tensor, slot.dim), torch.zeros(len(slot.unit_of), dtype=torch.int64))
            here += slot.unit_of >= 0
    assert all(int(count.max()) <= 1 for count in taken.values())


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_nan_arrives_exactly_where_the_slots_say(make):
    """Spoil a unit where it is made; the positions that turn NaN are its own, in every weight."""
    model, example = built(make)
    for site in sites(model, example):
        for unit in range(site.units):
            confirmed(model, example, [site], {site.name: torch.arange(site.units) != unit})


# ---- what stays, and who says so ----


def between(how, units=6, **layers):
    """A network of three layers, and `how` between the first and the second."""

    def forward(of, x):
        return of["head"](F.relu(of["b"](how(of, of["a"](x)))))

    return settled(
        Written(forward, a=nn.Linear(5, units), b=nn.Linear(units, 4), head=nn.Linear(4, 3), **layers)
    ), flat(5)


PINS = {
    "softmax": lambda of, x: x.softmax(-1),
    "layer_norm": lambda of, x: F.layer_norm(x, (6,)),
    "mul": lambda of, x: x * torch.arange(6.0, dtype=torch.float64),
    "add": lambda of, x: x + torch.ones(6, dtype=torch.float64),
    "matmul": lambda of, x: (x.T @ x @ x.T).T,
    "sort": lambda of, x: x.sort(-1)[0],
    "sum": lambda of, x: x + x.exp().sum(-1, keepdim=True),
    "mean": lambda of, x: x + x.mean(-1, keepdim=True),
    "cat": lambda of, x: torch.cat([x[:, :4], x[:, :2]], 1),
    "select": lambda of, x: torch.stack([x[:, n] for n in range(6)], 1),
    "roll": lambda of, x: x.roll(1, -1),
    "cumsum": lambda of, x: x.cumsum(-1),
    "index": lambda of, x: x[:, torch.tensor([5, 4, 3, 2, 1, 0])],
    "linalg_vector_norm": lambda of, x: x / torch.linalg.vector_norm(x + 1, dim=-1, keepdim=True),
}


@pytest.mark.parametrize("name", PINS)
def test_what_cannot_lose_units_pins_them_by_name_and_leaves_the_rest_prunable(name, unchanged):
    model, example = between(PINS[name])
    unchanged(model)
    found = couplings(model, example)
    assert [(site.name, site.units) for site in found.sites] == [("layers.b", 4)]
    (pinned,) = (pinned for pinned in found.pinned if pinned.name == "layers.a")
    assert pinned.units == 6
    assert f"aten.{'slice' if name == 'cat' else name} " in pinned.because
    assert f"{__file__}:" in pinned.because


def test_an_unknown_operator_says_where_its_rule_goes():
    (pinned, _) = couplings(*between(lambda of, x: x.renorm(2, 0, 1.0))).pinned
    assert "has no rule; one goes into src/sapwood/shrinking/rules/" in pinned.because


def test_what_is_made_of_the_inputs_and_what_is_answered_stays():
    def forward(of, x):
        return of["head"](of["b"](x + of["a"](x))), of["head"](of["b"](x))

    model = settled(Written(forward, a=nn.Linear(5, 5), b=nn.Linear(5, 4), head=nn.Linear(4, 3)))
    found = couplings(model, flat(5))
    assert [site.name for site in found.sites] == ["layers.b"]
    assert {(p.name, p.units) for p in found.pinned} == {("layers.a", 5), ("layers.head", 3)}
    assert any("answer" in p.because for p in found.pinned)


def test_a_map_over_all_channels_stays_and_the_channels_may_go():
    """Spatial attention: one channel multiplies many."""

    def forward(of, x):
        x = of["a"](x)
        where = of["map"](x)
        return of["head"]((x * torch.sigmoid(where[:, :1])).mean((2, 3)))

    model = settled(Written(forward, a=conv(3, 6), map=conv(6, 2), head=nn.Linear(6, 3)))
    found = {site.name: site for site in sites(model, image())}
    assert {name: site.units for name, site in found.items()} == {"layers.a": 6}
    assert not bool(found["layers.a"].steady.any())


def test_shared_weights_are_one_tensor():
    model, example = mlp()
    model[4] = nn.Linear(6, 8)
    model.append(nn.Linear(8, 6))
    model[5].weight = model[2].weight
    assert {slot.tensor for site in sites(settled(model), example) for slot in site.slots}.isdisjoint({"5.weight"})


def test_what_cannot_be_exported_is_refused_and_left_as_it_was(unchanged):
    def forward(of, x):
        return of["a"](x) if float(x.sum().item()) > 0 else x

    model = Written(forward, a=nn.Linear(5, 5)).train()
    unchanged(model)
    with pytest.raises(InputError, match="Written cannot be exported"):
        sites(model, flat(5))
