"""ThiNet: which layers it prunes, what it puts into the layer behind, and what it looks at."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from squares import D, images, plain
from torch import nn
from torch.optim import SGD

from sapwood import statistics
from sapwood.errors import InputError
from sapwood.methods.thinet import drawn, thinet
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.reconstruction import contributions
from sapwood.scoring.observation import observe
from sapwood.shrinking.cutting.units import reading_layer, unit_of_columns
from sapwood.shrinking.finding import sites
from sapwood.training.loop import evaluate
from sapwood.training.run import start
from sapwood.training.task import Batch, Data, Task


def task(model=plain, **options):
    data = Data(images(96, 0), images(48, 1), images(48, 2))
    return Task("images", model, data, partial(SGD, lr=0.05, momentum=0.9), batch_size=32, classes=4, **options)


def shapes(model):
    return [tuple(p.shape) for p in model.parameters() if p.dim() > 1]


def test_each_layer_keeps_its_share_rounded_down():
    run = start(task())
    list(thinet(run, kept=0.3, epochs=1, between=0, recover=0))
    assert shapes(run.model) == [(2, 3, 3, 3), (3, 2, 3, 3), (4, 12)]  # 2.4 and 3.6; four places for each channel
    run = start(task())
    list(thinet(run, kept=0.01, epochs=1, between=0, recover=0))
    assert shapes(run.model) == [(1, 3, 3, 3), (1, 1, 3, 3), (4, 4)]
    run = start(task())
    list(thinet(run, kept=0.5, spared=1, epochs=1, between=0, recover=0))
    assert shapes(run.model) == [(4, 3, 3, 3), (12, 4, 3, 3), (4, 48)]
    list(thinet(start(task()), spared=9, epochs=0, between=0, recover=0))


def test_in_residual_networks_the_inner_channels_go():
    run = start(task(partial(resnet_cifar, 8, width=4, classes=4, dtype=D)))
    list(thinet(run, kept=0.5, epochs=1, between=0, recover=0))
    blocks = [run.model.layer1[0], run.model.layer2[0], run.model.layer3[0]]
    assert [len(block.conv1.weight) for block in blocks] == [2, 4, 8]
    assert [len(block.conv2.weight) for block in blocks] == [4, 8, 16]


def test_the_layer_behind_gets_its_scales_and_comes_nearer():
    """By other means: what each channel adds, one by one, and least squares on that."""
    run = start(task())
    list(thinet(run, kept=1.0, epochs=2, between=0, recover=0))
    run.model.eval()
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    x = torch.cat([batch.inputs for batch in drawn(run, 1000)])
    with torch.no_grad():
        h, layer = run.model[:3](x), run.model[3]
        added = [nn.functional.conv2d(h[:, [c]], layer.weight[:, [c]], padding=1).flatten() for c in range(8)]
    x_MU = torch.stack(added, 1)
    again = start(task())
    list(thinet(again, kept=0.5, spared=1, epochs=2, between=0, recover=0))
    after = dict(again.model.named_parameters())
    kept = [c for c in range(8) if any(torch.equal(before["0.weight"][c], row) for row in after["0.weight"])]
    assert len(kept) == 4
    scale = torch.linalg.lstsq(x_MU[:, kept], x_MU.sum(1)[:, None]).solution[:, 0]
    assert torch.allclose(after["3.weight"], before["3.weight"][:, kept] * scale.view(1, -1, 1, 1), rtol=1e-5)
    assert torch.equal(after["3.bias"], before["3.bias"])
    whole = x_MU.sum(1)
    assert (x_MU[:, kept] @ scale - whole).norm() < (x_MU[:, kept].sum(1) - whole).norm()


def test_with_everything_kept_nothing_changes():
    run, dense = start(task()), start(task())
    list(thinet(run, kept=1.0, epochs=2, between=0, recover=0))
    list(thinet(dense, kept=1.0, spared=9, epochs=2, between=0, recover=0))
    assert all(torch.equal(p, q) for p, q in zip(run.model.parameters(), dense.model.parameters(), strict=True))


def test_samples_are_drawn_from_the_training_split_and_by_the_seed():
    run = start(task())
    batches = drawn(run, 40)
    every = {tuple(row.flatten().tolist()) for row in run.task.data.train.inputs}
    mine = [tuple(row.flatten().tolist()) for batch in batches for row in batch.inputs]
    assert len(mine) == len(set(mine)) == 40
    assert set(mine) <= every
    assert torch.equal(batches[0].inputs, drawn(run, 40)[0].inputs)
    assert not torch.equal(batches[0].inputs, drawn(start(task(), 1), 40)[0].inputs)
    assert sum(len(batch.targets) for batch in drawn(run, 5000)) == 96


def test_other_splits_decide_nothing():
    def final(**splits):
        of = task()
        run = start(replace(of, data=replace(of.data, **splits)))
        list(thinet(run, kept=0.5, epochs=1, between=1, recover=0))
        return dict(run.model.named_parameters())

    one, other = final(), final(valid=images(20, 7), test=images(20, 8))
    assert all(torch.equal(p, other[name]) for name, p in one.items())


@pytest.mark.parametrize("rule", ["keep", "remove"])
def test_half_of_the_channels_and_hardly_any_accuracy_lost_without_training_on(rule):
    run = start(task())
    moments = list(thinet(run, kept=0.5, spared=1, rule=rule, epochs=6, between=0, recover=0))
    assert evaluate(run)["accuracy"] >= moments[-1].metrics["valid_accuracy"] - 0.1
    assert moments[-1].metrics["valid_accuracy"] > 0.9


def test_it_trains_on_at_a_lower_rate():
    run = start(task())
    moments = list(thinet(run, kept=0.5, epochs=1, between=1, recover=2))
    assert [sum(now.phase == phase for now in moments) for phase in range(4)] == [3, 3, 3, 6]
    assert [group["lr"] for group in run.optimizer.param_groups] == [pytest.approx(0.005)]


class Both(nn.Module):
    """A layer that two read, one that a convolution in groups reads, and an answer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, groups=2)
        self.d, self.e = nn.Conv2d(4, 6, 1), nn.Linear(6, 4)

    def forward(self, x):
        h = self.a(x).relu()
        return self.e((self.d(h) * self.c(self.b(h)).mean()).relu().mean((2, 3)))


def test_only_units_that_one_layer_reads():
    model, x = Both(), torch.randn(2, 3, 4, 4)
    found = {site.name: reading_layer(model, site) for site in sites(model, x)}
    assert found["d"] == "e"
    assert found["a"] == ""
    assert set(found.values()) == {"", "e"}


def test_columns_of_the_reading_layer():
    model, x = plain(), torch.randn(2, 3, 8, 8, dtype=D)
    one, two = sites(model, x)
    assert unit_of_columns(model, next(one.at("reads"))).tolist() == [c for c in range(8) for _ in range(9)]
    assert unit_of_columns(model, next(two.at("reads"))).tolist() == [c for c in range(12) for _ in range(4)]
    with pytest.raises(InputError, match=r"dimension 0 of '0.weight' \(makes\) is not along the columns"):
        unit_of_columns(model, next(one.at("makes")))


def test_columns_of_a_transposed_convolution():
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.ConvTranspose2d(5, 2, 3, stride=2)).double()
    x = torch.randn(2, 3, 4, 4, dtype=D)
    (site,) = sites(model, x)
    assert reading_layer(model, site) == "2"
    unit_of_I = unit_of_columns(model, next(site.at("reads")))
    assert unit_of_I.tolist() == [c for c in range(5) for _ in range(9)]
    seen = observe(model, [Batch(x, torch.zeros(2))], statistics.gram, only=["2"])["2"]
    w_OI = model[2].weight.detach().transpose(0, 1).flatten(1)
    found = contributions(w_OI, seen[statistics.gram], unit_of_I=unit_of_I)
    with torch.no_grad():
        h = model[:2](x)
        added = [nn.functional.conv_transpose2d(h[:, [c]], model[2].weight[[c]], stride=2).flatten() for c in range(5)]
    x_MU = torch.stack(added, 1)
    assert torch.allclose(found.gram_UU, x_MU.T @ x_MU, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{"kept": 0.0}, {"kept": 1.5}, {"spared": -1}, {"samples": 0}, {"rate": -1.0}, {"rule": "greedy"}]
)
def test_options_that_make_no_sense(options):
    with pytest.raises(InputError, match=next(iter(options))):
        list(thinet(start(task()), **{"epochs": 0, "between": 0, "recover": 0} | options))
