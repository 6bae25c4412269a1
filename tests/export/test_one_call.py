"""One call: networks of every kind meet a target, equal what they were with zeros, train on and can be written."""

import warnings
from copy import deepcopy

import kinds
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from sapwood import CRITERIA, InputError, export, macs_of, masks, observe, parameters_of, prune, sites, spread
from sapwood.export import pruning
from sapwood.export.pruned import Times
from sapwood.export.worth import norms
from sapwood.measure.clock import Ratio, Timing
from sapwood.measure.example import as_tuple, call


@pytest.fixture(params=[*kinds.OURS, *kinds.THEIRS])
def kind(request):
    """The name of a kind of network."""
    if request.param in kinds.THEIRS:
        pytest.importorskip(kinds.FROM[request.param])
    return request.param


def tensors(model, example):
    """All tensors that a network answers with."""
    with torch.no_grad(), warnings.catch_warnings():
        answer = call(model, as_tuple(example))
    values = answer if isinstance(answer, torch.Tensor) else list(dict(answer).values())
    return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def wide(example):
    """The example in float64, whole numbers as they are."""
    return pytree.tree_map_only(torch.Tensor, lambda x: x.double() if x.is_floating_point() else x, example)


def same(model, other):
    """Whether two networks have the same bits."""
    mine, theirs = model.state_dict(), other.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


def without_cache(model):
    """What writers and counters of a Hugging Face model ask for."""
    if hasattr(model, "config"):
        model.config.use_cache = False
    return model


def test_half_of_the_multiply_adds_of_every_kind(kind, tmp_path):
    model, example = kinds.made(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = deepcopy(model)
    pruned = prune(model, example, macs=0.5, optimizer=optimizer, timing=0)
    small = without_cache(pruned.model)

    assert pruned.after.macs <= 0.5 * pruned.before.macs
    assert pruned.after.macs == int(macs_of(small, (), example)({}))
    assert pruned.after.parameters == sum(p.numel() for p in small.parameters())
    assert pruned.after.bytes == sum(t.numel() * t.element_size() for t in (*small.parameters(), *small.buffers()))
    assert same(model, before)
    assert small.training
    assert pruned.proven is torch.float64
    assert pruned.difference <= 1e-12

    zeroed = without_cache(deepcopy(model))
    masks.apply_(dict(zeroed.named_parameters()), spread(model, pruned.keep, pruned.sites))
    pairs = zip(*(tensors(m.double().eval(), wide(example)) for m in (zeroed, deepcopy(small))), strict=True)
    assert all(torch.allclose(one, other, rtol=1e-9, atol=1e-9) for one, other in pairs)

    table = str(pruned)
    assert f"{pruned.before.macs:,}" in table
    assert f"{pruned.after.macs:,}" in table
    assert f"{pruned.after.parameters:,}" in pruned._repr_html_()

    values = [p.clone() for p in small.parameters()]
    answer = call(small, as_tuple(example))
    sum(t.square().sum() for t in pytree.tree_leaves(dict(answer) if isinstance(answer, dict) else answer)
        if isinstance(t, torch.Tensor)).backward()  # fmt: skip
    pruned.optimizer.step()
    assert any(not torch.equal(value, p) for value, p in zip(values, small.parameters(), strict=True))

    small.eval()
    export.save(small, tmp_path / "small.safetensors", of=model)
    again = export.load(tmp_path / "small.safetensors", lambda: kinds.made(kind, seed=1)[0]).eval()
    assert same(again, small)
    for one, other in zip(tensors(without_cache(again), example), tensors(small, example), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["encoder", "named"])
def test_it_is_written_for_onnx_runtime(name, tmp_path):
    pytest.importorskip("onnxscript")
    model, example = kinds.made(name)
    small = prune(model, example, macs=0.5, timing=0).model
    apart = export.to_onnx(small, example, tmp_path / "small.onnx")
    assert apart is None or apart <= 1e-5


@pytest.mark.parametrize("target", ["macs", "parameters", "bytes"])
@pytest.mark.parametrize("uniform", [False, True])
def test_the_target_is_met_within_one_step_of_every_site(target, uniform):
    model, example = kinds.made("residual")
    shares = {}
    for share in (0.8, 0.45):
        pruned = prune(model, example, multiple=4, uniform=uniform, timing=0, **{target: share})
        left, whole = (getattr(size, target) for size in (pruned.after, pruned.before))
        assert left <= share * whole
        more = {
            name: torch.arange(len(kept)) < min(len(kept), int(kept.sum()) + 4) for name, kept in pruned.keep.items()
        }
        cost = {"macs": macs_of(model, pruned.sites, example), "parameters": parameters_of(model, pruned.sites)}
        if target in cost:
            assert float(cost[target](more)) > share * whole
        shares[share] = pruned.keep
    assert all(bool((shares[0.8][name] | ~kept).all()) for name, kept in shares[0.45].items())


def test_a_number_is_a_target_like_the_share_it_is():
    model, example = kinds.made("unet")
    for name in ("macs", "parameters", "bytes"):
        share = prune(model, example, timing=0, **{name: 0.6})
        number = prune(model, example, timing=0, **{name: 0.6 * getattr(share.before, name)})
        assert same(number.model, share.model)


def test_the_same_share_goes_everywhere():
    model, example = kinds.made("unet")
    pruned = prune(model, example, macs=0.5, multiple=1, uniform=True, timing=0)
    shares = [float(kept.double().mean()) for kept in pruned.keep.values()]
    assert max(shares) - min(shares) <= 1 / 16


def test_widths_are_multiples_and_heads_and_groups_go_one_by_one():
    for name in ("residual", "unet", "encoder", "groups", "lstm"):
        model, example = kinds.made(name)
        before = dict(model.named_parameters())
        small = dict(prune(model, example, macs=0.6, timing=0).model.named_parameters())
        changed = [
            (n, new) for n, p in small.items() for new, old in zip(p.shape, before[n].shape, strict=True) if new != old
        ]
        assert changed
        assert [each for each in changed if each[1] % 8] == []
    model, example = kinds.made("encoder")
    heads = prune(model, example, by={s.name: torch.arange(s.units) for s in sites(model, example) if s.units == 4},
                  macs=0.95, timing=0)  # fmt: skip
    assert sorted(int(kept.sum()) for kept in heads.keep.values()) in ([3, 4], [2, 4], [3, 3])


def test_scores_of_what_keep_names_are_left_unread():
    model, x = (
        nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)),
        torch.rand(1, 4),
    )
    by = {site.name: torch.rand(site.units) for site in sites(model, x)}
    pruned = prune(model, x, macs=0.7, by=by, keep=["0"], timing=0)
    assert (pruned.model[0].out_features, pruned.model[2].out_features) == (16, 8)
    with pytest.raises(InputError, match="no scores were given"):
        prune(model, x, macs=0.7, by={"0": by["0"]}, keep=["0"], timing=0)


@pytest.mark.parametrize("name", ["1.a", "1.a.weight", "1"])
def test_what_is_named_keeps_its_shape(name):
    model, example = kinds.made("residual")
    pruned = prune(model, example, macs=0.7, keep=[name], timing=0)
    before = dict(model.named_parameters())
    for tensor, parameter in pruned.model.named_parameters():
        assert not f"{tensor}.".startswith(f"{name}.") or parameter.shape == before[tensor].shape
    assert f"keep= names '{name}'" in str(pruned)
    assert pruned.after.macs < pruned.before.macs


def test_the_same_call_gives_the_same_bits_and_of_equals_the_first_stays():
    model, example = kinds.made("residual")
    one, other = (prune(model, example, macs=0.5, timing=0) for _ in range(2))
    assert same(one.model, other.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    for kept in prune(model, example, macs=0.5, timing=0).keep.values():
        assert torch.equal(kept, torch.arange(len(kept)) < int(kept.sum()))


def test_a_head_is_compared_channel_by_channel():
    model, example = kinds.made("encoder")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:  # a neuron touches 64 weights, a head 8 channels of 128
                parameter.fill_(0.3 if "self_attn" in name else 1.0)
    keep = prune(model, example, macs=0.8, timing=0).keep
    assert all(kept.all() for name, kept in keep.items() if "linear1" in name)
    assert not all(kept.all() for kept in keep.values())


@pytest.mark.parametrize(("macs", "left"), [(0.6, 8), (0.5, 8), (0.2, 4)])
def test_the_best_half_of_a_site_that_all_has_to_pass_goes_last_then_half_of_it(macs, left):
    model, example = kinds.made("unet")
    with torch.no_grad():
        model.join.weight.mul_(1e-3)
        model.out.weight.mul_(1e-3)
    least = prune(model, example, macs=macs, by="magnitude", multiple=1, timing=0).keep
    assert int(least["join"].sum()) == left
    assert macs > 0.2 or all(len(kept) > int(kept.sum()) for kept in least.values())


def test_the_best_quarter_of_a_site_that_is_passed_by_goes_last():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inside, self.out, self.head = (
                nn.Linear(*s) for s in ((8, 32), (32, 32), (32, 32), (32, 2))
            )

        def forward(self, x):
            x = self.first(x).relu()
            return self.head(x + self.out(self.inside(x).relu()))

    model = Residual()
    with torch.no_grad():
        model.inside.weight.mul_(1e-3)
        model.out.weight.mul_(1e-3)
    keep = prune(model, (torch.ones(2, 8),), macs=0.5, timing=0).keep
    assert int(keep["inside"].sum()) == 8
    assert keep["first"].all()


def test_a_norm_is_that_of_all_weights_and_where_all_has_to_pass_a_share():
    """Worked by hand: [3], [4] make the first layer's units, and 0, 4 / 0, 3 read them: norms 5 and 5."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0], [4.0]]))
        model[1].weight.copy_(torch.tensor([[0.0, 0.0], [4.0, 3.0]]))
        model[2].weight.copy_(torch.tensor([[1.0, 12.0]]))
    found = sites(model, torch.ones(1, 1))
    worth = norms(model, found)
    assert [round(x, 12) for x in worth["0"].tolist()] == [7.0, 7.0]  # 5 and 5 of 10, of the 14 of the widest
    assert [round(x, 12) for x in worth["1"].tolist()] == [1.0, 13.0]  # 0, 0, 1 and 4, 3, 12
    assert norms(model, found, ["0", "1"])["0"].tolist() == [5.0, 5.0]


def test_narrow_layers_that_all_has_to_pass_stay_whole_while_wide_ones_lose_half():
    model = nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 2)
    )
    keep = prune(model, torch.ones(2, 8), macs=0.6, timing=0).keep
    assert {name: int(kept.sum()) for name, kept in keep.items()} == {"0": 16, "2": 72, "4": 16}


def test_any_criterion_scores():
    model, example = kinds.made("residual")
    for name, criterion in CRITERIA.items():
        if not criterion.needs:
            pruned, last = prune(model, example, macs=0.6, by=name, timing=0), criterion
            assert pruned.after.macs <= 0.6 * pruned.before.macs
    assert same(pruned.model, prune(model, example, macs=0.6, by=last, timing=0).model)
    apoz = CRITERIA["apoz"]
    evidence = observe(model, [example], *apoz.needs)
    assert prune(model, example, macs=0.6, by="apoz", evidence=evidence, timing=0).difference is not None
    scores = {site.name: torch.arange(site.units).flip(0) for site in sites(model, example)}
    for kept in prune(model, example, macs=0.6, by=scores, timing=0).keep.values():
        assert torch.equal(kept, torch.arange(len(kept)) < int(kept.sum()))
    weights = {name: p.detach().abs() for name, p in model.named_parameters() if p.dim() > 1}
    assert same(
        prune(model, example, macs=0.6, by=weights, timing=0).model,
        prune(model, example, macs=0.6, by="magnitude", timing=0).model,
    )


def test_what_is_asked_of_a_network_is_asked_before_after_and_recalibrated():
    model, example = kinds.made("residual")
    asked = []

    def evaluate(network):
        asked.append((network is model, network.training, network[1].norm_a.running_mean.clone()))
        return torch.tensor(0.25 * len(asked))

    pruned = prune(model, example, macs=0.6, evaluate=evaluate, recalibrate=[example], timing=0)
    assert [(first, training) for first, training, _ in asked] == [(True, False), (False, False), (False, False)]
    assert not torch.equal(asked[1][2], asked[2][2])
    assert tuple(pruned.answers) == (0.25, 0.5, 0.75)
    assert all(number in str(pruned) for number in ("0.2500", "0.5000", "0.7500"))
    assert model.training
    silent = prune(model, example, macs=0.6, recalibrate=[example], timing=0)
    assert silent.answers is None
    assert same(silent.model, pruned.model)


def test_what_was_not_measured_is_not_claimed():
    model, example = kinds.made("encoder")
    pruned = prune(model, example, macs=0.6, timing=0)
    assert pruned.times is None
    assert "not measured" in str(pruned)
    assert all(word not in str(pruned) for word in ("timed", "evaluate", "thread"))


def test_lossy_units_may_go_and_nothing_is_claimed():
    net = nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 3))
    example = torch.rand(2, 4)
    with pytest.raises(InputError, match=r"nothing of Sequential can be removed: '0' stays: aten.layer_norm"):
        prune(net, example, macs=0.5)
    pruned = prune(net, example, macs=0.5, lossy=True, timing=0)
    assert pruned.model[1].normalized_shape == (16,)
    assert pruned.difference is None
    assert "not claimed" in str(pruned)


def stopwatch(monkeypatch, seconds):
    """`seconds` of a network's parameters instead of a clock; the numbers of parameters that were timed."""
    seen = []

    def timed(before, after, example, *, threads, seconds=None):
        sizes = [sum(p.numel() for p in network.parameters()) for network in (before, after)]
        seen.append(sizes[1])
        one, two = (Timing(of(size), 0.0, 0.0, 0.0, 2, threads, (of(size),) * 4) for size in sizes)
        left = two.median / one.median
        return Times(one, two, Ratio(left, left, left, 2, threads), "cpu")

    of = seconds
    monkeypatch.setattr(pruning, "side_by_side", timed)
    return seen


def test_a_time_is_measured_until_it_is_met(monkeypatch):
    model, example = kinds.made("unet")
    seen = stopwatch(monkeypatch, lambda size: size / 1e6)
    whole = sum(p.numel() for p in model.parameters())
    for target in (0.5, 1000 * 0.5 * whole / 1e6):
        pruned = prune(model, example, ms=target, multiple=1)
        assert seen[-1] == pruned.after.parameters <= 0.5 * whole
        assert pruned.after.parameters >= 0.4 * whole
        assert pruned.times.left.median <= 0.5
        assert "batch 2, 1 thread" in str(pruned)
    with pytest.raises(InputError, match=r"ms=0.01 cannot be met: .* the fastest that was measured took .*batch 2"):
        prune(model, example, ms=0.01)


def test_a_network_that_is_too_slow_the_last_time_is_not_given(monkeypatch):
    model, example = kinds.made("unet")
    seen = stopwatch(monkeypatch, lambda size: size / 1e6 * (1 + (size == seen[-1] and seen.count(size) == 2)))
    pruned = prune(model, example, ms=0.5, multiple=1, threads=2)
    slow = next(size for size in seen if seen.count(size) == 2)  # fast enough once, and not when it was measured again
    assert pruned.times.left.median <= 0.5
    assert pruned.after.parameters == seen[-1] < slow


def test_pruned_a_little_and_again():
    model, example = kinds.made("residual")
    optimizer, whole = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), None
    for share in (0.8, 0.6, 0.5):
        model(example).square().sum().backward()
        optimizer.step()
        pruned = prune(
            model, example, macs=share * whole if whole else share, multiple=4, optimizer=optimizer, timing=0
        )
        whole = whole or pruned.before.macs
        model, optimizer = pruned.model, pruned.optimizer
        assert pruned.after.macs <= share * whole
    assert "momentum_buffer" in optimizer.state[model[0].weight]


BAD = [
    ({}, "no target was given; give one of macs=, parameters=, bytes=, ms="),
    ({"macs": 0.5, "ms": 3}, "macs=0.5 and ms=3 are 2 targets; give one of them"),
    *(({"macs": bad}, "macs is ") for bad in (0, 1, -0.5, float("nan"), float("inf"), True, "half")),
    ({"macs": 1e12}, r"macs=1e\+12 asks for no less than there is: the network has"),
    ({"macs": 0.001}, r"macs=0.001 cannot be met: [\d,]+ of [\d,]+ macs \(.* %\) remain"),
    ({"macs": 0.5, "multiple": 0}, "multiple is 0; widths"),
    ({"macs": 0.5, "multiple": 64}, "nothing of Sequential can be removed: .* multiple=64 leaves no smaller width"),
    ({"macs": 0.5, "keep": "0"}, r"keep is '0'; give a list of names, as in keep=\['0'\]"),
    ({"macs": 0.5, "keep": ["1.aa"]}, "unknown name in keep '1.aa'; did you mean '1.a'"),
    ({"macs": 0.5, "by": "magnitud"}, "unknown criterion 'magnitud'; did you mean 'magnitude'"),
    ({"macs": 0.5, "by": 3}, "by is 3; give a criterion"),
    ({"macs": 0.5, "by": "apoz"}, "the criterion needs active, count; gather it first"),
    ({"macs": 0.5, "by": {"nowhere": torch.ones(3)}}, "unknown parameter or site in by 'nowhere'"),
    ({"macs": 0.5, "by": {"0": torch.ones(3)}}, r"by gives site '0' scores of shape \(3,\); it has 16 units"),
    ({"macs": 0.5, "evaluate": 1.0}, "evaluate is 1.0; give a function"),
    ({"macs": 0.5, "evaluate": lambda network: "good"}, r"evaluate\(model\) gave a str; it must give one number"),
    ({"macs": 0.5, "threads": 0}, "threads is 0; networks are timed"),
    ({"macs": 0.5, "timing": -1}, "timing is -1; give seconds"),
    ({"ms": 0.5, "timing": 0}, "ms is a target that is measured, and timing is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "says"), BAD, ids=range(len(BAD)))
def test_bad_input_is_named(options, says):
    model, example = kinds.made("residual")
    before = deepcopy(model)
    with pytest.raises(InputError, match=says):
        prune(model, example, **{"timing": 0} | options if "ms" not in options else options)
    assert same(model, before)
    assert model.training


def test_a_network_without_batch_norms_has_nothing_to_recalibrate():
    model, example = kinds.made("encoder")
    with pytest.raises(InputError, match=r"recalibrate was given, and Sequential has no batch norm; leave it out"):
        prune(model, example, macs=0.5, recalibrate=[example])
    with pytest.raises(InputError, match=r"model is a function; give a torch.nn.Module"):
        prune(lambda x: x, example, macs=0.5)


def test_caches_of_keys_and_values_are_off_only_while_it_looks():
    pytest.importorskip("transformers")
    model, example = kinds.made("gpt2")
    assert prune(model, example, macs=0.7, timing=0).model.config.use_cache is True
    assert model.config.use_cache is True
    with pytest.raises(InputError, match="cannot be met"):
        prune(model, example, macs=0.001)
    assert model.config.use_cache is True


def test_the_page_of_a_notebook_shows_what_the_terminal_shows():
    model, example = kinds.made("named")
    pruned = prune(model, example, macs=0.5, evaluate=lambda network: 0.5)
    page = pruned._repr_html_()
    for words in (f"{pruned.after.bytes:,}", f"{1000 * pruned.times.after.median:.3f}", "0.5000", "batch 2, 1 thread"):
        assert words in page
        assert words in repr(pruned)
    assert "<td>" not in str(pruned)
