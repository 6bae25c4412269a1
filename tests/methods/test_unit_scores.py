"""What the criteria of units say: numbers worked out by hand, which member counts how, what is left alone."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

from sapwood.checks.tiny import tiny_conv_task
from sapwood.criteria import UNIT_CRITERIA
from sapwood.errors import InputError
from sapwood.methods.parts.ranking import unit_scores
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.scoring.unit_criterion import UnitCriterion
from sapwood.shrinking.finding import sites
from sapwood.training.task import Batch, Data, Task

D = torch.float64


def tensor(values):
    return torch.tensor(values, dtype=D)


FPGM = [[1, 0], [0.9, 0.1], [0, 1], [-1, 0]]
MAPS = [[[0] * 3] * 3, [[1] * 3] * 3, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 2, 3], [2, 4, 6], [1, 0, 1]]]
SEEN = [[0, 2, 0], [0, 1, 3], [1, 0, 2], [0, 4, 0]]  # four samples of three units
WORKED = {
    "l1": ([[1, -2, 3], [-4, 0.5, 0]], [6, 4.5]),
    "l2": ([[3, -4, 0], [0, 0, 0]], [5, 0]),
    "group_l1": ([[1, -2], [0.5, 0]], [3, 0.5]),
    "group_l2": ([[1, -2], [0.5, 0]], [5, 0.25]),
    "norm_scale": ([[-0.5], [0.25]], [0.5, 0.25]),
    "taylor_weight": ([[0.5, -1], [2, 0]], [1.25, 4]),
    "activity": (SEEN, [1, 3, 2]),
    "apoz": (SEEN, [1, 3, 2]),
    "hrank": ([MAPS], [0, 1, 3, 2]),
    "random_neuron": ([[1, -2, 3], [-4, 0.5, 0]], [0x3338EC02 / 2**32, 0xE460E32C / 2**32]),
    "taylor_unit": ([[[0.0, 0.1]], [[-0.2, 0.1]]], [0.1]),  # means over places .05 and -.05: no signs cancel
}


@pytest.mark.parametrize("name", WORKED)
def test_scores_by_hand(name):
    shown, wanted = WORKED[name]
    assert torch.allclose(UNIT_CRITERIA[name].score(tensor(shown)), tensor(wanted), rtol=1e-14, atol=0)


def test_the_filter_that_others_can_stand_in_for_is_nearest_to_all():
    """Norms cannot rank these; with squared weights in place of the weights, 0 and 3 would tie at the bottom."""
    found = UNIT_CRITERIA["geometric_median"].score(tensor(FPGM))
    assert torch.allclose(found, tensor([3.5556, 3.3168, 4.1012, 5.3168]), atol=5e-5)
    assert UNIT_CRITERIA["l1"].score(tensor(FPGM)).tolist() == [1, 1, 1, 1]


def test_every_unit_criterion_has_a_worked_number():
    assert set(UNIT_CRITERIA) == {*WORKED, "geometric_median"}


def test_counting_and_apoz_say_the_same_of_maps_to_the_last_digit():
    maps = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=D)
    counts, shares = (UNIT_CRITERIA[name].score(maps) for name in ("activity", "apoz"))
    assert torch.equal(counts / 16, shares)


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 3, 2, 3, 3)])
def test_what_is_no_map_has_no_rank(shape):
    with pytest.raises(InputError, match="hrank needs maps of height and width"):
        UNIT_CRITERIA["hrank"].score(torch.zeros(shape))


# Groups: which tensors of a site count, and how several members become one.


def linear_task(model):
    """Three samples of two numbers; the loss is the sum of the outputs, over the batch's mean."""
    x = tensor([[1, 0], [0, 1], [2, -1]])
    batch = Batch(x, torch.zeros(3, dtype=torch.int64))
    loss = lambda model, batch, outputs: outputs.sum(1).mean()  # noqa: E731
    return Task("by hand", model, Data(batch, batch, batch), partial(SGD, lr=0.1), batch_size=3, loss=loss)


def two_layers():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(tensor([[1, -2], [0.5, 4]]))
        net[0].bias.copy_(tensor([0.5, -9]))
        net[2].weight.copy_(tensor([[3, -1]]))
    return net


def scores(by, model, *, task=None, **options):
    task = task or linear_task(two_layers)
    found = sites(model, task.examples)
    return unit_scores(by, model, found, task, [task.data.train], **options)


@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        ("l1", [3, 4.5]),
        ("l2", [5**0.5, 16.25**0.5]),
        ("group_l1", [3 + 3, 4.5 + 1]),
        ("group_l2", [(5 + 9) / 2 / 7.8125, (16.25 + 1) / 2 / 7.8125]),
        # y before the ReLU: unit 0 gives 1.5, -1.5, 4.5; unit 1 -8.5, -5, -12.
        ("apoz", [2 / 3, 0]),
        ("activity", [2 / 3, 0]),
        # The loss is the mean of 3 relu(y_0) - relu(y_1): slopes 3, 0, 3. Samples' changes 4.5, 0, 13.5; then |.| = 6.
        ("taylor_unit", [1, 0]),
        # Gradients of row 0: mean over samples of 3 x where it fires: (3 + 6) / 3, -3 / 3; row 1: 0.
        ("taylor_weight", [(3 * 1) ** 2 + (-1 * -2) ** 2, 0]),
    ],
)
def test_a_chain_by_hand(by, wanted):
    found = scores(by, two_layers())
    assert list(found) == ["0"]
    assert torch.allclose(found["0"], tensor(wanted), rtol=1e-13, atol=0)


def test_taylor_of_units_is_divided_by_the_layers_norm():
    """(.3, .4, 0) becomes (.6, .8, 0)."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(tensor([1, 1, 1]))
        net[2].weight.copy_(tensor([[0.3, -0.4, 0]]))
    assert torch.allclose(scores("taylor_unit", net)["0"], tensor([0.6, 0.8, 0]), rtol=1e-14, atol=0)
    assert torch.allclose(scores("taylor_unit", net, norm="none")["0"], tensor([0.3, 0.4, 0]), rtol=1e-14, atol=0)
    assert torch.allclose(scores("taylor_unit", net, norm="max")["0"], tensor([0.75, 1, 0]), rtol=1e-14, atol=0)


def test_taylor_of_units_is_what_the_loss_loses_where_the_loss_is_linear_in_the_unit():
    net = two_layers()
    task = linear_task(two_layers)
    whole = [task.loss(net, task.data.train, net(task.data.train.inputs[[n]])) for n in range(3)]
    with torch.no_grad():
        net[0].weight[0] = 0
        net[0].bias[0] = 0
    without = [task.loss(net, task.data.train, net(task.data.train.inputs[[n]])) for n in range(3)]
    lost = float(sum((a - b).detach().abs() for a, b in zip(whole, without, strict=True))) / 3
    assert scores("taylor_unit", two_layers(), norm="none")["0"].tolist() == pytest.approx([lost, 0], rel=1e-14)


def test_batches_are_put_together_by_samples_where_outputs_count_and_by_batches_where_gradients_of_weights_do():
    net, task = two_layers(), linear_task(two_layers)
    found, data = sites(net, task.examples), task.data.train
    one, rest = data.take(slice(0, 1)), data.take(slice(1, 3))
    for by in ("apoz", "activity", "taylor_unit"):
        parts, whole = (unit_scores(by, net, found, task, batches)["0"] for batches in ([one, rest], [data]))
        assert torch.allclose(parts, whole, rtol=1e-13, atol=0)
    each = [unit_scores("taylor_weight", net, found, task, [batch])["0"] for batch in (one, rest)]
    both = unit_scores("taylor_weight", net, found, task, [one, rest])["0"]
    assert torch.allclose(both, (each[0] + each[1]) / 2, rtol=1e-13, atol=0)


def conv_task(model):
    return replace(tiny_conv_task(), model=model)


def normed(gamma=(0.5, -1.0, 0.0), beta=(1.0, 0.0, -1.0)):
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(),
                        nn.Linear(48, 3)).double()  # fmt: skip
    with torch.no_grad():
        net[1].weight.copy_(tensor(gamma))
        net[1].bias.copy_(tensor(beta))
        net[1].running_mean.normal_(generator=torch.Generator().manual_seed(1))
    return net


def test_outputs_are_looked_at_behind_the_norm_also_where_the_relu_writes_over_them():
    net, task = normed(), conv_task(normed)
    found = unit_scores("apoz", net, sites(net, task.examples), task, [task.data.train])["0"]
    net.eval()
    with torch.no_grad():
        a = net[:2](task.data.train.inputs)
    assert torch.allclose(found, (a > 0).double().mean((0, 2, 3)), rtol=1e-14, atol=0)
    assert found[2] == 0  # scale 0, shift -1; the convolution itself fires
    assert scores("norm_scale", normed(), task=task)["0"].tolist() == [0.5, 1.0, 0.0]


def test_a_layer_behind_flatten_counts_with_all_places_of_a_channel():
    found = scores("group_l1", normed(), task=conv_task(normed))
    net = normed()
    torch.manual_seed(3)
    net = normed()
    found = scores("group_l1", net, task=conv_task(normed))["0"]
    by_hand = net[0].weight.abs().sum((1, 2, 3)) + net[1].weight.abs() + net[4].weight.abs().view(3, 3, 16).sum((0, 2))
    assert torch.allclose(found, by_hand.detach(), rtol=1e-13, atol=0)


@pytest.fixture
def stream():
    """A small residual network, the site of its stream, and the task."""
    model = partial(resnet_cifar, 8, width=4, classes=3, dtype=D)
    luck = torch.Generator().manual_seed(0)
    data = Batch(torch.randn(6, 3, 8, 8, generator=luck, dtype=D), torch.arange(6) % 3)
    task = Task("stream", model, Data(data, data, data), partial(SGD, lr=0.1), batch_size=6, classes=3)
    torch.manual_seed(0)
    net = model()
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        with torch.no_grad():
            norm.weight.normal_(generator=luck)
    found = sites(net, task.examples)
    return net, task, found, max(found, key=lambda site: len(site.slots))


def rows(net, site, role, ending):
    return [
        net.get_parameter(slot.tensor)[[int((slot.unit_of == u).nonzero()) for u in range(site.units)]]
        for slot in site.at(role)
        if slot.tensor.endswith(ending) and slot.tensor in dict(net.named_parameters())
    ]


def test_of_a_stream_every_producer_counts_alike(stream):
    net, task, found, site = stream
    made = [w.abs().sum((1, 2, 3)).detach() for w in rows(net, site, "makes", "weight")]
    assert len(made) >= 3
    mean, most, total = (unit_scores("l1", net, found, task, group=g)[site.name] for g in ("mean", "max", "sum"))
    assert torch.allclose(mean, torch.stack(made).mean(0), rtol=1e-13, atol=0)
    assert torch.allclose(most, torch.stack(made).amax(0), rtol=1e-13, atol=0)
    assert torch.allclose(total, torch.stack(made).sum(0), rtol=1e-13, atol=0)


def test_of_a_stream_every_norm_and_every_place_where_it_is_scaled_counts_alike(stream):
    net, task, found, site = stream
    scales = [w.abs().detach() for w in rows(net, site, "holds", "weight")]
    norms = unit_scores("norm_scale", net, found, task)[site.name]
    assert torch.allclose(norms, torch.stack(scales).mean(0), rtol=1e-13, atol=0)
    shares = []
    for name in ("layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1", "linear"):  # where the stream is read
        layer = net.get_submodule(name)
        hook = layer.register_forward_hook(
            lambda m, x, y: shares.append((x[0] > 0).double().transpose(0, 1).flatten(1))
        )
        net.eval()(task.data.train.inputs)
        net.train()
        hook.remove()
    middle = [share.mean(1)[(len(share) - 4) // 2 :][:4] for share in shares]
    seen = unit_scores("apoz", net, found, task, [task.data.train])[site.name]
    assert torch.allclose(seen, torch.stack(middle).mean(0), rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("by", "options", "says"),
    [
        ("l3", {}, "unknown unit criterion 'l3'; known: activity, apoz"),
        ("l1", {"group": "median"}, "unknown group 'median'"),
        ("l1", {"norm": "l3"}, "unknown norm 'l3'"),
        ("norm_scale", {}, r"no site has anything that criterion 'norm_scale' could look at \(norms\)"),
    ],
)
def test_bad_requests_are_refused(by, options, says):
    with pytest.raises(InputError, match=says):
        scores(by, two_layers(), **options)


@pytest.mark.parametrize("by", ["apoz", "taylor_unit", "taylor_weight"])
def test_criteria_that_look_at_samples_ask_for_them(by):
    net, task = two_layers(), linear_task(two_layers)
    with pytest.raises(InputError, match=r"looks at samples; give unit_scores\(\) batches"):
        unit_scores(by, net, sites(net, task.examples), task)


@pytest.mark.parametrize("options", [{"of": "reads"}, {"group": "all"}, {"norm": "sum"}])
def test_a_criterion_says_what_exists(options):
    with pytest.raises(InputError, match=f"unknown {next(iter(options))}"):
        UnitCriterion(lambda x: x, **options)
