"""FLOPs: equal to torch's own counter on dense networks, the paper's numbers, and no hook left behind."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sapwood.errors import InputError
from sapwood.measure.work import activation_density, flops, macs


def mlp(*widths):
    return nn.Sequential(*[part for i, o in pairwise(widths) for part in (nn.Linear(i, o), nn.ReLU())][:-1])


class Twice(nn.Module):
    """One layer used two times, another not at all."""

    def __init__(self):
        super().__init__()
        self.shared, self.unused = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x, y):
        return self.shared(self.shared(x)) + self.shared(y)


CASES = {
    "mlp": (mlp(7, 5, 3), (4, 7)),
    "linear with leading dimensions": (nn.Linear(6, 5), (3, 8, 2, 6)),
    "conv1d, stride, dilation": (nn.Conv1d(4, 6, 3, stride=2, dilation=2, padding=1), (2, 4, 17)),
    "conv2d, groups, uneven kernel": (nn.Conv2d(4, 8, (3, 1), groups=2, padding=(2, 1), stride=(1, 3)), (3, 4, 9, 7)),
    "conv2d, depthwise, same": (nn.Conv2d(6, 6, 3, groups=6, padding="same"), (2, 6, 5, 5)),
    "conv2d, circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 2, 6, 6)),
    "conv3d": (nn.Conv3d(2, 4, (2, 3, 1), stride=(2, 1, 1), bias=False), (2, 2, 6, 5, 4)),
    "conv then linear": (
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2)),
        (5, 1, 6, 6),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_dense_flops_are_those_of_torchs_counter(case):
    model, shape = CASES[case]
    example = torch.ones(shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(example)
    assert flops(model, example, sparse=False) * shape[0] == counter.get_total_flops() > 0
    assert flops(model, example) == flops(model, example, sparse=False)  # no weight is 0


def test_numbers_of_the_paper():
    model = mlp(784, 300, 200, 100, 50, 10)
    assert flops(model, torch.ones(3, 784)) == 641_400
    assert list(macs(model, torch.ones(1, 784)).values()) == [235_200, 60_000, 20_000, 5_000, 500]
    with torch.no_grad():
        for layer, dead in zip(model[:-1:2], (240, 160, 80, 40), strict=True):  # 80 % of each hidden layer: row L1
            layer.weight[:dead] = 0
    assert round(flops(model, torch.ones(1, 784)) / 1000, 2) == 129.08


def test_sparse_macs_worked_by_hand():
    conv = nn.Conv2d(1, 2, 2)  # on 4x3: 3*2 positions
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[1.0, 2.0], [3.0, 0.0]]]]))
    assert macs(conv, torch.ones(2, 1, 4, 3)) == {"": 6 * 8}
    assert macs(conv, torch.ones(2, 1, 4, 3), sparse=True) == {"": 6 * 4}
    assert flops(conv, torch.ones(2, 1, 4, 3)) == 48


def test_calls_are_counted_and_unused_layers_are_0():
    assert macs(Twice(), (torch.ones(2, 6), torch.ones(2, 6))) == {"shared": 3 * 36, "unused": 0}


def test_batch_size_does_not_matter():
    model = CASES["conv then linear"][0]
    assert macs(model, torch.ones(1, 1, 6, 6)) == macs(model, torch.ones(9, 1, 6, 6))


def test_activation_density_worked_by_hand():
    model = mlp(2, 2, 1)
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[0].bias.zero_()
    inputs = torch.tensor([[1.0, -1.0], [2.0, 0.0], [3.0, 4.0], [-1.0, -1.0]])
    assert activation_density(model, inputs) == {"0": 7 / 8, "2": 4 / 8}


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        self.norm(self.first(x)) + torch.rand(3)
        raise RuntimeError("half way")


@pytest.mark.parametrize("count", [macs, flops, activation_density])
def test_no_trace_after_an_exception(count):
    model, mine = Failing(), []
    model.first.register_forward_hook(lambda *_: mine.append(1))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="half way"):
        count(model, torch.ones(2, 3))
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 1, 0]
    assert mine == [1]
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_no_hook_left_after_success():
    model = mlp(3, 2)
    flops(model, torch.ones(1, 3))
    activation_density(model, torch.ones(1, 3))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("hidden", [nn.LSTM(3, 3), nn.MultiheadAttention(4, 2), nn.ConvTranspose2d(1, 1, 2)])
def test_modules_whose_products_would_be_missed_are_refused(hidden):
    with pytest.raises(InputError, match=f"'1' is {type(hidden).__name__}"):
        flops(nn.Sequential(nn.Linear(3, 3), hidden), torch.ones(1, 3))


def test_refusals():
    with pytest.raises(InputError, match=r"\(0, 3\)"):
        flops(mlp(3, 2), torch.ones(0, 3))
    with pytest.raises(InputError, match="no Linear or Conv"):
        flops(nn.ReLU(), torch.ones(1, 3))
