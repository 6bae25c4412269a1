"""Lent weights: a proof that holds no second model says what one with all weights widened says."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from shrinking.zoo import Written, flat, plain, residual, settled, shared
from torch import nn

from sapwood import compact, shrink, sites
from sapwood.errors import InputError
from sapwood.shrinking import fit, fold, shrunk
from sapwood.shrinking.cutting import equal, lent
from sapwood.shrinking.cutting.equal import stir_, zero_
from sapwood.shrinking.cutting.lent import Lent, Loan
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.computed import twin


@pytest.fixture
def tries(monkeypatch):
    """All weights are lent, in blocks of a few rows; what is found for each try of a proof: whether it lent any."""
    found, original = [], shrunk._Proof._seen
    for name, value in {"ENOUGH": 0, "LEAST": 0, "BLOCK": 16}.items():
        monkeypatch.setattr(lent, name, value)

    def seen(proof, examples, zeroed, awake, loans=None):
        found.append(loans is not None)
        return original(proof, examples, zeroed, awake, loans)

    monkeypatch.setattr(shrunk._Proof, "_seen", seen)
    return found


def heads():
    def run(of, x):
        q, k, v = (of[name](x).view(len(x), 1, -1, 4).transpose(1, 2) for name in "qkv")
        return of["out"](((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2).flatten(1))

    return Written(run, **{name: nn.Linear(8, 8) for name in "qkv"}, out=nn.Linear(8, 3)), flat(8)


def torchs_attention():
    def run(of, x):
        return of["head"](F.relu(of["up"](of["own"](x, x, x)[0])))

    own = nn.MultiheadAttention(8, 2, batch_first=True)
    return Written(run, own=own, up=nn.Linear(8, 12), head=nn.Linear(12, 3)), flat(8, 12).view(3, 4, 8)


def recurrent():
    def run(of, x):
        return of["last"](of["own"](x)[0][:, -1])

    return Written(run, own=nn.LSTM(8, 6, batch_first=True), last=nn.Linear(6, 3)), flat(8, 12).view(3, 4, 8)


def tied():
    def run(of, x):
        return F.linear(of["b"](F.relu(of["a"](of["words"](x)))), of["words"].weight)

    return Written(run, words=nn.Embedding(9, 8), a=nn.Linear(8, 12), b=nn.Linear(12, 8)), torch.arange(4)[None]


def normed():
    two = (
        nn.utils.parametrizations.weight_norm(nn.Linear(8, 12)),
        nn.utils.parametrizations.spectral_norm(nn.Linear(12, 10)),
    )
    return nn.Sequential(two[0], nn.ReLU(), two[1], nn.ReLU(), nn.Linear(10, 3)), flat(8)


def small_in(dtype, made):
    model, example = made
    example = example.to(dtype) if example.is_floating_point() else example
    return settled(model).to(dtype), example


NETWORKS = (plain, residual, shared, heads, torchs_attention, recurrent, tied, normed)


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_the_proof_and_what_is_left_are_those_of_widened_weights(make, tries, monkeypatch):
    model, example = small_in(torch.float32, make())
    anatomy = Anatomy(model, example)
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in sites(anatomy)}
    before = {name: p.clone() for name, p in model.state_dict().items()}
    found = shrink(anatomy, keep)
    assert tries == [True, True]
    monkeypatch.setattr(lent, "ENOUGH", 2**40)
    wanted = shrink(anatomy, keep)
    assert found.proven is wanted.proven is torch.float64
    assert max(found.difference, wanted.difference) <= 1e-12
    for of, like in ((found.model, wanted.model.state_dict()), (model, before)):
        assert all(torch.equal(tensor, like[name]) for name, tensor in of.state_dict().items())


def test_folded_units_are_proven_likewise(tries):
    model, example = small_in(torch.float32, plain())
    with torch.no_grad():
        model[0].weight[::2] = 0
    found = compact(model, example=example)
    assert found.proven is torch.float64
    assert found.difference <= 1e-9
    assert tries
    assert all(tries)
    assert found.model[0].out_channels < 6


def silenced(model, example):
    """The anatomy, every other unit without incoming weights, and what is to stay."""
    found = sites(model, example)
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in found}
    tensors = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for site in found:
            for slot in site.at("makes"):
                if "bias" not in slot.tensor and slot.tensor in tensors:
                    gone = (slot.unit_of >= 0) & ~keep[site.name][slot.unit_of]
                    tensors[slot.tensor].index_fill_(slot.dim, gone.nonzero().flatten(), 0.0)
    return Anatomy(model, example), found, keep


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_constants_are_those_that_widened_weights_send(make, dtype, tries, monkeypatch):
    given, original, ways = silenced(*small_in(dtype, make())), fold._seen, []

    def seen(anatomy, loans):
        ways.append(loans is not None)
        return original(anatomy, loans)

    monkeypatch.setattr(fold, "_seen", seen)
    kept, shifts, staying = fold.folding(*given)
    monkeypatch.setattr(lent, "ENOUGH", 2**40)
    wanted, others, remain = fold.folding(*given)
    assert ways == [True, False], "lent weights were not enough"
    assert staying == remain
    assert all(torch.equal(kept[name], wanted[name]) for name in kept.keys() | wanted.keys())
    assert shifts.keys() == others.keys()
    for name, shift in shifts.items():
        assert shift.dtype is torch.float64
        assert torch.equal(shift, others[name])
    if make is plain:
        assert shifts


def test_large_weights_are_not_widened_to_find_constants(tries, monkeypatch):
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).bfloat16().eval()
    given, held = silenced(model, torch.ones(2, 64, dtype=torch.bfloat16)), []
    original = equal.widened_

    def widened_(model, dtype):
        found = original(model, dtype)
        held.append(sum(p.untyped_storage().nbytes() for p in found.parameters()))
        return found

    monkeypatch.setattr(equal, "widened_", widened_)
    before = [p.clone() for p in model.parameters()]
    fold.folding(*given)
    assert held == [2 * 8 + 2 * 64 * 8]  # a number for each weight, and the biases
    assert all(torch.equal(p, like) for p, like in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("make", [plain, residual, heads, tied], ids=lambda make: make.__name__)
def test_a_slot_in_the_wrong_place_is_refused(make, tries):
    model, example = small_in(torch.float32, make())
    site = max(sites(model, example), key=lambda site: site.units)
    slots = [replace(slot, unit_of=slot.unit_of.roll(int(slot.role == "reads"))) for slot in site.slots]
    keep = {site.name: torch.arange(site.units) < site.units // 2}
    with pytest.raises(InputError, match="differ"):
        shrink(model, keep, [replace(site, slots=tuple(slots))], example=example)
    assert tries[0]


def written(of, x):
    of["a"].weight.data[0].mul_(0.5)
    return of["b"](F.relu(of["a"](x)))


def told(of, x):
    """Numbers that are read by other means than torch's operators."""
    return of["b"](F.relu(of["a"](x))) * float(of["b"].weight.data.numpy().sum())


@pytest.mark.parametrize(("how", "then"), [(written, [True, False, True, False]), (told, [True, True])])
def test_code_that_writes_to_weights_is_proven_as_before(how, then, tries):
    layers = {"a": nn.Linear(8, 12), "b": nn.Linear(12, 3)}
    model, example = settled(Written(lambda of, x: of["b"](F.relu(of["a"](x))), **layers)).float(), flat(8).float()
    anatomy = Anatomy(model, example)
    (site,) = sites(anatomy)
    model.how = how
    assert shrink(anatomy, {site.name: torch.arange(12) < 5}).difference <= 1e-12
    assert tries == then


# ---- numbers, by hand ----


def lent_pair(model, places, stirs):
    """The two networks, emptied, with their loans."""
    loans = Lent(model, torch.float64)
    small = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False))
    whole = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False))
    for p, like in zip(whole.parameters(), model.parameters(), strict=True):
        p.data = like.data
    loans.take_(whole, ())
    if stirs:
        stir_(whole, loans)
    loans.cut_(small, whole, places)
    return loans, whole, small


@pytest.mark.parametrize("stirs", [False, True])
def test_numbers_in_blocks_are_cut_out_of_the_whole_ones(stirs, tries):
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False)).bfloat16()
    stay = torch.tensor([0, 1, 0, 0, 1, 0]).bool()
    loans, whole, small = lent_pair(model, {"0.weight": {0: stay}, "1.weight": {1: stay}}, stirs)
    made = [loans.of(p).made(torch.float64) for net in (whole, small) for p in net.parameters()]
    assert torch.equal(made[2], made[0][stay])
    assert torch.equal(made[3], made[1][:, stay])
    if not stirs:
        assert torch.equal(made[0], model[0].weight.double())
    else:  # of ordinary size 1 / sqrt(columns) with half as much noise
        own = model[0].weight.detach().double()
        ordinary = own / own.square().mean().sqrt() * 4**-0.5
        assert 0.1 < float((made[0] - ordinary).square().mean().sqrt()) / 4**-0.5 < 0.9


def test_units_are_zeroed_where_they_are_read_and_noise_where_they_are_made(tries):
    model = settled(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))).float()
    (site,) = (each for each in sites(model, flat(4).float()) if each.units == 6)
    loans, keep = Lent(model, torch.float64), torch.arange(6) % 3 == 0
    own = [p.clone() for p in model.parameters()]
    loans.take_(model, ())
    zero_(model, [site], {site.name: keep}, loans)
    into, out = (loans.of(layer.weight).made(torch.float64) for layer in model)
    assert torch.equal(out, own[2].double() * keep)
    assert torch.equal(into[keep], own[0].double()[keep])
    assert bool(((into[~keep] >= 0.5) & (into[~keep] < 1.5)).all())


def test_no_more_is_held_than_may_be(tries, monkeypatch):
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(6)))
    loans, made, original = Lent(model, torch.float64), [], Loan.made
    loans.take_(model, ())
    monkeypatch.setattr(Loan, "made", lambda *given: made.append(1) or original(*given))
    loans.most = 2 * 64 * 8  # two of six
    read = torch.ops.aten.mm.default
    for layer in (0, 1, 0, 2, 1):
        loans.given(read, (model[layer].weight, model[layer].weight), {})
        assert sum(tensor.numel() * 8 for tensor in loans._made.values()) <= loans.most
    assert len(made) == 4  # the second time 0 was there, 1 was not


def test_small_networks_and_float64_are_widened_as_they_are():
    assert not Lent(nn.Linear(8, 8), torch.float64).worth_it
    assert not Lent(nn.Linear(3000, 3000, dtype=torch.float64, device="meta"), torch.float64).worth_it
    assert Lent(nn.utils.skip_init(nn.Linear, 3000, 3000), torch.float64).worth_it


def test_what_is_made_later_is_not_taken_for_a_weight_that_is_gone(tries):
    """Loans are found by memory, which torch gives away again."""
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(50)))
    loans, copy = Lent(model, torch.float64), twin(model)
    loans.take_(copy, ())
    assert all(loans.of(p) for p in copy.parameters())
    del copy
    later = [torch.ones(8, 8, dtype=torch.float64) for _ in range(200)]
    assert not any(loans.of(x) for x in later)


def summed():
    def run(of, x):
        return of["b"](F.relu(of["a"](x)).reshape(-1, 6)).reshape(len(x), -1).sum(1)

    return Written(run, a=nn.Linear(8, 12), b=nn.Linear(6, 3)), flat(8)


@pytest.mark.parametrize("wrong", [False, True])
def test_numbers_that_are_tried_while_sites_are_found_are_lent(wrong, tries, monkeypatch):
    """What is summed up may follow in size; the networks are compared, and a wrong one is not taken for equal."""
    ways, original = [], fit.raised_

    def raised_(copy, dtype, loans, **more):
        ways.append(loans is not None)
        return original(copy, dtype, loans, **more)

    monkeypatch.setattr(fit, "raised_", raised_)
    if wrong:
        monkeypatch.setattr(fit, "zero_", lambda whole, *given: whole)
    model, example = small_in(torch.float32, summed())
    found = [(site.name, site.units) for site in sites(model, example)]
    assert found == ([] if wrong else [("layers.b", 3)])
    assert ways[0]
    assert all(ways) is not wrong
