"""Products by letters, weights computed from weights, attention: what may go, what stays and why, the cost."""

import pytest
import torch
import torch.nn.functional as F
from random_products import PIECES, Products, Scale, masked_units, par
from test_cost_of_units import counted
from test_shrink import half
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils import spectral_norm as older_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm
from zoo import Written, conv, flat, image, settled

from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.tracing.anatomy import Anatomy


def tokens(width, count=5, seed=7):
    return torch.randn(2, count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chain(middle, **layers):
    """A layer, something with a weight, a layer."""

    def forward(of, x):
        return of["out"](F.relu(middle(of, F.relu(of["a"](x)))))

    return settled(Written(forward, a=nn.Linear(5, 6), out=nn.Linear(8, 3), **layers))


def units(model, example):
    return {site.name: site.units for site in sites(model, example)}


def halved(model, example, seed=0):
    anatomy = Anatomy(model, example)
    return shrink(anatomy, half(sites(anatomy), seed))


def reasons(model, example):
    return {pinned.name: pinned.because for pinned in couplings(model, example).pinned}


def test_attention_in_letters_has_the_sites_of_attention_by_products():
    def net(product):
        def forward(of, x):
            scores = product("bid,bjd->bij", of["q"](x), of["k"](x)).softmax(-1)
            return of["out"](product("bij,bjd->bid", scores, of["v"](x)))

        return settled(Written(forward, out=nn.Linear(16, 2), **{n: nn.Linear(8, 16) for n in "qkv"}))

    def by_matrices(letters, left, right):
        return left @ (right.mT if letters.startswith("bid") else right)

    wanted = {"layers.q": 16, "layers.v": 16}
    assert units(net(torch.einsum), tokens(8)) == units(net(by_matrices), tokens(8)) == wanted


def test_queries_and_keys_lose_units_only_where_the_scale_does_not_count_them():
    def net(scale):
        def forward(of, x):
            q, k, v = (of[n](x)[:, None] for n in "qkv")
            return of["out"](F.scaled_dot_product_attention(q, k, v, scale=scale)[:, 0])

        return settled(Written(forward, out=nn.Linear(8, 2), **{n: nn.Linear(8, 8) for n in "qkv"}))

    assert units(net(0.2), tokens(8)) == {"layers.q": 8, "layers.v": 8}
    assert units(net(None), tokens(8)) == {"layers.v": 8}
    assert "multiplies units with each other" in reasons(net(None), tokens(8))["layers.q"]


def test_heads_that_are_letters_of_their_weights_and_places_in_them():
    model = settled(Products(["heads as letters"], 8, True))
    words = torch.arange(14).view(2, 7) % 11
    found = {site.name: site for site in sites(model, words)}
    assert sorted(site.units for site in found.values()) == [3, 4, 4, 8, 8]
    heads = next(site for site in found.values() if site.units == 3)
    assert {(slot.tensor.rpartition(".")[2], slot.dim) for slot in heads.slots} >= {(n, 0) for n in "qkvo"}


COMPUTED = {
    "scaled rows": (lambda of: of["w"] * of["g"], {"g": (8, 1)}, {"layers.a": 6, "bare.g": 8}),
    "adapter": (
        lambda of: of["w"] + of["B"] @ of["A"],
        {"A": (4, 6), "B": (8, 4)},
        {"layers.a": 6, "bare.A": 4, "bare.B": 8},
    ),
    "masked": (lambda of: of["w"] * (of["g"] > 0), {"g": (8, 6)}, {"layers.a": 6, "bare.g": 8}),
    "of two": (lambda of: torch.maximum(of["w"], of["g"]), {"g": (8, 6)}, {"layers.a": 6, "bare.g": 8}),
    "standardised": (
        lambda of: (of["w"] - of["w"].mean(1, keepdim=True)) / (of["w"].std(1, keepdim=True) + 1e-5),
        {},
        {"bare.w": 8},
    ),
    "all its numbers": (lambda of: of["w"] / of["w"].norm(), {}, {}),
    "exponential": (lambda of: of["w"].exp(), {}, {"bare.w": 8}),
    "softmax of rows": (lambda of: of["w"].softmax(1), {}, {"bare.w": 8}),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_weight_loses_what_leaves_the_rest_as_it_was(name):
    how, more, wanted = COMPUTED[name]
    bare = {n: par(*shape) for n, shape in more.items()}
    model = chain(lambda of, x: F.linear(x, how(of)), w=par(8, 6), **bare)
    assert units(model, flat(5)) == wanted
    for seed in range(2):
        assert halved(model, flat(5), seed).difference < 1e-12


def test_filters_standardised_one_by_one_keep_their_inputs_and_lose_outputs():
    def forward(of, x):
        w = of["b"].weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.var((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        return of["out"](F.relu(F.conv2d(F.relu(of["a"](x)), w, of["b"].bias, padding=1)))

    model = settled(Written(forward, a=conv(3, 6), b=conv(6, 8), out=conv(8, 2, 1)))
    assert units(model, image()) == {"layers.b": 8}
    assert "computes a weight from all of them" in reasons(model, image())["layers.a"]
    assert halved(model, image()).difference < 1e-12


@pytest.mark.parametrize("norm", [spectral_norm, older_spectral_norm])
@pytest.mark.parametrize("training", [False, True])
def test_spectral_norm_leaves_the_rest_of_a_weight_as_it_was(norm, training):
    model = nn.Sequential(norm(nn.Linear(5, 8)), nn.ReLU(), norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 2)).double()
    model(flat(5))
    model.train(training)
    before = {n: tensor.detach().clone() for n, tensor in model.state_dict().items()}
    found = sites(model, flat(5))
    assert [site.units for site in found] == [8, 6]
    keep = half(found, 1)
    small = shrink(model, keep, found, example=flat(5)).model.eval()
    assert all(torch.equal(before[n], tensor) for n, tensor in model.state_dict().items())
    model.eval()
    model(flat(5)), small(flat(5))
    rows, columns = keep["2"], keep["0"]
    torch.testing.assert_close(small[2].weight, model[2].weight[rows][:, columns], rtol=0, atol=1e-12)
    small.train()
    for _ in range(60):
        small(flat(5)).sum().backward()
    assert float(torch.linalg.matrix_norm(small[2].weight.detach(), 2)) == pytest.approx(1.0, abs=1e-3)


def test_torchs_own_masks_are_sliced_with_their_weights():
    model = nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 8), nn.ReLU(), conv(8, 2)).double().eval()
    for n in (0, 2):
        prune.random_unstructured(model[n], "weight", 0.5)
    found = sites(model, image())
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in found}
    small = shrink(model, keep, found, example=image()).model
    assert small[2].weight_mask.shape == small[2].weight_orig.shape == (4, 3, 3, 3)
    assert (small[2].in_channels, small[2].out_channels) == (3, 4)


def test_a_matrix_there_and_back_loses_rows_and_is_compacted():
    def forward(of, x):
        return F.linear(F.relu(of["a"](x)), of["a"].weight.t(), of["back"])

    model = settled(Written(forward, a=nn.Linear(5, 8), back=par(5)))
    assert units(model, flat(5)) == {"layers.a": 8}
    (slot,) = (slot for slot in sites(model, flat(5))[0].slots if slot.tensor.endswith("weight"))
    assert slot.role == "both"
    assert halved(model, flat(5)).difference < 1e-12
    with torch.no_grad():
        model.layers["a"].weight[2:5] = 0
    small = compact(model, example=flat(5)).model
    assert small.layers["a"].weight.shape == (5, 5)
    torch.testing.assert_close(small(flat(5)), model(flat(5)), rtol=0, atol=1e-12)


def test_a_diagonal_is_no_product():
    model = settled(
        Written(lambda of, x: of["out"](torch.einsum("bii->bi", of["a"](x))), a=nn.Linear(5, 5), out=nn.Linear(5, 2))
    )
    assert "takes a diagonal" in reasons(model, tokens(5))["layers.a"]


ATTENTIONS = {
    "as given": {},
    "of other widths": {"kdim": 6, "vdim": 5},
    "with places": {"add_bias_kv": True},
    "of other widths, with places": {"kdim": 6, "add_bias_kv": True, "bias": False},
    "time first": {"batch_first": False},
}


@pytest.mark.parametrize("options", ATTENTIONS.values(), ids=[*ATTENTIONS])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_to_something_else_loses_heads(options, masked):
    """Smaller inside, the same outside, with masks or without; the weights are worked out, but not told."""
    options = {"batch_first": True, **options}

    def forward(of, x, y):
        k, v = of["k"](y), of["v"](y)
        x, k, v = (z if options["batch_first"] else z.transpose(0, 1) for z in (x, k, v))
        later = torch.ones(x.shape[-2] if options["batch_first"] else len(x), y.shape[1], dtype=torch.bool).triu(1)
        return of["m"](x, k, v, attn_mask=later if masked else None)[0]

    m = nn.MultiheadAttention(8, 4, **options)
    k, v = nn.Linear(4, options.get("kdim", 8)), nn.Linear(4, options.get("vdim", 8))
    model = settled(Written(forward, m=m, k=k, v=v))
    example = (tokens(8, 5), tokens(4, 6, 3))
    found = sites(model, example)
    heads = [site for site in found if site.units == 4]
    assert len(heads) == 1
    assert halved(model, example).difference < 1e-12


def test_a_decoder_layer_of_torch_loses_heads_of_both_attentions():
    layer = nn.TransformerDecoderLayer(8, 4, 12, batch_first=True)
    model = settled(Written(lambda of, x, y: of["out"](of["layer"](x, y)), layer=layer, out=nn.Linear(8, 2)))
    example = (tokens(8), tokens(8, 6, 3))
    assert sorted(units(model, example).values()) == [4, 4, 12]
    assert halved(model, example).difference < 1e-12


def test_several_numbers_for_every_place_of_a_head_hold_heads_and_places():
    model = settled(Products(["heads as letters"], 8, False))
    words = torch.arange(14).view(2, 7) % 11
    found = sites(model, words)
    for site in found:
        keep = {other.name: torch.ones(other.units, dtype=torch.bool) for other in found}
        keep[site.name] = torch.arange(site.units) > 0
        small = shrink(model, keep, found, example=words).model
        with torch.no_grad(), masked_units(model, found, keep):
            torch.testing.assert_close(small(words), model(words), rtol=0, atol=1e-11)


UNCOUNTED = ("chain",)  # torch multiplies in the order that costs least, another one for other sizes


@pytest.mark.parametrize("piece", [piece for piece in PIECES if piece not in UNCOUNTED])
def test_products_cost_what_torch_counts(piece):
    model, words = settled(Products([piece], 8, True)), torch.arange(14).view(2, 7) % 11
    found = sites(model, words)
    keep = {site.name: torch.arange(site.units) < max(2, site.units // 2) for site in found}
    macs, small = macs_of(model, found, words), shrink(model, keep, found, example=words, check=False).model
    assert macs({}) == counted(model, words)
    assert macs(keep) == counted(small, words)


def test_a_scale_of_its_own_for_each_unit_is_no_part_of_the_weight():
    """What stands beside an activation holds; what stands beside a weight makes."""
    model = chain(lambda of, x: of["s"](F.linear(x, of["w"] * of["g"])), w=par(8, 6), g=par(8, 1), s=Scale(8))
    (site,) = (site for site in sites(model, flat(5)) if site.units == 8)
    roles = {slot.tensor: slot.role for slot in site.slots}
    assert roles["bare.w"] == roles["bare.g"] == "makes"
    assert roles["layers.s.scale"] == "holds"
