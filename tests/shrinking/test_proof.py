"""The proof sees through casts, random draws, tiny weights and silent activations, or says what stands in its way."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from oracle import confirmed
from test_shrink import half
from torch import nn
from zoo import Written, flat, image, settled

from sapwood.errors import InputError
from sapwood.shrinking.cutting import equal
from sapwood.shrinking.cutting.equal import difference, inputs, random_like
from sapwood.shrinking.cutting.wide import Wide, running_in
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import compact, shrink


def shrunk(model, example, seed=0):
    """A random half of all units goes."""
    found = sites(model, example)
    assert found
    return shrink(model, half(found, seed), found, example=example)


def layered(how, **more):
    """Two layers and a head; `how` computes with them."""
    torch.manual_seed(0)
    return Written(how, a=nn.Linear(8, 12), b=nn.Linear(12, 10), head=nn.Linear(10, 3), **more).eval()


def by_one(site):
    """The site, units that are read in a place beside their own."""
    slots = [replace(slot, unit_of=slot.unit_of.roll(int(slot.role == "reads"))) for slot in site.slots]
    return replace(site, slots=tuple(slots))


def answer(of, x):
    return of["head"](F.relu(of["b"](F.relu(of["a"](x)))))


# ---- casts ----


def waves(t, dtype=None):
    """A table of sines and cosines, [N, 8]."""
    angle = t[:, None].float() * torch.exp(-torch.arange(4, dtype=torch.float32))
    return torch.cat([angle.sin(), angle.cos()], -1)


def started(of, x):
    state = torch.zeros(1, len(x), of["own"].hidden_size, dtype=torch.float32)
    state = (state, state) if isinstance(of["own"], nn.LSTM) else state
    return of["last"](of["own"](x, state)[0][:, -1])


def recurrent(kind):
    torch.manual_seed(0)
    return Written(started, own=kind(8, 6, batch_first=True), last=nn.Linear(6, 3)).eval()


def by_cell(of, x):
    state = torch.zeros(len(x), of["own"].hidden_size)
    for step in x.unbind(1):
        state = of["own"](step, state)
    return of["last"](state)


def kept_table(of, x):
    return answer(of, x @ of["a"].table)


def with_table():
    model = layered(kept_table)
    model.layers["a"].table = torch.randn(8, 8)  # neither parameter nor buffer
    return model


def under_autocast(of, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = answer(of, x)
    return x.float()


def test_under_autocast_everything_is_in_float64_all_the_same():
    model, plainly, x = layered(under_autocast).double(), layered(answer).double(), torch.randn(3, 8).double()
    with torch.no_grad(), running_in(Wide(torch.float64)):
        given, wanted = model(x), plainly(x)
    assert given.dtype is torch.float64
    assert torch.equal(given, wanted)
    assert not torch.allclose(model(x).double(), wanted, rtol=0, atol=1e-9)


def test_grouped_products_are_in_float64_too():
    """Of mixtures of experts; torch has them in bfloat16."""
    x, w, ends = torch.randn(7, 16), torch.randn(3, 16, 8), torch.tensor([2, 2, 6], dtype=torch.int32)
    with torch.no_grad(), running_in(Wide(torch.float64)):
        given = torch._grouped_mm(x.bfloat16(), w.bfloat16(), offs=ends)
    wanted = torch.cat([x[:2].double() @ w[0].double(), x[2:6].double() @ w[2].double(), torch.zeros(1, 8).double()])
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-12)


class Experts(nn.Module):
    """Every row goes to one of four, all rows in one grouped product."""

    def __init__(self):
        super().__init__()
        self.a, self.route, self.out = nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(16, 3)
        self.up, self.down = nn.Parameter(torch.randn(4, 16, 24) / 4), nn.Parameter(torch.randn(4, 24, 16) / 5)

    def forward(self, x):
        x = self.a(x)
        chosen = self.route(x).argmax(-1)
        order, ends = chosen.argsort(), torch.bincount(chosen, minlength=4).cumsum(0).to(torch.int32)
        y = torch._grouped_mm(x[order].bfloat16(), self.up.bfloat16(), offs=ends)
        y = torch._grouped_mm(F.relu(y), self.down.bfloat16(), offs=ends)
        return self.out(x + torch.zeros_like(x).index_copy(0, order, y.to(x.dtype)))


def test_a_mixture_of_experts_is_shrunk_or_pinned_and_proven_in_float64():
    torch.manual_seed(0)
    model, example = Experts().eval(), torch.randn(9, 8)
    found = sites(model, example)
    keep = {
        site.name: torch.arange(site.units) < site.units - 8 for site in found
    }  # in bytes the operator takes 16, 32
    result = shrink(model, keep, found, example=example)
    assert result.proven is torch.float64
    assert result.model(example).shape == (9, 3)


def test_what_no_longer_runs_in_its_own_type_is_refused():
    """In float64 it would."""

    def in_pairs(of, x):
        y = of["a"](x)
        if y.dtype is torch.float32 and y.shape[1] % 2:
            raise ValueError("an even number of columns, please")
        return of["head"](F.relu(of["b"](y)))

    model, example = layered(in_pairs), torch.randn(3, 8)
    (site,) = (site for site in sites(layered(answer), example) if site.name == "layers.a")
    assert shrink(model, {"layers.a": torch.arange(12) > 1}, [site], example=example).proven is torch.float64
    with pytest.raises(InputError, match=r"does not run: an even number of columns, please \(.*test_proof.py"):
        shrink(model, {"layers.a": torch.arange(12) > 2}, [site], example=example)


def test_what_computes_in_less_outside_of_torch_is_not_the_sites_fault():
    model, example = layered(answer), torch.randn(3, 8)
    found = sites(model, example)
    keep = half(found, 0)
    rounded = iter(range(100))
    model.how = lambda of, x: answer(of, x) * (1 + 1e-8 * next(rounded))
    with pytest.raises(InputError, match="as little as code that computes in less") as refused:
        shrink(model, keep, found, example=example)
    assert "sites do not fit" not in str(refused.value)


PIXELS = torch.randint(0, 255, (1, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
CASTS = {
    "inputs": (lambda: layered(lambda of, x: answer(of, x.float())), torch.randn(3, 8)),
    "in the middle": (lambda: layered(lambda of, x: of["head"](of["b"](of["a"](x).float().tanh()))), torch.randn(3, 8)),
    "back and forth": (lambda: layered(lambda of, x: answer(of, x.half().to(torch.float32))), torch.randn(3, 8)),
    "sines": (lambda: layered(lambda of, t: answer(of, waves(t))), torch.arange(5)),
    "lstm from zeros": (lambda: recurrent(nn.LSTM), torch.randn(2, 4, 8)),
    "gru from zeros": (lambda: recurrent(nn.GRU), torch.randn(2, 4, 8)),
    "cell from zeros": (lambda: Written(by_cell, own=nn.GRUCell(8, 6), last=nn.Linear(6, 3)), torch.randn(2, 4, 8)),
    "a table of its own": (with_table, torch.randn(3, 8)),
    "bytes": (
        lambda: Written(
            lambda of, x: of["head"](of["a"](x.float() / 255).relu().mean((2, 3))),
            a=nn.Conv2d(3, 8, 3), head=nn.Linear(8, 3),
        ),
        PIXELS,
    ),
    "bfloat16": (lambda: layered(answer).bfloat16(), torch.randn(3, 8).bfloat16()),
    "half": (lambda: layered(lambda of, x: answer(of, x.half())).half(), torch.randn(3, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASTS)
def test_a_network_that_casts_is_proven_in_float64(name, unchanged):
    make, example = CASTS[name]
    model = make()
    unchanged(model)
    result = shrunk(model, example)
    assert result.proven is torch.float64
    assert result.difference < 1e-13
    small = result.model
    assert {p.dtype for p in small.parameters()} == {p.dtype for p in model.parameters()}
    with torch.no_grad():
        assert small(example).shape == model(example).shape
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_torchs_own_settings_are_as_before():
    before = torch.backends.mha.get_fastpath_enabled()
    small = shrunk(CASTS["inputs"][0](), CASTS["inputs"][1]).model
    assert torch.get_default_dtype() is torch.float32
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert small(torch.randn(2, 8)).dtype is torch.float32


def test_a_cut_that_is_wrong_is_told_behind_casts():
    model = layered(lambda of, x: answer(of, x.float()))
    site = sites(model, torch.randn(3, 8))[0]
    wrong = by_one(site)
    with pytest.raises(InputError, match=r"differ from the original by .*float64"):
        shrink(model, {site.name: torch.arange(12) != 1}, [wrong], example=torch.randn(3, 8))


def test_dead_units_go_from_a_network_that_casts():
    model = layered(lambda of, x: answer(of, x.float()))
    with torch.no_grad():
        model.layers["a"].weight[2:5] = 0
    result = compact(model, example=torch.randn(3, 8))
    assert result.proven is torch.float64
    assert result.model.layers["a"].out_features == 9


def only_float32(of, x):
    x = of["a"](x).float()
    if x.dtype is not torch.float32:
        raise TypeError("written for float32")
    return of["head"](F.relu(of["b"](F.relu(x))))


def test_what_runs_in_float32_only_is_proven_in_float32_and_says_so():
    model = layered(only_float32)
    result = shrunk(model, torch.randn(3, 8))
    assert result.proven is torch.float32
    assert result.difference < 1e-5


def test_in_float32_a_wrong_cut_is_refused_and_one_that_cannot_be_told_apart_too(monkeypatch):
    model, example = layered(only_float32), torch.randn(3, 8)
    site = sites(model, example)[0]
    keep = {site.name: torch.arange(12) != 1}
    with pytest.raises(InputError, match=r"differ from the original by .*float32"):
        shrink(model, keep, [by_one(site)], example=example)
    monkeypatch.setattr(equal, "APART", 1e9)
    with pytest.raises(InputError, match=r"in float32, the widest type .*wrong cut of site 'layers.a'"):
        shrink(model, keep, [site], example=example)


def test_what_runs_in_no_type_is_told_with_its_line():
    runs = iter(range(100))

    def twice(of, x):
        if next(runs) > 1:
            raise RuntimeError("no more today")
        return answer(of, x)

    model, example = layered(twice), torch.randn(3, 8)
    found = sites(model, example)
    next(runs)
    with pytest.raises(
        InputError, match=r"Written itself cannot be run for the proof; in float64: no more today \(.*:\d+"
    ):
        shrink(model, half(found, 0), found, example=example)


def test_random_bytes_are_pixels_and_other_whole_numbers_stay():
    generator = torch.Generator().manual_seed(0)
    like = random_like(PIXELS, generator)
    assert like.dtype is torch.uint8
    assert not torch.equal(like, PIXELS)
    assert int(like.max()) <= int(PIXELS.max())
    mask = (PIXELS > 99).to(torch.uint8)
    assert set(random_like(mask, generator).unique().tolist()) == {0, 1}
    tokens = torch.arange(6).view(2, 3)
    assert all(torch.equal(x, tokens) for (x,) in inputs(tokens))


# ---- random draws ----


def sampled(of, x):
    x = F.relu(of["a"](x))
    mean, log = of["mean"](x), of["log"](x)
    return of["head"](F.relu(of["b"](mean + torch.randn_like(mean) * torch.exp(log / 2))))


def autoencoder():
    torch.manual_seed(0)
    return Written(sampled, a=nn.Linear(8, 12), mean=nn.Linear(12, 6), log=nn.Linear(12, 6), b=nn.Linear(6, 10),
                   head=nn.Linear(10, 3))  # fmt: skip


def dropped(of, x):
    x = F.dropout(F.relu(of["a"](x)), 0.3, training=True)
    return of["head"](F.dropout(F.relu(of["b"](x)), 0.5, training=True))


DRAWS = {
    "noise on inputs": lambda: layered(lambda of, x: answer(of, x + torch.randn_like(x))),
    "noise of the code's shape": lambda: layered(lambda of, x: answer(of, x * torch.rand(len(x), 1))),
    "dropout that is always on": lambda: layered(dropped),
    "a sample of a distribution": autoencoder,
    "noise on units": lambda: layered(lambda of, x: of["head"](of["b"](of["a"](x) + torch.randn_like(of["a"](x))))),
}


@pytest.mark.parametrize("name", DRAWS)
def test_both_networks_draw_the_same(name, unchanged):
    model, example = DRAWS[name](), torch.randn(3, 8)
    unchanged(model)
    assert shrunk(model, example).difference < 1e-13


def test_a_difference_of_draws_is_no_fault_of_the_sites():
    """Positions are drawn of as many as there are units: without some of them others are drawn."""
    model = layered(answer)
    model.how = lambda of, x: answer(of, x) + torch.randperm(of["a"].out_features)[0]
    found = sites(model, torch.randn(3, 8))
    with pytest.raises(
        InputError, match=r"aten.randperm \(.*test_proof.py:\d+\) draws random numbers for units that go"
    ):
        shrink(model, half(found, 0), found, example=torch.randn(3, 8))


# ---- small and silent ----


class Attention(nn.Module):
    """Heads by an attribute; what is behind them may be silent."""

    def __init__(self, last, heads=4, width=12):
        super().__init__()
        self.h, self.last = heads, last
        self.q, self.k, self.v, self.o = (nn.Linear(8 if n < 3 else width, width) for n in range(4))
        self.head = nn.Linear(width, 3)

    def split(self, x):
        return x.view(*x.shape[:2], self.h, x.shape[-1] // self.h).transpose(1, 2)

    def forward(self, x):
        q, k, v = (self.split(layer(x)) for layer in (self.q, self.k, self.v))
        return self.last(self.head(self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))))


SILENT = {
    "dead": lambda x: F.relu(x - 1e3),
    "clamped": lambda x: x.clamp(5000.0, 6000.0),
    "saturated": lambda x: torch.sigmoid(x - 1e4),
    "times zero": lambda x: x * 0.0,
    "not at all": lambda x: x,
}


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize("scale", [1.0, 0.005])
def test_the_number_of_heads_is_right_whatever_stands_behind(name, scale):
    model = settled(Attention(SILENT[name]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    example = torch.randn(2, 5, 8, dtype=torch.float64)
    found = sites(model, example)
    (site,) = (site for site in found if site.units == 4)
    for gone in range(4):
        keep = {site.name: torch.arange(4) != gone}
        small = shrink(model, keep, found, example=example).model
        assert (small.h, model.h, small.q.out_features) == (3, 4, 9)
        small.last = model.last = lambda x: x
        with torch.no_grad():
            torch.testing.assert_close(small(example), confirmed(model, example, [site], keep), rtol=1e-9, atol=1e-15)
        model.last = SILENT[name]


class Windowed(Attention):
    """Another number that happens to be the number of heads."""

    def __init__(self):
        super().__init__(lambda x: F.relu(x - 1e3))
        self.window = 4

    def forward(self, x):
        near = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(-self.window)
        q, k, v = (self.split(layer(x)) for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, near)
        return self.last(self.head(self.o(y.transpose(1, 2).flatten(2))))


def test_a_number_that_is_the_same_by_chance_stays():
    model = settled(Windowed())
    example = torch.randn(2, 9, 8, dtype=torch.float64)
    found = sites(model, example)
    (site,) = (site for site in found if site.units == 4)
    small = shrink(model, {site.name: torch.arange(4) < 2}, found, example=example).model
    assert (small.h, small.window) == (2, 4)


class InFour(Attention):
    """The number of heads is in the code."""

    def split(self, x):
        return x.view(*x.shape[:2], 4, x.shape[-1] // 4).transpose(1, 2)


def test_heads_written_into_the_code_are_pinned_even_if_nothing_shows_them():
    found = couplings(settled(InFour(SILENT["dead"])), torch.randn(2, 5, 8, dtype=torch.float64))
    assert not any(site.units == 4 for site in found.sites)
    assert any(p.units == 4 and f"a size may be written into aten.view ({__file__}:" in p.because for p in found.pinned)


@pytest.mark.parametrize("hidden", ["dead", "saturated", "clamped"])
def test_a_wrong_slot_behind_something_silent_is_refused(hidden):
    model = settled(layered(lambda of, x: of["head"](SILENT[hidden](of["b"](F.relu(of["a"](x)))))))
    (site,) = (site for site in sites(model, flat(8)) if site.name == "layers.a")
    with pytest.raises(InputError, match="differ from the original by"):
        shrink(model, {site.name: torch.arange(12) != 1}, [by_one(site)], example=flat(8))


@pytest.mark.parametrize("last", [0.0, 1e-6])
def test_a_wrong_slot_in_a_branch_that_counts_little_is_refused(last):
    """Scales of branches that start at almost nothing, as ConvNeXt's, and norms that start at 0."""

    def forward(of, x):
        return of["head"](x + of["scale"] * of["norm"](of["b"](F.gelu(of["a"](x)))))

    model = settled(Written(
        forward, a=nn.Linear(8, 12), b=nn.Linear(12, 8), norm=nn.BatchNorm1d(8), head=nn.Linear(8, 3),
        scale=nn.Parameter(torch.ones(8)),
    ))  # fmt: skip
    with torch.no_grad():
        model.bare["scale"].fill_(last or 1.0)
        model.layers["norm"].weight.fill_(1.0 if last else 0.0)
    (site,) = (site for site in sites(model, flat(8)) if site.name == "layers.a")
    assert shrink(model, {site.name: torch.arange(12) != 1}, [site], example=flat(8)).difference < 1e-13
    with pytest.raises(InputError, match="differ from the original by"):
        shrink(model, {site.name: torch.arange(12) != 1}, [by_one(site)], example=flat(8))


def test_where_an_awake_network_has_no_numbers_it_is_left_asleep():
    """log(sigmoid(x)) of what lets a tenth of x by is NaN, and NaN would hide everything."""
    model = settled(layered(lambda of, x: of["head"](torch.log(torch.sigmoid(of["b"](F.relu(of["a"](x))) - 9)))))
    whole, other = settled(layered(model.how)), settled(layered(model.how))
    with torch.no_grad():
        other.layers["head"].weight[0, 0] += 0.1
    assert difference(whole, model, [(flat(8),)], torch.float64, awake=True) == 0.0
    assert difference(whole, other, [(flat(8),)], torch.float64, awake=True) > 1e-4
    assert shrunk(model, flat(8)).difference < 1e-12


def test_where_nothing_is_finite_nothing_is_proven():
    model = settled(layered(lambda of, x: answer(of, x) * float("nan")))
    with pytest.raises(InputError, match="Written gives no finite number for this example"):
        shrunk(model, flat(8))


def test_a_network_of_positive_numbers_is_seen_at_its_example():
    model, example = settled(layered(lambda of, x: answer(of, x.sum(1, keepdim=True).log() + x))), flat(8).abs()
    assert shrunk(model, example).difference < 1e-12
    (site,) = (site for site in sites(model, example) if site.name == "layers.a")
    with pytest.raises(InputError, match="differ from the original by"):
        shrink(model, {site.name: torch.arange(12) != 1}, [by_one(site)], example=example)


def test_attention_that_drops_nothing_draws_nothing():
    q, mode = torch.randn(1, 2, 3, 4), Wide(torch.float64)
    with torch.no_grad(), running_in(mode):
        F.scaled_dot_product_attention(q, q, q)
    assert not mode.drawn


# ---- nothing claimed ----


def norm_first(of, x):
    return of["head"](of["b"](of["norm"](of["a"](x))))


def test_a_lossy_network_is_run_before_it_is_given():
    model, example = settled(layered(norm_first, norm=nn.LayerNorm(12))), flat(8)
    found = sites(model, example, lossy=True)
    result = shrink(model, half(found, 0), found, example=example)
    assert result.difference is result.proven is None
    assert result.model(example).shape == (3, 3)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (lambda of, x: norm_first(of, x) + norm_first(of, x).new_ones(of["a"].out_features - 9), "does not run: "),
        (lambda of, x: norm_first(of, x).expand(of["a"].out_features, 3, 3), "would have other shapes"),
    ],
)  # fmt: skip
def test_a_lossy_network_that_does_not_run_is_refused(rest, says, unchanged):
    """A site taken from a network in which it could go."""
    model, example = settled(layered(norm_first, norm=nn.LayerNorm(12))), flat(8)
    found = [site for site in sites(model, example, lossy=True) if site.lossy]
    model.how = rest
    unchanged(model)
    assert model(example).shape in ((3, 3), (12, 3, 3))
    with pytest.raises(InputError, match=says):
        shrink(model, half(found, 0), found, example=example)


def test_the_stream_of_a_network_that_reads_its_width_elsewhere_is_not_offered():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.n, self.h = 12, 4
            self.a, self.norm, self.qkv = nn.Linear(8, 12), nn.LayerNorm(12), nn.Linear(12, 36)
            self.o, self.head = nn.Linear(12, 12), nn.Linear(12, 3)

        def forward(self, x):
            x = self.a(x)
            n, t, c = x.shape
            q, k, v = (
                y.view(n, t, self.h, c // self.h).transpose(1, 2) for y in self.qkv(self.norm(x)).split(self.n, 2)
            )
            return self.head(x + self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)))

    found = couplings(settled(Reading()), torch.randn(2, 5, 8, dtype=torch.float64), lossy=True)
    assert "a" not in {site.name for site in found.sites}
    assert any(p.name == "a" and f"{__file__}:" in p.because for p in found.pinned)


def test_images_in_bytes_are_seen_in_more_than_one_way():
    assert len({tuple(x.flatten().tolist()) for (x,) in inputs(PIXELS)}) == 3
    assert image().dtype is torch.float64
