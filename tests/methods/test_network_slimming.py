"""Network slimming: what draws the scales, which channels go, what is built; worked by hand from the method's sheet."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

from sapwood import Batch, Data, InputError, Task, evaluate, macs_of, sites, start, train
from sapwood.methods import METHODS
from sapwood.methods.network_slimming import chosen, drawn
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.scoring.layers import norm_scales

PLAIN = partial(SGD, lr=0.1)


def task(scales, *, optimizer=PLAIN, body=None):
    """Convolutions of 1 x 1, each with a batch norm whose scales are these; 12 images of 2 x 2 in three classes."""

    def model():
        layers, before = [], 2
        for each in scales:
            layers += [nn.Conv2d(before, len(each), 1, bias=False), nn.BatchNorm2d(len(each)), nn.ReLU()]
            before = len(each)
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * before, 3)).double()
        with torch.no_grad():
            for norm, each in zip((m for m in net if isinstance(m, nn.BatchNorm2d)), scales, strict=True):
                norm.weight.copy_(torch.tensor(each))
                norm.bias.fill_(0.3)
        return net

    luck = torch.Generator().manual_seed(0)
    every = Batch(torch.randn(36, 2, 2, 2, generator=luck, dtype=torch.float64), torch.arange(36) % 3)
    data = Data(*(every.take(slice(at, at + 12)) for at in (0, 12, 24)))
    return Task("by hand", body or model, data, optimizer, batch_size=12, classes=3)


def keep(scales, *, macs=0.5, channels=0.0):
    """What stays of each layer, in words; and what was noted."""
    run = start(task(scales))
    kept = chosen(run, sites(run.model, run.task.data.train.inputs[:2]), macs, channels)
    return ["".join(map(str, each.int().tolist())) for each in kept.values()], run.memory["notes"]


def test_the_scales_are_drawn_after_the_gradient_and_weight_decay_acts_on_them_as_well():
    """g - lr (dL/dg + s sign(g) + decay g); a scale of 0 is not drawn anywhere."""
    run = start(task([[0.5, -0.25, 0.0]], optimizer=partial(SGD, lr=0.1, weight_decay=0.01)))
    scale = run.model[1].weight
    before = scale.detach().clone()
    for now in train(run, steps=1, update=partial(drawn, strength=0.2)):
        slope, loss = scale.grad.clone(), now.loss
    plain = start(task([[0.5, -0.25, 0.0]]))
    [again] = train(plain, steps=1)
    of_loss = plain.model[1].weight.grad
    assert torch.allclose(slope, of_loss + torch.tensor([0.2, -0.2, 0.0], dtype=torch.float64), rtol=1e-13)
    assert torch.allclose(scale, before - 0.1 * (slope + 0.01 * before), rtol=1e-13)
    assert loss == again.loss, "what is recorded is the task's loss"
    others = [
        (p, q)
        for (n, p), q in zip(run.model.named_parameters(), plain.model.parameters(), strict=True)
        if n != "1.weight"
    ]
    assert all(torch.equal(p.grad, q.grad) for p, q in others)


def test_a_scale_that_nothing_holds_reaches_zero_and_stays_within_a_step_of_it():
    run = start(task([[0.05, 0.5]]))
    run.loss = lambda model, batch, outputs: outputs.sum() * 0
    sizes = [
        run.model[1].weight.detach().abs().tolist() for _ in train(run, steps=30, update=partial(drawn, strength=0.1))
    ]
    assert sizes[0] == pytest.approx([0.04, 0.49])
    assert max(size for size, _ in sizes[5:]) <= 0.01 + 1e-12
    assert sizes[-1][1] == pytest.approx(0.5 - 30 * 0.01)


SCALES = [[0.9, -0.1, 0.5, 0.3], [0.2, -0.8, 0.05]]


@pytest.mark.parametrize(
    ("channels", "stays"),
    [(0.1, ["1111", "111"]), (0.15, ["1111", "110"]), (0.5, ["1011", "010"]), (0.6, ["1010", "010"])],
)
def test_channels_go_by_size_in_one_ranking(channels, stays):
    """Of 7, floor(7 x share) go."""
    assert keep(SCALES, channels=channels)[0] == stays


def test_of_equal_scales_exactly_as_many_go_as_were_asked_for():
    stays, _ = keep([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]], channels=0.5)
    assert stays == ["1110", "1000"]


def test_the_last_channel_of_a_layer_stays_and_that_is_noted():
    """Their code would leave the first layer empty."""
    stays, notes = keep([[0.01, 0.02, 0.03], [0.5, 0.6, 0.7]], channels=0.5)
    assert stays == ["001", "011"]
    assert notes["spared"] == 1
    assert notes["near_zero"] == 3 / 6
    stays, notes = keep([[0.01, 0.02, 0.03], [0.5, 0.6, 0.7]], channels=0.99)
    assert stays == ["001", "001"]
    assert keep(SCALES, channels=0.5)[1]["spared"] == 0


@pytest.mark.parametrize("share", [0.9, 0.5, 0.25])
def test_the_multiply_adds_asked_for_are_met_and_one_channel_more_would_break_it(share):
    run = start(task(SCALES))
    found = sites(run.model, run.task.data.train.inputs[:2])
    kept = chosen(run, found, share, 0.0)
    cost = macs_of(run.model, found, run.task.data.train.inputs[:1])
    limit = share * float(cost({}))
    assert float(cost(kept)) <= limit
    sizes = {
        site.name: scale.detach().abs() for site, scale in zip(found, norm_scales(run.model).values(), strict=True)
    }
    name, at = max(
        ((n, int(u)) for n in kept for u in (~kept[n]).nonzero()), key=lambda place: sizes[place[0]][place[1]]
    )
    one_more = {n: k.clone() for n, k in kept.items()}
    one_more[name][at] = True
    assert float(cost(one_more)) > limit


def test_what_is_built_answers_as_with_scales_and_shifts_at_zero():
    """Their step 3: both are put to 0, and the network is evaluated."""
    run = start(task([[0.5] * 4, [0.5] * 3]), seed=3)
    moments = METHODS["network_slimming"](run, channels=0.5, initial=0.0, strength=0.5, epochs=3, tune=1, rate=0.0)
    for now in moments:
        if now.step == 3:
            whole = start(run.task, 0)
            whole.model.load_state_dict(run.model.state_dict())
    kept = run.cuts[0].keep
    with torch.no_grad():
        for norm, stays in zip((whole.model[1], whole.model[4]), kept.values(), strict=True):
            norm.weight[~stays] = 0
            norm.bias[~stays] = 0
    noted = {name.removeprefix("cut_valid_"): value for name, value in run.memory["notes"].items() if "cut" in name}
    assert noted == pytest.approx(evaluate(whole), rel=1e-12)


def test_scales_begin_where_the_paper_has_them_unless_told_otherwise():
    begun = []
    for initial in (0.5, 0.0):
        run = start(task(SCALES))
        next(METHODS["network_slimming"](run, initial=initial, strength=0.0, epochs=1, tune=0))
        begun.append(norm_scales(start(task(SCALES)).model)["1.weight"] if initial == 0 else torch.full((4,), 0.5))
        moved = run.model[1].weight + 0.1 * run.model[1].weight.grad
        assert torch.allclose(moved.detach(), begun[-1].detach().double())


def test_channels_of_a_residual_stream_go_by_the_mean_of_their_norms():
    body = partial(resnet_cifar, 8, width=4, classes=3, dtype=torch.float64)
    run = start(task([], body=body))
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    found = sites(run.model, images)
    stream = max(found, key=lambda site: len(list(site.at("holds"))))
    names = {slot.tensor for slot in stream.at("holds") if slot.tensor in norm_scales(run.model)}
    assert len(names) > 1
    with torch.no_grad():
        for scale in norm_scales(run.model).values():
            scale.fill_(1.0)
        for number, name in enumerate(sorted(names)):  # 0 in one norm only: far from the smallest mean
            slot = next(s for s in stream.at("holds") if s.tensor == name)
            norm_scales(run.model)[name][slot.unit_of == 0] = float(number > 0)
            norm_scales(run.model)[name][slot.unit_of == 1] = 0.1
    share = 1.01 / sum(site.units for site in found)
    kept = chosen(run, found, 0.5, share)
    assert int(sum((~each).sum() for each in kept.values())) == 1
    assert not bool(kept[stream.name][1])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"macs": 0.0}, "macs=0.0"),
        ({"macs": 1.5}, "macs=1.5"),
        ({"channels": 1.0}, "channels=1.0"),
        ({"strength": -1.0}, "strength=-1.0"),
        ({"macs": 0.01, "epochs": 0, "tune": 0}, "cost of .* cannot be met"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        list(METHODS["network_slimming"](start(task(SCALES)), **options))


def test_a_network_without_batch_norms_is_refused():
    plain = partial(lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)).double())
    with pytest.raises(InputError, match="Sequential has no batch norm with scales; give a network that has one"):
        list(METHODS["network_slimming"](start(task([], body=plain))))


def test_a_network_is_not_rebuilt_while_it_trains():
    run = start(task(SCALES))
    found = sites(run.model, run.task.data.train.inputs[:2])
    for _ in train(run, steps=1):
        with pytest.raises(InputError, match="cannot be rebuilt while a call of train is in progress"):
            run.shrink({}, found)
    run.prune({"0.weight": torch.ones(4, 2, 1, 1, dtype=torch.bool), "3.weight": torch.rand(3, 4, 1, 1) > 0.5})
    masks = run.masks
    cut = run.shrink({found[0].name: torch.tensor([True, False, True, True])}, found)
    assert (cut.round, cut.units) == (2, 1)
    assert torch.equal(run.masks["3.weight"], masks["3.weight"][:, [0, 2, 3]])
    assert run.masks["0.weight"].shape == (3, 2, 1, 1)
