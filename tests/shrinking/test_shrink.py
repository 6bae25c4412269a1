"""Shrink: smaller networks that compute the same, proven; what cannot be cut is refused and nothing is touched."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from oracle import confirmed
from torch import nn
from torch.optim import SGD, AdamW
from zoo import ZOO, Written, built, conv, flat, image, mlp, plain, residual, settled

from sapwood.errors import InputError
from sapwood.shrinking import shrunk as shrinking
from sapwood.shrinking.cutting import cut, resize
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.rules import RULES, movement
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.graph import exported, named_tensors, traced
from sapwood.shrinking.tracing.site import Site, Slot, grouped


def half(found, seed):
    """Each unit stays with probability 1/2; one of each site in any case."""
    generator = torch.Generator().manual_seed(seed)
    keep = {site.name: torch.rand(site.units, generator=generator) < 0.5 for site in found}
    for site in found:
        keep[site.name][int(torch.randint(site.units, (1,), generator=generator))] = True
    return keep


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_half_of_the_units_go_and_the_rest_computes_the_same(make, unchanged):
    model, example = built(make)
    unchanged(model)
    found = sites(model, example)
    for seed in range(4):
        keep = half(found, seed)
        result = shrink(model, keep, found, example=example)
        assert result.difference < 1e-13
        small = result.model
        assert type(small) is type(model)
        if not all(bool(kept.all()) for kept in keep.values()):
            assert size(small) < size(model)
        with torch.no_grad():
            torch.testing.assert_close(small(example), confirmed(model, example, found, keep), rtol=0, atol=1e-12)
        again = sites(small, example)
        assert {s.name: s.units for s in again if s.units > 1} == {
            name: n for name, kept in keep.items() if (n := int(kept.sum())) > 1
        }


def test_the_smaller_network_has_numbers_of_its_own():
    model, example = built(plain)
    first = sites(model, example)[0]
    small = shrink(model, {first.name: torch.arange(first.units) > 0}, [first], example=example).model
    mine, theirs = (
        {t.untyped_storage().data_ptr() for _, t in named_tensors(net) if t.numel()} for net in (model, small)
    )
    assert mine.isdisjoint(theirs)


def test_attributes_follow():
    model, example = built(next(make for make in ZOO if make.__name__ == "separable"))
    found = sites(model, example)
    keep = {"layers.a": torch.tensor([1, 0, 1, 0, 1, 0]).bool(), "layers.point": torch.tensor([1, 1, 0, 0, 0]).bool()}
    of = shrink(model, keep, found, example=example).model.layers
    assert (of["a"].out_channels, of["deep"].in_channels, of["deep"].out_channels, of["deep"].groups) == (3, 3, 3, 3)
    assert (of["bn"].num_features, of["point"].in_channels, of["point"].out_channels) == (3, 3, 2)
    assert (of["twice"].in_channels, of["twice"].out_channels, of["twice"].groups) == (2, 4, 2)
    assert (of["head"].in_features, of["head"].out_features) == (4, 3)


def test_float32_and_training_mode_are_kept():
    model, example = mlp()
    model.float().train()
    example = example.float()
    model[0].weight.requires_grad_(False)
    found = sites(model, example)
    small = shrink(model, half(found, 0), found, example=example).model
    assert small.training
    assert not small[0].weight.requires_grad
    assert small[2].weight.requires_grad
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    assert small(example).shape == (3, 4)


def test_shared_weights_stay_shared():
    model, example = mlp()
    model = nn.Sequential(*model[:4], nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), nn.Linear(6, 3))
    model[6].weight = model[2].weight
    model = settled(model)
    found = sites(model, example)
    small = shrink(model, half(found, 1), found, example=example).model
    assert small[6].weight is small[2].weight
    assert small[6].in_features == small[2].in_features == small[2].weight.shape[1]


# ---- the optimiser goes on ----


OPTIMIZERS = {
    "momentum": lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adamw": lambda p: AdamW(p, lr=0.01, amsgrad=True),
}


def steps(model, optimizer, x, count=5):
    model.train()
    for n in range(count):
        optimizer.zero_grad()
        (model(x + n).square().mean() + model(x).sum()).backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_bit_by_bit_as_a_network_built_small_from_the_start(name):
    def net(*widths):
        a, b = widths
        return nn.Sequential(nn.Linear(5, a), nn.BatchNorm1d(a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 3))

    model = settled(net(8, 6))
    optimizer = OPTIMIZERS[name](model.parameters())
    steps(model, optimizer, flat(5, 7))
    before = {n: t.clone() for n, t in named_tensors(model)}
    found = sites(model, flat(5, 7))
    keep = {"0": torch.arange(8) % 2 == 0, "3": torch.arange(6) != 1}
    result = shrink(model, keep, found, example=flat(5, 7), optimizer=optimizer)
    by_hand = net(4, 5).double()
    rows, columns = keep["3"], keep["0"]
    by_hand.load_state_dict({
        "0.weight": before["0.weight"][columns], "0.bias": before["0.bias"][columns],
        **{f"1.{n}": before[f"1.{n}"][columns] for n in ("weight", "bias", "running_mean", "running_var")},
        "1.num_batches_tracked": before["1.num_batches_tracked"],
        "3.weight": before["3.weight"][rows][:, columns], "3.bias": before["3.bias"][rows],
        "5.weight": before["5.weight"][:, rows], "5.bias": before["5.bias"],
    })  # fmt: skip
    memory = optimizer.state_dict()
    cuts = [(columns, None), (columns, None), (columns, None), (columns, None), (rows, columns), (rows, None),
            (None, rows), (None, None)]  # fmt: skip
    for index, (first, second) in enumerate(cuts):
        for key, value in memory["state"][index].items():
            if value.dim() > 0:
                value = value if first is None else value[first]
                memory["state"][index] = memory["state"][index] | {key: value if second is None else value[:, second]}
    fresh = OPTIMIZERS[name](by_hand.parameters())
    fresh.load_state_dict(memory)
    assert all(
        p is q for p, q in zip(result.optimizer.param_groups[0]["params"], result.model.parameters(), strict=True)
    )
    steps(result.model, result.optimizer, flat(5, 7))
    steps(by_hand, fresh, flat(5, 7))
    for (n, a), (_, b) in zip(named_tensors(result.model), named_tensors(by_hand), strict=True):
        assert torch.equal(a, b), n
    assert all(torch.equal(t, before[n]) for n, t in named_tensors(model))


def test_an_optimizer_whose_memory_cannot_be_sliced_is_refused(unchanged):
    model, example = built(mlp)
    optimizer = torch.optim.Adafactor(model.parameters())
    model(example).sum().backward()
    optimizer.step()
    unchanged(model)
    found = sites(model, example)
    with pytest.raises(InputError, match=r"Adafactor remembers 'row_var' of shape \(8, 1\) for '0.weight'"):
        shrink(model, half(found, 0), found, example=example, optimizer=optimizer)


def test_a_foreign_optimizer_is_refused():
    model, example = built(mlp)
    with pytest.raises(InputError, match="no parameter of the model"):
        shrink(model, {}, sites(model, example), example=example, optimizer=SGD(built(mlp)[0].parameters(), 0.1))


# ---- sizes written into the code ----


class Literal(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)


class View(Literal):
    def forward(self, x):
        return self.b(self.a(x)[:, None].view(-1, 2, 3).flatten(1))


class Split(Literal):
    def forward(self, x):
        return self.b(torch.cat(self.a(x).split([3, 3], 1), 1))


class Slice(Literal):
    def forward(self, x):
        return self.b(F.relu(self.a(x))[:, :3].repeat(1, 2))


class Expand(Literal):
    def forward(self, x):
        return self.b(self.a(x)[:, None].expand(-1, 1, 6).flatten(1))


@pytest.mark.parametrize(
    ("kind", "operator"), [(View, "view"), (Split, "split_with_sizes"), (Slice, "slice"), (Expand, "expand")]
)
def test_sizes_written_into_the_code_are_told_by_operator_and_line(kind, operator, unchanged):
    model, example = settled(kind()), flat(5)
    unchanged(model)
    found = couplings(model, example)
    assert not found.sites
    line = inspect.getsourcelines(kind.forward)[1] + 1
    said = f"a size may be written into aten.{operator} ({__file__}:{line})"
    assert any(pinned.name == "a" and said in pinned.because for pinned in found.pinned)


def test_a_site_taken_from_elsewhere_is_refused_by_operator_and_line(unchanged):
    """A size that only the smaller model would run into: the site says nothing of it, so the model is tried."""
    model, example = settled(View()), flat(5)
    unchanged(model)
    by_hand = Site("a", 6, (Slot("a.weight", 0, torch.arange(6), "makes"), Slot("a.bias", 0, torch.arange(6), "holds"),
                            Slot("b.weight", 1, torch.arange(6), "reads")), torch.ones(6).bool())  # fmt: skip
    with pytest.raises(InputError, match=r"a size may be written into aten\.view"):
        shrink(model, {"a": torch.arange(6) != 0}, [by_hand], example=example)


# ---- refusals ----


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        ({"1": torch.ones(8, dtype=torch.bool)}, "unknown site in keep '1'"),
        ({"0": torch.ones(8)}, "keep for site '0' is torch.float32"),
        ({"0": torch.ones(7, dtype=torch.bool)}, r"of shape \(7,\); give torch.bool, one for each of its 8 units"),
        ({"0": torch.zeros(8, dtype=torch.bool)}, "keep leaves no unit of site '0'"),
    ],
)
def test_bad_keeps(keep, says):
    model, example = built(mlp)
    with pytest.raises(InputError, match=says):
        shrink(model, keep, sites(model, example), example=example)


def test_sites_of_another_network_are_refused():
    model, example = built(mlp)
    with pytest.raises(InputError, match=r"site '0' does not fit '0\.weight'"):
        shrink(model, {"0": torch.ones(6, dtype=torch.bool)}, sites(*built(plain)), example=example)


def test_an_unknown_meaning_is_refused():
    model, example = built(mlp)
    with pytest.raises(InputError, match="unknown removed 'silent'"):
        shrink(model, {}, sites(model, example), example=example, removed="silent")


def test_a_module_of_torch_that_cannot_be_resized_is_refused(monkeypatch, unchanged):
    model, example = built(plain)
    unchanged(model)
    found = sites(model, example)
    monkeypatch.setattr(resize, "RESIZE", {nn.Linear: lambda module: None})
    with pytest.raises(InputError, match="'0' is a Conv2d, whose attributes sapwood cannot resize"):
        shrink(model, half(found, 0), found, example=example)


# ---- planted mistakes ----


def off_by_one(slot):
    return Slot(slot.tensor, slot.dim, slot.unit_of.roll(1), slot.role)


@pytest.mark.parametrize("role", ["reads", "makes"])
@pytest.mark.parametrize("make", [plain, residual], ids=lambda make: make.__name__)
def test_a_slot_shifted_by_one_is_caught(make, role):
    model, example = built(make)
    found = sites(model, example)
    for index, site in enumerate(found):
        for number, slot in enumerate(site.slots):
            if slot.role == role:
                slots = (*site.slots[:number], off_by_one(slot), *site.slots[number + 1 :])
                wrong = (*found[:index], Site(site.name, site.units, slots, site.steady), *found[index + 1 :])
                with pytest.raises(InputError, match="differ from the original by"):
                    shrink(model, {site.name: torch.arange(site.units) != 1}, wrong, example=example)


def test_a_forgotten_slot_is_caught():
    model, example = built(plain)
    for index, site in enumerate(found := sites(model, example)):
        for number, _ in enumerate(site.slots):
            slots = (*site.slots[:number], *site.slots[number + 1 :])
            wrong = (*found[:index], Site(site.name, site.units, slots, site.steady), *found[index + 1 :])
            with pytest.raises(InputError, match=r"the smaller network fails"):
                shrink(model, {site.name: torch.arange(site.units) != 1}, wrong, example=example)


def test_a_running_variance_sliced_by_the_wrong_units_is_caught(monkeypatch):
    model, example = built(plain)
    found, sound = sites(model, example), cut.sliced

    def planted(tensor, dims):
        return sound(
            tensor, {dim: keep.flip(0) for dim, keep in dims.items()} if tensor.data_ptr() in variances else dims
        )

    variances = set()
    real = shrinking.cut_

    def watched(network, *rest):
        variances.add(network[1].running_var.data_ptr())
        real(network, *rest)

    monkeypatch.setattr(shrinking, "cut_", watched)
    monkeypatch.setattr(cut, "sliced", planted)
    with pytest.raises(InputError, match="differ from the original by"):
        shrink(model, {"0": torch.arange(6) > 1}, found, example=example)


def test_a_rule_that_forgets_to_tie_is_caught(monkeypatch):
    """A view that splits channels into groups without tying them: the shuffle then mixes up what is left."""
    model, example = built(next(make for make in ZOO if make.__name__ == "shuffle"))
    monkeypatch.setitem(RULES, "view", movement.moved)
    monkeypatch.setattr(
        "sapwood.shrinking.rules.convolution._in_groups", lambda ties, call, x, w, groups: _ungrouped(ties, x, w)
    )
    assert "layers.a" not in {site.name for site in sites(model, example)}  # it was tried, and did not run
    found = grouped(traced(exported(model, example))).sites
    site = next(site for site in found if site.name == "layers.a")
    with pytest.raises(InputError, match=r"does not run|differ"):
        shrink(model, {site.name: torch.arange(site.units) > 0}, found, example=example)


def _ungrouped(ties, x_CN, w):
    from sapwood.shrinking.rules.positions import along

    rows = along(ties, w, 0, "")
    ties.mark(makes=rows, reads=along(ties, w, 1, ""))
    return rows


def test_unproven_means_unproven():
    model, example = built(plain)
    found = sites(model, example)
    assert shrink(model, half(found, 0), found, example=example, check=False).difference is None


def test_several_inputs_and_outputs():
    def forward(of, x, y):
        a = F.relu(of["a"](x))
        return {"one": of["b"](torch.cat([a, of["c"](y)], 1)), "two": (of["d"](a),)}

    model = settled(Written(forward, a=nn.Linear(5, 6), b=nn.Linear(10, 3), c=nn.Linear(4, 4), d=nn.Linear(6, 2)))
    found = sites(model, (flat(5), flat(4)))
    assert {site.name: site.units for site in found} == {"layers.a": 6, "layers.c": 4}
    assert shrink(model, half(found, 0), found, example=(flat(5), flat(4))).difference < 1e-13


def test_whole_numbers_as_inputs():
    model = settled(nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)))
    tokens = torch.arange(10).view(2, 5)
    found = sites(model, tokens)
    assert [(site.name, site.units) for site in found] == [("0", 6), ("1", 4)]
    small = shrink(model, half(found, 0), found, example=tokens).model
    assert small[0].embedding_dim == small[0].weight.shape[1] < 6


def test_an_image_network_without_bias_or_statistics():
    model = settled(nn.Sequential(conv(3, 6, bias=False), nn.BatchNorm2d(6, affine=False), nn.ReLU6(), conv(6, 2)))
    found = sites(model, image())
    assert shrink(model, half(found, 2), found, example=image()).model[1].num_features < 6
