"""Compact: units that zeros have made useless go, constants are folded, and the outputs stay what they were."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import Written, built, conv, flat, image, mlp, settled

from sapwood.shrinking.cutting.equal import difference, inputs
from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.tracing.graph import named_tensors


def dead_rows(model, name, rows, biases=None):
    """All incoming weights of these units are 0."""
    layer = model.get_submodule(name)
    with torch.no_grad():
        layer.weight[rows] = 0
        if biases is not None:
            layer.bias[rows] = torch.as_tensor(biases, dtype=layer.bias.dtype)
    return model


def widths(model):
    return [layer.out_features for layer in model.modules() if isinstance(layer, nn.Linear)]


def relative(model, small, example):
    return difference(model, small, inputs(example, count=4))


def test_the_papers_network_pruned_by_activation():
    """784-300-200-100-50-10 with whole neurons pruned: biases of both signs send constants through the ReLU."""
    sizes = (784, 300, 200, 100, 50)
    hidden = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU())]
    model = settled(nn.Sequential(*hidden, nn.Linear(50, 10)))
    generator = torch.Generator().manual_seed(2)
    masks = {}
    for number in (0, 2, 4, 6):
        weight = model[number].weight
        masks[f"{number}.weight"] = torch.rand(weight.shape, generator=generator) < 0.3
        masks[f"{number}.weight"][torch.randperm(len(weight), generator=generator)[: len(weight) // 2]] = False
    example = flat(784)
    before = {name: tensor.clone() for name, tensor in named_tensors(model)}
    result = compact(model, masks, example=example)
    assert widths(result.model) == [150, 100, 50, 25, 10]
    assert result.staying == ()
    assert all(torch.equal(tensor, before[name]) for name, tensor in named_tensors(model))
    with torch.no_grad():
        for name, keep in masks.items():
            model.get_parameter(name).mul_(keep)
        constants = [F.relu(model[n].bias[(model[n].weight == 0).all(1)]) for n in (0, 2, 4, 6)]
    assert all(bool((c > 0).any()) and bool((c == 0).any()) for c in constants)
    assert relative(model, result.model, example) < 1e-12


def test_a_constant_worked_out_by_hand():
    """Unit 1 sends relu(2) = 2, read with weights 3 and -1: the biases become 0.5 + 6 and 1 - 2."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 2.0]))
        model[2].weight.copy_(torch.tensor([[1.0, 3.0], [1.0, -1.0]]))
        model[2].bias.copy_(torch.tensor([0.5, 1.0]))
    small = compact(model, example=flat(2)).model
    assert small[0].weight.tolist() == [[1.0, 2.0]]
    assert small[2].bias.tolist() == [6.5, -1.0]
    assert small[2].weight.tolist() == [[1.0], [1.0]]


def test_units_that_nobody_reads_go_and_take_those_before_them_along():
    model, example = built(mlp)
    with torch.no_grad():
        model[4].weight[:, [0, 3]] = 0  # nobody reads units 0 and 3 of the second layer
        model[2].weight[[1, 2, 4, 5], 2] = 0  # only those read unit 2 of the first
    result = compact(model, example=example)
    assert widths(result.model) == [7, 4, 4]
    assert relative(model, result.model, example) < 1e-12


def test_constants_run_on_through_units_they_silence():
    """The second layer's unit 0 reads dead units only: once those are folded, it is a constant too."""
    model, example = built(mlp)
    dead_rows(model, "0", [0, 1], [1.0, -1.0])
    with torch.no_grad():
        model[2].weight[0, 2:] = 0
    result = compact(model, example=example)
    assert widths(result.model) == [6, 5, 4]
    assert relative(model, result.model, example) < 1e-12


def test_constants_pass_normalisation_pooling_and_flattening():
    model = settled(
        nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 4))
    )
    dead_rows(model, "0", [1, 4])
    result = compact(model, example=image())
    assert result.model[0].out_channels == result.model[1].num_features == 4
    assert result.staying == ()
    assert relative(model, result.model, image()) < 1e-12


@pytest.mark.parametrize(("mode", "left"), [("zeros", 6), ("circular", 4), ("valid", 4)])
def test_a_constant_that_meets_zero_padding_stays_and_the_result_says_so(mode, left):
    options = {"padding": 0} if mode == "valid" else {"padding": 1, "padding_mode": mode}
    model = settled(nn.Sequential(conv(3, 6), nn.Sigmoid(), nn.Conv2d(6, 4, 3, **options), nn.ReLU(), conv(4, 2)))
    dead_rows(model, "0", [1, 4], [0.5, -0.5])
    result = compact(model, example=image())
    assert result.model[0].out_channels == left
    assert [(s.site, s.unit) for s in result.staying] == ([("0", 1), ("0", 4)] if mode == "zeros" else [])
    assert all("meets zero padding in module '2'" in s.because or "in module" in s.because for s in result.staying)
    assert relative(model, result.model, image()) < 1e-12


def test_a_constant_of_0_goes_through_zero_padding():
    model = settled(nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 4), nn.ReLU(), conv(4, 2)))
    dead_rows(model, "0", [1, 4, 5], [-0.5, 0.0, 1.0])
    result = compact(model, example=image())
    assert result.model[0].out_channels == 4
    assert len(result.staying) == 1
    assert relative(model, result.model, image()) < 1e-12


def test_a_reader_without_bias_takes_only_constants_of_0():
    model = settled(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3, bias=False)))
    dead_rows(model, "0", [0, 2], [1.0, -1.0])
    result = compact(model, example=flat(5))
    assert widths(result.model) == [5, 3]
    assert "has no bias" in result.staying[0].because
    assert relative(model, result.model, flat(5)) < 1e-12


def test_a_residual_unit_goes_only_when_both_branches_are_silent():
    def forward(of, x):
        x = of["a"](x)
        return of["head"](torch.tanh(x + of["b"](F.relu(x))))

    model = settled(Written(forward, a=nn.Linear(5, 6), b=nn.Linear(6, 6), head=nn.Linear(6, 3)))
    dead_rows(model, "layers.a", [0, 1], [0.3, -0.4])
    dead_rows(model, "layers.b", [1, 2], [0.2, 0.1])
    result = compact(model, example=flat(5))
    assert result.model.layers["a"].out_features == 5
    assert relative(model, result.model, flat(5)) < 1e-12


def test_a_constant_multiplied_by_data_is_no_constant():
    def forward(of, x):
        return of["head"](of["a"](x) * of["one"](x))

    model = settled(Written(forward, a=nn.Linear(5, 6), one=nn.Linear(5, 1), head=nn.Linear(6, 3)))
    dead_rows(model, "layers.a", [0, 1], [0.3, -0.4])
    result = compact(model, example=flat(5))
    assert result.model.layers["a"].out_features == 6
    assert relative(model, result.model, flat(5)) < 1e-12


def test_a_unit_that_happens_to_be_constant_on_the_samples_stays():
    """A bias of -1000 keeps a ReLU closed on all samples, and still the unit could open."""
    model, example = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double(), flat(5)
    with torch.no_grad():
        model[0].bias[1] = -1000.0
    assert widths(compact(model, example=example).model) == [4, 3]


def test_one_unit_stays_when_all_are_silent():
    model, example = built(mlp)
    dead_rows(model, "2", list(range(6)))
    result = compact(model, example=example)
    assert widths(result.model) == [1, 1, 4]
    assert {(s.site, s.unit, s.because) for s in result.staying} == {
        ("0", 0, "one unit of a site must stay"), ("2", 0, "one unit of a site must stay"),
    }  # fmt: skip
    assert relative(model, result.model, example) < 1e-12


def test_a_layer_used_twice_takes_no_constants():
    def forward(of, x):
        return of["twice"](F.relu(of["a"](x))) + of["twice"](F.relu(of["b"](x)))

    model = settled(Written(forward, a=nn.Linear(5, 6), b=nn.Linear(5, 6), twice=nn.Linear(6, 3)))
    dead_rows(model, "layers.a", [0], [0.5])
    dead_rows(model, "layers.b", [0], [0.25])
    result = compact(model, example=flat(5))
    assert result.model.layers["a"].out_features == 6
    assert "several times" in result.staying[0].because


def test_float32_networks_are_folded_in_float64():
    model, example = built(mlp)
    model, example = dead_rows(model, "0", [0, 1, 2], [1.0, 0.1, -3.0]).float(), example.float()
    result = compact(model, example=example)
    assert widths(result.model) == [5, 6, 4]
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert result.difference < 1e-13
    torch.testing.assert_close(result.model(example), model(example), rtol=1e-5, atol=1e-6)


def test_nothing_to_do_gives_the_same_network():
    model, example = built(mlp)
    result = compact(model, example=example)
    assert result.difference == 0
    assert all(
        torch.equal(a, b) for (_, a), (_, b) in zip(named_tensors(model), named_tensors(result.model), strict=True)
    )


def test_twice_is_once():
    model, example = built(mlp)
    once = compact(dead_rows(model, "0", [0, 1], [1.0, -1.0]), example=example)
    assert widths(compact(once.model, example=example).model) == widths(once.model)


def test_folding_refuses_units_that_do_something():
    model, example = built(mlp)
    dead_rows(model, "0", [0], [1.0])
    keep = {"0": torch.arange(8) > 1}
    result = shrink(model, keep, sites(model, example), example=example, removed="folded")
    assert widths(result.model)[0] == 7
    assert [(s.unit, s.because) for s in result.staying] == [(1, "it has incoming weights and is read")]
    assert relative(model, result.model, example) < 1e-12


def test_the_optimizer_comes_along():
    model, example = built(mlp)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(example).sum().backward()
    optimizer.step()
    result = compact(dead_rows(model, "0", [0, 1], [1.0, -1.0]), example=example, optimizer=optimizer)
    parameter = result.model[0].weight
    assert result.optimizer.param_groups[0]["params"][0] is parameter
    momentum = optimizer.state[model[0].weight]["momentum_buffer"]
    assert torch.equal(result.optimizer.state[parameter]["momentum_buffer"], momentum[2:])
