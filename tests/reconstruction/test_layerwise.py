"""Through a network layer by layer: each is solved on what the pruned ones before it give."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sapwood import select
from sapwood.errors import InputError
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.reconstruction import layerwise, refit, sparsegpt
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import count, cross, gram
from sapwood.training.task import Batch

D = torch.float64


def half(name, w_OI, sums):
    return sparsegpt(w_OI, sums[gram], sparsity=0.5)


def chain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
    ).double()  # fmt: skip


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x, mask=None):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Gives a tuple, as the layers of transformers' models did, and is told a mask."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.attention, self.norm1, self.norm2 = Attention(width, heads), nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x, mask=None):
        x = x + self.attention(self.norm1(x), mask)
        return x + self.down(F.gelu(self.up(self.norm2(x)))), mask


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.layers, self.head = (
            nn.Embedding(11, 8),
            nn.ModuleList([Layer(), Layer(), Layer()]),
            nn.Linear(8, 11),
        )

    def forward(self, words):
        x, mask = self.embed(words), torch.ones(words.shape[1], words.shape[1], dtype=torch.bool).tril()
        for layer in self.layers:
            x, _ = layer(x, mask=mask)
        return self.head(x)


def images(*sizes):
    luck = torch.Generator().manual_seed(1)
    return [Batch(torch.randn(size, 3, 6, 6, generator=luck, dtype=D), torch.zeros(size)) for size in sizes]


def one_by_one(model, batches, solve, names, *statistics, wanted=False):
    """The same by observing the whole network again for every layer."""
    original, masks = deepcopy(model), {}
    for name in names:
        layer = model.get_submodule(name)
        sums = observe(model, batches, *statistics, only=[name], wanted=original if wanted else None)[name]
        w, keep = solve(name, layer.weight.detach().flatten(1), sums)
        layer.weight.data.copy_(w.view_as(layer.weight))
        masks[f"{name}.weight"] = keep.view_as(layer.weight)
    return masks


def test_each_layer_sees_what_the_pruned_ones_give():
    model, batches = chain(), images(5, 8, 3)
    other = deepcopy(model)
    masks = layerwise(model, batches, half, gram)
    expected = one_by_one(other, batches, half, ["0", "3", "7"], gram)
    assert masks.keys() == expected.keys()
    for name, keep in expected.items():
        assert torch.equal(masks[name], keep)
        assert torch.allclose(model.get_parameter(name), other.get_parameter(name), rtol=1e-9, atol=1e-12)
        assert not model.get_parameter(name)[~keep].any()
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def to_the_original(name, w_OI, sums):
    keep = select.per_layer({"": w_OI.abs()}, 0.5)[""]
    return refit(w_OI, sums[gram], sums[cross], keep=keep)


def test_the_original_says_what_is_wanted():
    model, batches = chain(), images(9, 4)
    original, other, plain = deepcopy(model), deepcopy(model), deepcopy(model)
    layerwise(model, batches, to_the_original, gram, cross)
    one_by_one(other, batches, to_the_original, ["0", "3", "7"], gram, cross, wanted=True)
    for name, p in other.named_parameters():
        assert torch.allclose(model.get_parameter(name), p, rtol=1e-7, atol=1e-9), name
    own = lambda name, w, sums: refit(w, sums[gram], keep=select.per_layer({"": w.abs()}, 0.5)[""])  # noqa: E731
    layerwise(plain, batches, own, gram)
    x = torch.cat([batch.inputs for batch in batches])
    with torch.no_grad():
        gaps = [float((m.eval()(x) - original.eval()(x)).square().sum()) for m in (model, plain)]
    assert gaps[0] < gaps[1]  # later layers make up for earlier errors


def passes(model):
    """How often each module is called."""
    counts = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: counts.update({name: counts.get(name, 0) + 1}))
    return counts


def test_the_cost_is_a_few_passes_however_deep():
    for depth in (3, 9):
        model = nn.Sequential(*(nn.Linear(5, 5) for _ in range(depth))).double()
        counts = passes(model)
        layerwise(model, [torch.randn(20, 5, dtype=D), torch.randn(7, 5, dtype=D)], half, gram)
        each = {counts[str(n)] for n in range(depth)}
        assert max(each) <= 1 + 2 * 3  # one pass to find the blocks; for each batch: entering, observing, giving


def test_blocks_of_a_transformer_are_found_and_their_layers_observed_together():
    torch.manual_seed(0)
    model = Model().double()
    words = [torch.randint(11, (4, 6)), torch.randint(11, (3, 6))]
    order = []

    def solve(name, w_OI, sums):
        order.append((name, int(sums[count])))
        return half(name, w_OI, sums)

    inner = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "head"]
    other = deepcopy(model)
    masks = layerwise(model, words, solve, gram, count, only=inner)
    assert [name for name, _ in order] == inner
    assert {seen for _, seen in order} == {7 * 6}
    assert list(masks) == [f"{name}.weight" for name in inner]
    for block in range(3):  # by hand: the layers of a block see what it gives before they change
        names = [n for n in inner if n.startswith(f"layers.{block}.")]
        seen = observe(other, words, gram, only=names)
        for name in names:
            layer = other.get_submodule(name)
            layer.weight.data.copy_(half(name, layer.weight.detach(), seen[name])[0])
            assert torch.allclose(model.get_submodule(name).weight, layer.weight, rtol=1e-9, atol=1e-12)


def test_blocks_of_a_residual_network():
    torch.manual_seed(0)
    model = resnet_cifar(8, width=4, dtype=D)
    inner = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and "layer" in n]
    batches = [torch.randn(3, 3, 8, 8, dtype=D)]
    masks = layerwise(model, batches, half, gram, only=inner)
    assert list(masks) == [f"{name}.weight" for name in inner]
    named = resnet_cifar(8, width=4, dtype=D)
    assert (
        layerwise(named, batches, half, gram, only=inner, blocks=["layer1", "layer2", "layer3"]).keys() == masks.keys()
    )


def test_columns_and_ranks_make_masks_too():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).double()
    keep = torch.tensor([True, False, True, True, False, True])

    def solve(name, w_OI, sums):
        stay = keep[: w_OI.shape[1]]
        return refit(w_OI, sums[gram], keep=stay) if name == "0" else (w_OI * stay, torch.ones(4, dtype=torch.bool))

    masks = layerwise(model, [torch.randn(30, 6, dtype=D)], solve, gram)
    assert torch.equal(masks["0.weight"], keep.expand(5, 6))
    assert torch.equal(masks["2.weight"], keep[:5].expand(4, 5))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    return model


def twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (Shared, {}, "no blocks of Shared were found that run one after another: layer 'b' is in none"),
        (Shared, {"blocks": ["a", "b", "c"]}, "block 'b' does not read what the one before gives"),
        (Shared, {"blocks": ["a", "d"]}, "unknown block 'd'"),
        (tied, {}, "the weight of '0' is shared"),
        (lambda: nn.Sequential(nn.Sequential(Shared())), {}, "all layers are in one"),
        (twice, {}, "block '0' runs twice"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), {"blocks": ["0"]}, "layer '1' is in none"),
    ],
)
def test_where_there_are_no_blocks_it_says_so(make, options, says):
    with pytest.raises(InputError, match=says):
        layerwise(make(), [torch.randn(5, 4)], half, gram, **options)


def test_a_solver_that_gives_other_shapes_is_named():
    with pytest.raises(InputError, match="the solver gave '0' weights of shape"):
        layerwise(chain(), images(4), lambda name, w, sums: (w.T, w > 0), gram)


def test_nothing_is_left_when_a_solver_fails():
    model = chain()

    def solve(name, w_OI, sums):
        raise KeyError(name)

    with pytest.raises(KeyError):
        layerwise(model, images(4), solve, gram)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.training


def test_magnitude_of_two_of_four_by_a_partial():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    solve = partial(lambda pattern, name, w, sums: sparsegpt(w, sums[gram], pattern=pattern), (2, 4))
    masks = layerwise(model, [torch.randn(30, 8, dtype=D)], solve, gram)
    assert all(mask.view(-1, 4).sum(1).eq(2).all() for mask in masks.values())
