"""Cost: equal to torch's own counts on the network that shrink returns; an expectation where units are likely."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_random_networks import many, networks
from test_shrink import half
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from zoo import ZOO, Written, built, flat, image, mlp, plain, settled, shared

from sapwood.errors import InputError
from sapwood.shrinking.contractions import CONTRACTIONS
from sapwood.shrinking.cost import bytes_of, fewest, macs_of, parameters_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy


def counted(model, example):
    """Half of torch's FLOPs; with gradients and plain attention, since it does not see inside fused kernels."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(*example) if isinstance(example, tuple) else model(example)
    return counter.get_total_flops() / 2


def tokens(width, count=2, length=5):
    return torch.randn(count, length, width, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


class Attention(nn.Module):
    """Queries of six heads, keys and values of `shared` times fewer; the product is written in one of four ways."""

    def __init__(self, how, shared):
        super().__init__()
        self.how, self.heads, self.groups = how, 6, 6 // shared
        self.q, self.k = nn.Linear(8, 24, bias=False), nn.Linear(8, 24 // shared)
        self.v, self.o = nn.Linear(8, 12 // shared), nn.Linear(12, 8)
        self.up, self.down = nn.Linear(8, 10), nn.Linear(10, 3)

    def forward(self, x):
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.heads, -1).transpose(1, 2)
        k, v = (of(x).view(b, t, self.groups, -1).transpose(1, 2) for of in (self.k, self.v))
        y = getattr(self, f"_{self.how}")(q, k, v).transpose(1, 2).reshape(b, t, -1)
        return self.down(F.relu(self.up(x + self.o(y))))

    def _fused(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=self.heads != self.groups)

    def _products(self, q, k, v):
        k, v = (x.repeat_interleave(self.heads // self.groups, 1) for x in (k, v))
        return (q @ k.mT).softmax(-1) @ v

    def _twice(self, q, k, v):
        """Scores times scores: both belong to a head, but to no weight."""
        k, v = (x.repeat_interleave(self.heads // self.groups, 1) for x in (k, v))
        scores = (q @ k.mT).softmax(-1)
        return scores @ scores @ v

    def _einsum(self, q, k, v):
        k, v = (x.repeat_interleave(self.heads // self.groups, 1) for x in (k, v))
        return torch.einsum("bhts,bhsd->bhtd", torch.einsum("...td,...sd->...ts", q, k).softmax(-1), v)


def recurrent(kind):
    def forward(of, x):
        return of["head"](of["cells"](torch.relu(of["a"](x)))[0])

    cells = kind(5, 6, 2, bidirectional=True, batch_first=True)
    return Written(forward, a=nn.Linear(8, 5), cells=cells, head=nn.Linear(12, 3)), tokens(8)


def products():
    """What torch takes apart, vectors as matrices and not, letters summed before the product, a block in a mode."""

    def forward(of, x):
        y = torch.tensordot(torch.tanh(of["a"](x)), of["w"], dims=1)
        z = torch.einsum("nti,nsj->ts", x, y) @ x[0]
        with torch.autocast("cpu", enabled=False):
            z = z @ of["w"]
        return of["b"](F.relu(of["c"](z + y[0]))) + F.linear(z.mean(0), of["u"]) + (z @ z[0])[:, None]

    bare = {"w": nn.Parameter(torch.zeros(8, 8)), "u": nn.Parameter(torch.zeros(2, 8))}
    return Written(forward, a=nn.Linear(8, 8), b=nn.Linear(6, 2), c=nn.Linear(8, 6), **bare), tokens(8)


def volumes():
    return nn.Sequential(
        nn.Conv3d(2, 4, 2), nn.ReLU(), nn.ConvTranspose3d(4, 6, 2, groups=2), nn.ReLU(), nn.Conv3d(6, 2, 1),
    ), torch.randn(1, 2, 4, 4, 4, dtype=torch.float64)  # fmt: skip


HARDER = {
    **{f"{how}-{n}": lambda how=how, n=n: (Attention(how, n), tokens(8))
       for how in ("fused", "products", "twice", "einsum") for n in (1, 2)},
    "lstm": lambda: recurrent(nn.LSTM), "gru": lambda: recurrent(nn.GRU), "rnn": lambda: recurrent(nn.RNN),
    "encoder": lambda: (nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), tokens(8)),
    "products": products, "volumes": volumes,
}  # fmt: skip
NETWORKS = [pytest.param(make, id=make.__name__) for make in ZOO] + [
    pytest.param(make, id=name) for name, make in HARDER.items()
]


@pytest.mark.parametrize("make", NETWORKS)
def test_costs_are_those_of_the_shrunk_network(make, unchanged):
    model, example = built(make)
    unchanged(model)
    anatomy = Anatomy(model, example)
    macs, numbers, memory = macs_of(anatomy), parameters_of(anatomy), bytes_of(anatomy)
    assert macs({}) == counted(model, example) > 0
    for seed in range(4):
        keep = half(sites(anatomy), seed)
        small = shrink(anatomy, keep, check=False).model
        assert macs(keep) == counted(small, example)
        assert numbers(keep) == sum(p.numel() for p in small.parameters())
        assert memory(keep) == sum(t.numel() * t.element_size() for t in (*small.parameters(), *small.buffers()))


@pytest.mark.parametrize("make", NETWORKS)
def test_every_unit_has_a_gradient(make):
    anatomy = Anatomy(*built(make))
    found = sites(anatomy)
    for cost in (macs_of(anatomy), parameters_of(anatomy), bytes_of(anatomy)):
        likely = {site.name: torch.full((site.units,), 0.3, requires_grad=True) for site in found}
        value = cost(likely)
        assert value.dtype == torch.float64
        assert value.shape == ()
        if found:
            value.backward()
            assert all(bool((p.grad > 0).all()) for p in likely.values())
            assert cost({}) > value > cost({name: p * 0 for name, p in likely.items()})


@many(10)
@given(networks, st.integers(0, 9))
def test_costs_of_random_networks(model, seed):
    anatomy, example = Anatomy(settled(model), image()), image()
    keep = half(sites(anatomy), seed)
    small = shrink(anatomy, keep, check=False).model
    assert macs_of(anatomy)(keep) == counted(small, example)
    assert parameters_of(anatomy)(keep) == sum(p.numel() for p in small.parameters())


def test_a_hidden_unit_worked_by_hand():
    """LeNet-300-100: a unit of the first hidden layer has 784 + 1 + 100 parameters, of the second 300 + 1 + 10."""
    model = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    example = torch.zeros(7, 784)
    found = sites(model, example)
    for name, gone in (("0", 885), ("2", 311)):
        keep = {name: torch.arange({"0": 300, "2": 100}[name]) != 5}
        assert parameters_of(model, found)({}) - parameters_of(model, found)(keep) == gone
        assert bytes_of(model, found)({}) - bytes_of(model, found)(keep) == 4 * gone
        assert macs_of(model, found, example)({}) - macs_of(model, found, example)(keep) == 7 * (gone - 1)


def test_the_expectation_is_exact_where_no_site_feeds_both_dimensions():
    model, example = (
        settled(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))),
        flat(2),
    )
    found = sites(model, example)
    likely = torch.tensor([[0.2, 0.5, 0.9], [0.1, 0.7, 0.6]], dtype=torch.float64)
    for cost in (macs_of(model, found, example), parameters_of(model, found)):
        expected = torch.zeros((), dtype=torch.float64)
        for bits in product((False, True), repeat=6):
            keep = torch.tensor(bits).view(2, 3)
            expected += torch.where(keep, likely, 1 - likely).prod() * cost({"0": keep[0], "2": keep[1]})
        torch.testing.assert_close(cost({"0": likely[0], "2": likely[1]}), expected, rtol=1e-14, atol=0)


def test_the_stated_bias_where_one_site_feeds_both_dimensions():
    """n of 6 units open: 3 samples through 5n, twice n², 3n. At p = 1/2 E[n]² is 9, but E[n²] is 9 + 6/4."""
    model, example = built(shared)
    cost = macs_of(model, sites(model, example), example)
    assert cost({"layers.a": torch.full((6,), 0.5)}) == 3 * (5 * 3 + 2 * 9 + 3 * 3)


def test_a_unit_counts_once_at_a_position_where_queries_and_keys_have_it():
    model, example = built(lambda: (Attention("products", 1), tokens(8)))
    found = sites(model, example)
    heads = [site for site in found if site.units == 6 and len({slot.tensor for slot in site.slots}) > 3]
    assert len(heads) == 1
    cost = macs_of(model, found, example)
    all_, none = cost({}), cost({heads[0].name: torch.zeros(6)})
    torch.testing.assert_close(cost({heads[0].name: torch.full((6,), 0.25)}), none + (all_ - none) / 4)


def test_fewest_removals_within_a_limit():
    model, example = built(plain)
    found = sites(model, example)
    cost = macs_of(model, found, example)
    scores = {site.name: torch.arange(site.units).double() + n / 10 for n, site in enumerate(found)}
    keep = fewest(scores, cost, float(cost({})) / 2)
    assert cost(keep) <= cost({}) / 2
    gone = [(float(scores[n][u]), n, u) for n, kept in keep.items() for u in (~kept).nonzero().flatten().tolist()]
    _, name, unit = max(gone)
    keep[name][unit] = True
    assert cost(keep) > cost({}) / 2


def test_widths_are_rounded_down_to_a_multiple_and_never_past_the_limit():
    model = nn.Sequential(
        nn.Linear(5, 30), nn.ReLU(), nn.Linear(30, 3), nn.ReLU(), nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2)
    )
    example = torch.zeros(1, 5)
    found = sites(model, example)
    cost = parameters_of(model, found)
    scores = {s.name: torch.rand(s.units, generator=torch.Generator().manual_seed(n)) for n, s in enumerate(found)}
    assert all(bool(kept.all()) for kept in fewest(scores, cost, float(cost({})), multiple=8).values())  # 30 stays 30
    widths = set()
    for share in (0.95, 0.8, 0.6, 0.4):
        keep = fewest(scores, cost, share * float(cost({})), multiple=8)
        assert cost(keep) <= share * cost({})
        counts = {name: int(kept.sum()) for name, kept in keep.items()}
        assert counts["0"] in (8, 16, 24, 30)
        assert counts["2"] == 3
        assert counts["4"] in (8, 16)
        assert all(float(scores[n][k].min()) >= float(scores[n][~k].max()) for n, k in keep.items() if not k.all())
        widths.add(tuple(counts.values()))
    assert len(widths) == 4
    least = float(cost(fewest(scores, cost, 130, multiple=8)))
    assert least == cost({"0": torch.arange(30) < 8, "4": torch.arange(16) < 8})
    with pytest.raises(InputError, match=f"cannot be met: {least:g} of 371 remain when all is gone"):
        fewest(scores, cost, least - 1, multiple=8)
    with pytest.raises(InputError, match="multiple is 0"):
        fewest(scores, cost, 100, multiple=0)


def test_leading_dimensions_are_broadcast():
    """Two rows for one site and three for the other: 2 x 3 samples of n and m units, 5 before and 4 behind."""
    model, example = built(mlp)
    found = sites(model, example)
    cost = parameters_of(model, found)
    first = torch.rand(2, 1, 8, generator=torch.Generator().manual_seed(0))
    second = torch.rand(3, 6, generator=torch.Generator().manual_seed(1))
    seen = cost({"0": first, "2": second})
    assert seen.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            n, m = first[i, 0].double().sum(), second[j].double().sum()
            torch.testing.assert_close(seen[i, j], 5 * n + n + n * m + m + m * 4 + 4, rtol=1e-12, atol=0)
    assert cost({"0": torch.ones(7, 8)}).tolist() == [float(cost({}))] * 7
    with pytest.raises(InputError, match=r"shape \(2, 7\); give one bool, .* for each of its 8 units"):
        cost({"0": torch.ones(2, 7)})


def test_costs_are_on_the_device_of_what_is_open():
    """Torch's device without numbers stands for any other one."""
    model, example = built(mlp)
    found = sites(model, example)
    cost = macs_of(model, found, example)
    seen = cost({site.name: torch.ones(5, site.units, device="meta") for site in found})
    assert (seen.device.type, seen.shape, seen.dtype) == ("meta", (5,), torch.float64)
    assert cost({}).device.type == "cpu"


def test_refusals(monkeypatch):
    model, example = built(mlp)
    found = sites(model, example)
    cost = macs_of(model, found, example)
    with pytest.raises(InputError, match="'1'"):
        cost({"1": torch.ones(8)})
    with pytest.raises(InputError, match=r"site '0' has shape \(7,\)"):
        cost({"0": torch.ones(7)})
    other, _ = built(plain)
    with pytest.raises(InputError, match="does not fit"):
        parameters_of(other, found)
    monkeypatch.delitem(CONTRACTIONS, "linear")
    assert macs_of(model, (), example)({}) == counted(model, example)
    with pytest.raises(InputError, match=r"aten.linear .* no formula"):
        macs_of(model, found, example)


def test_a_choice_between_blocks_is_refused():
    class Choice(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda y: y @ y, lambda y: y + 1, (x,))

    with pytest.raises(InputError, match=r"cond.* cannot be counted"):
        macs_of(Choice(), (), torch.ones(3, 3))


def test_images_and_samples_count_together():
    model, _ = built(plain)
    one, two = (macs_of(model, (), image(count=count))({}) for count in (1, 2))
    assert two == 2 * one
