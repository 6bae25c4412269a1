"""Branches: found where modules add to what passes them by; without some, networks equal those in which 0 is added."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sapwood import export
from sapwood.errors import InputError
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.shrinking.depth import branches, remove_branches
from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.skipped import Skipped, skipped
from sapwood.shrinking.tracing.anatomy import Anatomy

D = torch.float64


class Bottleneck(nn.Module):
    """Inner channels of another number, an operator in place, and a shortcut with weights where the shape changes."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.a, self.b = nn.Conv2d(inputs, 3, 1), nn.Conv2d(3, 3, 3, stride, padding=1)
        self.c, self.norm = nn.Conv2d(3, outputs, 1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.norm(self.c(F.relu(self.b(F.relu(self.a(x))))))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class Transformer(nn.Module):
    """Words and places, pre-norm layers, and one with a scale of its own on each branch."""

    def __init__(self, width=8):
        super().__init__()
        self.word, self.place = nn.Embedding(11, width), nn.Embedding(6, width)
        layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True, norm_first=True, dropout=0.1)
        self.first, self.second = layer, Scaled(width)
        self.head = nn.Linear(width, 11)

    def forward(self, words):
        x = self.word(words) + self.place(torch.arange(words.shape[1]))
        return self.head(self.second(self.first(x)))


class Scaled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.one, self.other = (nn.Sequential(nn.Linear(width, 4), nn.GELU(), nn.Linear(4, width)) for _ in range(2))
        self.gain = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x):
        h = self.norm(x)  # which both read
        return x + self.gain * self.one(h) + self.other(h)


def ready(model):
    """In float64, with running statistics that are not 0 and 1."""
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=torch.Generator().manual_seed(0))
            module.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(0))
    return model.eval()


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return ready(resnet_cifar(14, width=4)), torch.randn(2, 3, 8, 8, dtype=D)


@pytest.fixture(scope="module")
def bottlenecks():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 6, 3),
        Bottleneck(6, 6),
        Bottleneck(6, 8, 2),
        Bottleneck(8, 8),
        nn.Flatten(),
        nn.LazyLinear(4),
    ]
    model, x = nn.Sequential(*layers), torch.randn(2, 3, 8, 8)
    model(x)
    return ready(model), x.double()


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    return ready(Transformer()), torch.randint(11, (2, 6))


def with_zeros(model, names):
    """By other means than the proof: what the modules give is times 0."""
    whole = deepcopy(model)
    for name in names:
        whole.get_submodule(name).register_forward_hook(lambda m, args, y: y * 0)
    return whole


def assert_equal_to_zeros(model, names, x):
    found = remove_branches(model, names, example=x)
    assert found.proven is D
    assert found.difference < 1e-12
    with torch.no_grad():
        assert torch.allclose(found.model(x), with_zeros(model, names)(x), rtol=1e-12, atol=1e-12)
        assert not torch.allclose(found.model(x), model(x), rtol=1e-3)
    return found.model


def test_branches_of_a_residual_network(resnet):
    model, x = resnet
    anatomy = Anatomy(model, x)
    found = branches(anatomy)
    assert remove_branches(anatomy, ["layer1.0.bn2"]).difference < 1e-12
    assert [b.name for b in found] == [f"layer{s}.{n}.bn2" for s in (1, 2, 3) for n in (0, 1)]
    assert found[1].modules == tuple(f"layer1.1.{part}" for part in ("conv1", "bn1", "conv2", "bn2"))
    assert "resnet_cifar.py" in found[1].operator


def test_each_branch_that_keeps_its_shape_can_go(resnet):
    model, x = resnet
    whole = sum(p.numel() for p in model.parameters())
    for name in ("layer1.0.bn2", "layer1.1.bn2", "layer2.1.bn2", "layer3.1.bn2"):
        small = assert_equal_to_zeros(model, [name], x)
        block = model.get_submodule(name.removesuffix(".bn2"))
        assert sum(p.numel() for p in small.parameters()) == whole - sum(p.numel() for p in block.parameters())
        assert not list(small.get_submodule(name.removesuffix(".bn2")).buffers())


def test_several_at_once_and_the_original_stays_as_it_was(resnet):
    model, x = resnet
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = assert_equal_to_zeros(model, ["layer1.0.bn2", "layer1.1.bn2", "layer3.1.bn2"], x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.state_dict().keys() == before.keys()
    theirs = {p.data_ptr() for p in model.parameters()}
    assert not any(p.data_ptr() in theirs for p in small.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_what_is_left_trains_and_can_be_taken_apart_again(resnet):
    model, x = resnet
    small = remove_branches(model, ["layer1.0.bn2"], example=x).model.train()
    small(x).sum().backward()
    assert all(p.grad is not None for p in small.parameters())
    assert [b.name for b in branches(small, x)] == [b.name for b in branches(model, x) if b.name != "layer1.0.bn2"]
    assert {s.name for s in sites(model.eval(), x)} - {s.name for s in sites(small.eval(), x)} == {"layer1.0.conv1"}
    wider = torch.randn(3, 3, 12, 10, dtype=D)  # another size than the example's
    with torch.no_grad():
        assert torch.allclose(
            remove_branches(model, ["layer1.0.bn2"], example=x).model(wider), with_zeros(model, ["layer1.0.bn2"])(wider)
        )


def test_bottlenecks_in_place_and_shortcuts_with_weights(bottlenecks):
    model, x = bottlenecks
    found = {b.name: b.modules for b in branches(model, x)}
    assert list(found) == ["1.norm", "2.norm", "2.shortcut", "3.norm"]
    assert found["2.shortcut"] == ("2.shortcut",)
    assert_equal_to_zeros(model, ["1.norm", "3.norm"], x)
    for name in ("2.norm", "2.shortcut"):
        with pytest.raises(InputError, match=rf"branch '{name}' cannot be removed: it reads \(2, 6, 6, 6\) and gives"):
            remove_branches(model, ["1.norm", name], example=x)


@pytest.mark.parametrize(
    ("fixture", "gone"), [("resnet", ["layer2.0.bn2", "layer3.0.bn2"]), ("bottlenecks", ["2.norm"])]
)
def test_of_a_block_that_changes_the_shape_the_shortcut_is_left(fixture, gone, request, tmp_path):
    model, x = request.getfixturevalue(fixture)
    found = remove_branches(model, gone, example=x, reshaping=True)
    assert found.proven is D
    assert found.difference < 1e-12
    export.save(found.model, tmp_path / "small", of=model)
    again = export.load(tmp_path / "small", lambda: deepcopy(model))
    assert skipped(again) == skipped(found.model)
    assert skipped(again)[gone[0]] == (True, 0, -1, 8, -2, -2)
    odd = torch.randn(3, 3, 9, 13, dtype=D) if fixture == "resnet" else x  # another size than the example's
    with torch.no_grad():
        assert torch.allclose(again(odd), with_zeros(model, gone)(odd), rtol=1e-12, atol=1e-12)
    found.model.train()(x).sum().backward()
    small, units = found.model.eval(), sites(found.model.eval(), x)
    for site in units:
        shrink(small, {site.name: torch.arange(site.units) > 0}, units, example=x)


def test_branches_of_a_transformer(transformer):
    model, x = transformer
    found = {b.name: b.modules for b in branches(model, x)}
    assert list(found) == ["first.dropout1", "first.dropout2", "second.one", "second.other"]  # no embedding
    assert found["first.dropout1"] == ("first.norm1", "first.self_attn", "first.dropout1")
    for name in found:
        assert_equal_to_zeros(model, [name], x)
    small = assert_equal_to_zeros(model, list(found), x)
    assert sum(p.numel() for p in small.parameters()) == sum(
        p.numel() for name in ("word", "place", "head") for p in getattr(model, name).parameters()
    ) + len(model.second.gain)


@pytest.mark.parametrize("fixture", ["resnet", "transformer"])
def test_saved_and_loaded_it_is_the_same(fixture, request, tmp_path):
    model, x = request.getfixturevalue(fixture)
    gone = ["layer1.1.bn2", "layer3.1.bn2"] if fixture == "resnet" else ["first.dropout1", "second.one", "second.other"]
    small, path = remove_branches(model, gone, example=x).model, tmp_path / "small.safetensors"
    export.save(small, path, of=model)
    again = export.load(path, lambda: deepcopy(model))
    assert skipped(again) == skipped(small)
    assert {name for name, _ in again.named_parameters()} == {name for name, _ in small.named_parameters()}
    with torch.no_grad():
        assert torch.equal(again(x), small(x))


def test_branches_and_units_in_one_file(resnet, tmp_path):
    model, x = resnet
    shorter, path = remove_branches(model, ["layer1.0.bn2"], example=x).model, tmp_path / "small.safetensors"
    found = sites(shorter, x)
    keep = {"layer2.0.conv1": torch.arange(8) % 2 == 0}
    small = shrink(shorter, keep, found, example=x).model
    export.save(small, path, of=model)
    with torch.no_grad():
        assert torch.equal(export.load(path, lambda: deepcopy(model))(x), small(x))


def test_a_file_of_another_network_is_refused(resnet, tmp_path):
    model, x = resnet
    export.save(remove_branches(model, ["layer3.1.bn2"], example=x).model, tmp_path / "small", of=model)
    with pytest.raises(InputError, match=r"no module 'layer3.1.conv1' that could be left out"):
        export.load(tmp_path / "small", lambda: resnet_cifar(8, width=4, dtype=D))


def test_what_two_branches_read_goes_with_the_second(transformer):
    model, x = transformer
    assert "second.norm" not in skipped(remove_branches(model, ["second.one"], example=x).model)
    both = remove_branches(model, ["second.one", "second.other"], example=x).model
    assert skipped(both) == {"second.norm": (False, 0), "second.one": (True, 0), "second.other": (True, 0)}


class Own(nn.Module):
    """Sums that are no branches: of inputs, with a parameter, of what is read again."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.p = nn.Parameter(torch.ones(4))

    def forward(self, x, other):
        first = self.a(x) + self.b(other)
        second = self.c(first) + self.p
        third = self.a(second)
        return first + third, third.sum()


def test_sums_of_other_kinds_are_no_branches():
    assert branches(Own(), (torch.randn(2, 4), torch.randn(2, 4))) == ()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.f, self.g = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = x + self.g(self.f(x))
        return x + self.f(x)


class Counting(nn.Module):
    """Its code asks the module what no stand-in has."""

    def __init__(self):
        super().__init__()
        self.f = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.f(x) * self.f.weight.shape[0]


@pytest.mark.parametrize(
    ("make", "gone", "says"),
    [
        (Twice, ["f"], "unknown branch 'f'"),
        (Counting, ["f"], "'f' cannot be removed: the network does not run without"),
        (Counting, ["g"], "unknown branch 'g'"),
    ],
)
def test_what_cannot_be_removed_is_refused_by_name(make, gone, says):
    with pytest.raises(InputError, match=says):
        remove_branches(make(), gone, example=torch.randn(2, 4))


def test_a_module_that_is_read_elsewhere_stays():
    small = remove_branches(Twice(), ["g"], example=torch.randn(2, 4)).model
    assert skipped(small) == {"g": (True, 0)}


def test_nothing_to_remove_gives_the_same_network(resnet):
    model, x = resnet
    found = remove_branches(model, [], example=x)
    assert found.difference is None
    assert torch.equal(found.model(x), model(x))


def test_a_stand_in_keeps_what_code_may_ask_for():
    conv = nn.Conv2d(2, 3, 3, stride=2)
    stand_in = Skipped(conv, zero=True)
    assert (stand_in.stride, stand_in.weight, list(stand_in.parameters())) == ((2, 2), None, [])
    x = torch.randn(2, 3)
    assert torch.equal(stand_in(input=x), torch.zeros(2, 3))
    same, nothing = Skipped(conv, zero=False, parts=2)(x)
    assert same is x
    assert nothing is None
