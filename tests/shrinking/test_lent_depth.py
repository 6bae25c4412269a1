"""Lent weights where branches go: the same proof, and no second model while it runs."""

from weakref import ref

import pytest
import torch
import torch.nn.functional as F
from shrinking.zoo import Written, flat, image, settled
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.shrinking import depth
from sapwood.shrinking.cutting import lent
from sapwood.shrinking.cutting.wide import Wide
from sapwood.shrinking.depth import branches, remove_branches
from sapwood.shrinking.tracing.anatomy import Anatomy


@pytest.fixture
def tries(monkeypatch):
    """All weights are lent, in blocks of a few rows; what is found for each try of a proof: whether it lent any."""
    found, original = [], depth.raised_
    for name, value in {"ENOUGH": 0, "LEAST": 0, "BLOCK": 16}.items():
        monkeypatch.setattr(lent, name, value)

    def raised_(copy, dtype, loans, **more):
        found.append(loans is not None)
        return original(copy, dtype, loans, **more)

    monkeypatch.setattr(depth, "raised_", raised_)
    return found


class Block(nn.Module):
    """Attention and two layers, each added to what passes them by."""

    def __init__(self, width):
        super().__init__()
        self.own = nn.MultiheadAttention(width, 2, batch_first=True)
        self.one, self.other = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        h = self.one(x)
        x = x + self.own(h, h, h, need_weights=False)[0]
        return x + self.layers(self.other(x))


class Words(nn.Module):
    """Two blocks between words and the same words."""

    def __init__(self):
        super().__init__()
        self.words, self.blocks = nn.Embedding(11, 8), nn.Sequential(Block(8), Block(8))

    def forward(self, words):
        return F.linear(self.blocks(self.words(words)), self.words.weight)


class Images(nn.Module):
    """A convolution that is added, with a norm behind it."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        x += self.norm(self.conv(F.relu(x)))
        return self.head(x.mean((2, 3)))


def words():
    return Words(), torch.tensor([[1, 5, 2, 9]]), ("blocks.0.own", "blocks.1.layers")


def images():
    return Images(), image(size=6), ("norm",)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [words, images], ids=lambda make: make.__name__)
def test_the_proof_is_that_of_widened_weights(make, dtype, tries, monkeypatch):
    torch.manual_seed(0)
    model, x, gone = make()
    model, x = settled(model).to(dtype), x.to(dtype) if x.is_floating_point() else x
    anatomy, before = Anatomy(model, x), {name: p.clone() for name, p in model.state_dict().items()}
    assert {each.name for each in branches(anatomy)} >= set(gone)
    found = remove_branches(anatomy, gone)
    assert tries == [True, True]
    monkeypatch.setattr(lent, "ENOUGH", 2**40)
    wanted = remove_branches(anatomy, gone)
    assert tries == [True, True, False, False]
    assert found.proven is wanted.proven is torch.float64
    assert max(found.difference, wanted.difference) <= 1e-12
    for of, like in ((found.model, wanted.model.state_dict()), (model, before)):
        assert all(torch.equal(tensor, like[name]) for name, tensor in of.state_dict().items())


def test_a_module_too_many_is_refused(tries, monkeypatch):
    model, x, (gone, _) = words()
    original = depth._skips
    monkeypatch.setattr(depth, "_skips", lambda *given: original(*given) | {"blocks.0.other": (False, 0)})
    with pytest.raises(InputError, match=r"would differ by"):
        remove_branches(settled(model).float(), [gone], example=x)
    assert tries == [True, False]


def test_code_that_writes_to_weights_is_proven_as_before(tries):
    def plain(of, x):
        x = of["c"](x)
        return x + of["b"](F.relu(of["a"](x)))

    def writing(of, x):
        of["c"].weight.data[0].mul_(1.0)
        return plain(of, x)

    layers = {"a": nn.Linear(8, 12), "b": nn.Linear(12, 8), "c": nn.Linear(8, 8)}
    model = settled(Written(plain, **layers)).float()
    anatomy = Anatomy(model, flat(8).float())
    (branch,) = branches(anatomy)
    model.how = writing
    assert remove_branches(anatomy, [branch.name]).difference <= 1e-12
    assert tries == [True, False, True, False]


class Alive:
    """Count the float64 bytes of large tensors that are alive at once while a proof runs."""

    def __init__(self, numbers):
        self.numbers, self.tensors, self.most = numbers, dict[int, ref[Tensor]](), 0

    def see(self, given):
        found = [x for x in pytree.tree_leaves(given) if isinstance(x, Tensor) and x.dtype is torch.float64]
        self.tensors |= {id(x): ref(x) for x in found}
        alive = [x for each in self.tensors.values() if (x := each()) is not None]
        held = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in alive}
        self.most = max(self.most, sum(size for size in held.values() if size >= 8 * self.numbers))


def test_no_second_model_is_held(tries, monkeypatch):
    """16 weights of 64 x 64 in bfloat16, an eighth of what they take in float64; a quarter of that may be kept."""
    alive, original, made, raised_ = Alive(64 * 64), Wide.__torch_dispatch__, lent.Loan.made, depth.raised_

    def seen(out):
        alive.see(out)
        return out

    def raised(*given, **more):
        model = raised_(*given, **more)
        alive.see(list(model.parameters()))
        return model

    monkeypatch.setattr(Wide, "__torch_dispatch__", lambda *given: seen(original(*given)))
    monkeypatch.setattr(lent.Loan, "made", lambda *given: seen(made(*given)))
    monkeypatch.setattr(depth, "raised_", raised)
    blocks = [Residual() for _ in range(8)]
    model = nn.Sequential(*blocks).bfloat16().eval()
    anatomy = Anatomy(model, torch.rand(2, 64).bfloat16())
    gone = [each.name for each in branches(anatomy)][::2]
    assert remove_branches(anatomy, gone).difference <= 1e-12
    assert tries == [True, True]
    one, kept = 8 * 64 * 64, 16 * 2 * 64 * 64 // 4
    assert one <= alive.most <= kept + 2 * one
    before, alive.most = alive.most, 0
    monkeypatch.setattr(lent, "ENOUGH", 2**40)
    remove_branches(anatomy, gone)
    assert alive.most >= 16 * one > 4 * before, "this test sees nothing"


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Tanh(), nn.Linear(64, 64, bias=False))

    def forward(self, x):
        return x + self.layers(x)
