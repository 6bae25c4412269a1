"""What users give: outputs in dataclasses, channels last, complex weights, scores and losses of other shapes."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapwood import Criterion, InputError, prune, score


def three(**options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32, **options), nn.ReLU(), nn.Linear(32, 3, **options))


X = torch.ones(2, 8)


@dataclass
class Inner:
    hidden: Tensor


@dataclass
class Out:
    logits: Tensor
    inner: Inner
    note: str = "as it is"


class Wordy(nn.Module):
    """A network that answers in a class of its author's."""

    def __init__(self, answer=Out):
        super().__init__()
        self.a, self.b, self.answer = nn.Linear(8, 32), nn.Linear(32, 3), answer

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.answer(self.b(h), Inner(h.sum(-1)))


def test_outputs_may_be_dataclasses_in_dataclasses():
    pruned = prune(Wordy(), X, macs=0.5, multiple=1, timing=0)
    assert pruned.difference < 1e-12
    assert isinstance(pruned.model(X).inner, Inner)


def test_what_torch_cannot_look_into_is_named():
    class Closed:
        def __init__(self, *parts):
            self.parts = parts

    with pytest.raises(InputError, match=r"Closed is among its outputs, in which torch.export sees no tensors; use"):
        prune(Wordy(Closed), X, macs=0.5, timing=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_that_lie_last_stay_there(dims):
    conv, last = (nn.Conv2d, torch.channels_last) if dims == 2 else (nn.Conv3d, torch.channels_last_3d)
    net = nn.Sequential(conv(3, 16, 3), nn.ReLU(), conv(16, 16, 3), nn.ReLU(), conv(16, 2, 1)).to(memory_format=last)
    x = torch.randn(1, 3, *[7] * dims).to(memory_format=last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(x).sum().backward()
    optimizer.step()
    pruned = prune(net, x, macs=0.6, multiple=1, optimizer=optimizer, timing=0)
    weight = pruned.model[2].weight
    assert weight.shape[:2] != (16, 16)
    assert weight.is_contiguous(memory_format=last)
    assert pruned.optimizer.state[weight]["momentum_buffer"].is_contiguous(memory_format=last)


@pytest.mark.parametrize("by", ["norm", "l1", "group_l2", "magnitude"])
def test_of_complex_weights_the_imaginary_part_counts(by):
    class Phases(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Linear(*sizes, dtype=torch.complex64) for sizes in ((8, 32), (32, 3)))

        def forward(self, x):
            h = self.a(x)
            return self.b(torch.complex(h.real.relu(), h.imag.relu())).abs()

    torch.manual_seed(0)
    net = Phases()
    with torch.no_grad():
        net.a.weight[:16] = 3j * net.a.weight[:16].abs()
        net.a.weight[16:] = net.a.weight[16:].abs().to(torch.complex64)
    kept = prune(net, X.to(torch.complex64), macs=0.5, multiple=1, by=by, timing=0).keep["a"]
    assert kept[:16].sum() >= 15


def test_scores_of_another_shape_are_told_by_both_shapes():
    with pytest.raises(InputError, match=r"by gives parameter '0.weight' scores of shape \(3, 3\); it has \(32, 8\)"):
        prune(three(), X, macs=0.5, by={"0.weight": torch.rand(3, 3)}, timing=0)
    with pytest.raises(InputError, match=r"by gives scores by parameter, as '0.weight', and others by site"):
        prune(three(), X, macs=0.5, by={"0.weight": torch.rand(32, 8), "0": torch.rand(32)}, timing=0)


@pytest.mark.parametrize("by", ["taylor_unit", "taylor_weight"])
@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda y, batch: F.cross_entropy(y, batch[1], reduction="none"), r"a tensor of shape \(2,\); give one number"),
        (lambda y, batch: 0.5, "a float; give one number, the sum over the batch"),
        (lambda y, batch: y.detach().sum(), "depends on no weight"),
    ],
)
def test_a_loss_that_is_no_sum_is_told(by, loss, says):
    with pytest.raises(InputError, match=says):
        prune(three(), X, macs=0.5, by=by, evidence=[(X, torch.tensor([0, 1]))], loss=loss, timing=0)


def test_a_criterion_that_writes_into_the_weights_is_told():
    with pytest.raises(InputError, match=r"written into the weights of layer '0', whose numbers are lost; load them"):
        score(three(), Criterion(lambda w_OI, seen: w_OI.abs_()))


class Deciding(nn.Module):
    """A network that does something else when it is narrow."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        if h.shape[-1] > 20:
            h = h * 2
        return self.b(h)


def test_code_that_decides_by_a_size_is_named():
    assert prune(Deciding(), X, macs=0.8, multiple=1, timing=0).difference < 1e-12
    with pytest.raises(
        InputError, match=r"it runs other operators from .*test_given.py:\d+ on, as its code decides by a s"
    ):
        prune(Deciding(), X, macs=0.5, multiple=1, timing=0)
