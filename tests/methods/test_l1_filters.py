"""L1 filters: which go by which ratios, what a scan says, what is built; multiply-adds of the paper's networks."""

from functools import cache, partial

import pytest
import torch
from squares import D, images, plain
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from sapwood.errors import InputError
from sapwood.methods.l1_filters import l1_filters
from sapwood.methods.parts.ranking import unit_scores
from sapwood.methods.parts.widths import allocated, by_macs, by_ratios, by_share, ratios_of, removable, sensitivity
from sapwood.methods.rethink import scratch_epochs
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.models.vgg_cifar import vgg_cifar
from sapwood.selection.select import by_count
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import sites
from sapwood.training.loop import evaluate
from sapwood.training.run import start
from sapwood.training.task import Data, Task

DATA = Data(images(96, 0), images(200, 1), images(48, 2))


MOMENTUM = partial(SGD, lr=0.05, momentum=0.9)


def task(model=plain, *, optimizer=MOMENTUM):
    return Task("images", model, DATA, optimizer, batch_size=32, classes=4)


def residual(depth=8):
    return partial(resnet_cifar, depth, width=4, classes=4, dtype=D)


def shapes(model):
    return [tuple(p.shape) for p in model.parameters() if p.dim() > 1]


NOW = {"epochs": 0, "tune": 0}


def test_the_filters_with_the_smallest_sums_go_with_all_that_is_theirs():
    run = start(task())
    before = {n: p.clone() for n, p in run.model.state_dict().items()}
    stays = before["0.weight"].abs().sum((1, 2, 3)).argsort()[4:].sort().values
    behind = before["3.weight"].abs().sum((1, 2, 3)).argsort()[6:].sort().values
    list(l1_filters(run, pruned=0.5, **NOW))
    after = run.model.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"][stays])
    assert torch.equal(after["1.running_mean"], before["1.running_mean"][stays])
    assert torch.equal(after["3.weight"], before["3.weight"][behind][:, stays])
    assert torch.equal(after["7.weight"], before["7.weight"].view(4, 12, 4)[:, behind].flatten(1))


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({"pruned": 0.1}, [7, 10]),  # int(7.2), int(10.8)
        ({"pruned": 0.9}, [1, 1]),
        ({"pruned": 0.0}, [8, 12]),
        ({"ratios": "3=0.25"}, [8, 9]),
        ({"ratios": "0=0.5 3=0.75"}, [4, 3]),
        ({"ratios": "=0.5 3=0"}, [4, 12]),
        ({"pruned": 0.3, "multiple": 4}, [4, 8]),
        ({"pruned": 0.5, "allocation": "everywhere", "by": "norm_scale"}, [4, 12]),  # only one layer has norms
    ],
)
def test_ratios(options, widths):
    run = start(task())
    list(l1_filters(run, **options, **NOW))
    assert [len(run.model[0].weight), len(run.model[3].weight)] == widths


def test_the_longest_name_counts_and_a_name_is_no_other_ones_beginning():
    found = removable(start(task(residual(14))))
    assert ratios_of("layer1=0.6 layer1.1=0 layer2.0.conv1=0.3", found) == {
        "layer1.0.conv1": 0.6, "layer1.1.conv1": 0.0, "layer2.0.conv1": 0.3, "layer2.1.conv1": 0.0,
        "layer3.0.conv1": 0.0, "layer3.1.conv1": 0.0,
    }  # fmt: skip


def test_in_residual_networks_what_is_inside_of_blocks_goes_unless_streams_may_go():
    run = start(task(residual()))
    list(l1_filters(run, **NOW))
    blocks = [run.model.layer1[0], run.model.layer2[0], run.model.layer3[0]]
    assert [(len(block.conv1.weight), len(block.conv2.weight)) for block in blocks] == [(2, 4), (4, 8), (8, 16)]
    run = start(task(residual()))
    list(l1_filters(run, streams=True, **NOW))
    assert [len(run.model.conv1.weight), len(run.model.layer1[0].conv2.weight)] == [2, 2]


@pytest.mark.parametrize("allocation", ["uniform", "everywhere", "sensitivity"])
@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_the_multiply_adds_asked_for_are_met_and_one_filter_more_would_break_it(allocation, share):
    run = start(task())
    found = removable(run)
    scores = {site.name: torch.rand(site.units, generator=torch.Generator().manual_seed(site.units)) for site in found}
    ranks = allocated(run, scores, found, allocation)
    keep = by_macs(run, ranks, found, share)
    cost = macs_of(run.model, found, run.task.example)
    limit = share * run.reference.macs
    assert float(cost(keep)) <= limit
    assert run.notes["macs_left"] == float(cost(keep)) / run.reference.macs
    name, at = max(((n, int(u)) for n in keep for u in (~keep[n]).nonzero()), key=lambda one: ranks[one[0]][one[1]])
    more = {n: kept.clone() for n, kept in keep.items()}
    more[name][at] = True
    assert float(cost(more)) > limit


def test_uniform_takes_the_same_share_of_each_layer():
    run = start(task())
    found = removable(run)
    scores = {"0": torch.arange(8.0), "3": torch.tensor([1.0] * 12)}
    assert allocated(run, scores, found, "uniform")["0"].tolist() == [n / 8 for n in range(1, 9)]
    keep = by_share(allocated(run, scores, found, "uniform"), 0.5)
    assert keep["0"].tolist() == [False] * 4 + [True] * 4
    assert keep["3"].tolist() == [True] * 6 + [False] * 6  # of equals the first stay
    assert {n: int(k.sum()) for n, k in by_share(scores, 0.999).items()} == {"0": 1, "3": 1}
    assert {n: int(k.sum()) for n, k in by_share(scores, 0.3, multiple=4).items()} == {"0": 4, "3": 4}  # 7 and 7


class Two(nn.Module):
    """The answer is read off one layer; what the other gives is hardly looked at."""

    def __init__(self):
        super().__init__()
        self.needed, self.spare = nn.Conv2d(3, 10, 1), nn.Conv2d(3, 10, 1)
        self.one, self.other = nn.Linear(40, 4), nn.Linear(40, 4)
        with torch.no_grad():
            for p in (self.needed.weight, self.needed.bias, self.spare.weight):
                p.zero_()
            self.needed.weight[8, 0], self.needed.weight[9, 1] = 1, 1
            self.spare.weight[:] = 5
            self.one.weight.zero_()
            for c in range(4):
                rows = self.one.weight[c].view(10, 4)
                rows[8 + c % 2, c // 2 * 2 : c // 2 * 2 + 2] = 1
            self.other.weight.mul_(1e-6)
            self.one.bias.zero_()
            self.other.bias.zero_()

    def forward(self, x):
        pooled = lambda y: F.avg_pool2d(y.relu(), 4).flatten(1)  # noqa: E731
        return self.one(pooled(self.needed(x))) + self.other(pooled(self.spare(x)))


def test_a_scan_says_what_each_layer_loses_alone_and_leaves_the_network_as_it_was():
    run = start(task(lambda: Two().double()))
    found = removable(run)
    scores = {"needed": torch.arange(10.0), "spare": torch.arange(10.0) + 100}
    before, whole = {n: p.clone() for n, p in run.model.state_dict().items()}, evaluate(run)["accuracy"]
    lost = sensitivity(run, scores, found)
    assert all(torch.equal(p, before[n]) for n, p in run.model.state_dict().items())
    assert whole > 0.9
    assert lost["spare"] == pytest.approx([0] * 9, abs=0.02)
    assert lost["needed"][:8] == pytest.approx([0] * 8, abs=0.02)  # eight of ten give nothing
    assert lost["needed"][8] > 0.2
    ranks = allocated(run, scores, found, "sensitivity")
    keep = by_share(ranks, 0.9)
    assert [int(keep[name].sum()) for name in ("needed", "spare")] == [1, 1]
    keep = by_share(ranks, 0.85)
    assert [int(keep[name].sum()) for name in ("needed", "spare")] == [2, 1]  # by size, "spare" would keep three
    assert keep["needed"].tolist() == [False] * 8 + [True] * 2
    for name, rank in ranks.items():
        assert bool((rank.diff() > 0).all()), f"{name}: the order inside of a layer stays"


def test_right_after_pruning_the_smallest_are_missed_least_and_the_largest_most():
    """Before any tuning; the mean over five networks, at half of each layer."""
    kept = {"l1": 0.0, "random_neuron": 0.0, "largest": 0.0}
    for seed in range(5):
        trained = start(task(), seed)
        list(l1_filters(trained, pruned=0.0, epochs=3, tune=0))
        found = sites(trained.model, trained.task.examples)
        for by in kept:
            run = start(task(), seed)
            run.rewind(trained.model.state_dict())
            scores = unit_scores("l1" if by == "largest" else by, run.model, found, run.task)
            scores = {name: -s for name, s in scores.items()} if by == "largest" else scores
            run.shrink(by_ratios(scores, dict.fromkeys(scores, 0.5)), found)
            kept[by] += evaluate(run)["accuracy"] / 5
    assert kept["l1"] > kept["random_neuron"] > kept["largest"]


def test_it_trains_on_at_a_lower_rate_and_notes_the_accuracy_right_after():
    run = start(task())
    moments = list(l1_filters(run, pruned=0.75, epochs=4, tune=6, rate=0.2))
    assert [sum(now.phase == phase for now in moments) for phase in range(2)] == [12, 18]
    assert [group["lr"] for group in run.optimizer.param_groups] == [pytest.approx(0.01)]
    assert run.notes["cut_valid_accuracy"] < moments[-1].metrics["valid_accuracy"]
    assert moments[-1].metrics["valid_accuracy"] > 0.8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pruned": 1.0}, "pruned=1.0"),
        ({"macs": 1.5}, "macs=1.5"),
        ({"macs": 0.5, "ratios": "0=0.5"}, "ratios or macs, not both"),
        ({"multiple": 0}, "multiple=0"),
        ({"rate": -1.0}, "rate=-1.0"),
        ({"by": "l3"}, "unknown unit criterion 'l3'"),
        ({"allocation": "erk"}, "unknown allocation 'erk'"),
        ({"ratios": "5=0.5"}, "ratio '5=0.5' is of no site; known: 0, 3"),
        ({"ratios": "half"}, "ratio 'half' is none; write a site's name and a number"),
        ({"ratios": "0=1"}, r"the ratio of 0 is 1.0; it is the share that goes, in \[0, 1\)"),
        ({"macs": 0.001, **NOW}, "cost of .* cannot be met"),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(options, says):
    run = start(task())
    with pytest.raises(InputError, match=says):
        list(l1_filters(run, **options))
    assert run.step == 0


def test_a_network_of_streams_only_is_refused():
    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Linear(4, 4)

        def forward(self, x):
            return self.c((self.a(x) + self.b(x)).relu().mean((2, 3)))

    with pytest.raises(InputError, match="Stream has no units that one layer makes; streams=True takes the others"):
        list(l1_filters(start(task(lambda: Stream().double()))))


# The multiply-adds of the networks that the paper builds, counted by others as well.


@cache
def costs(model, side):
    """The sites of a network from which filters go, and what one image costs."""
    network, example = model(), torch.zeros(1, 3, side, side)
    found = [site for site in sites(network, example) if len(list(site.at("makes"))) == 1]
    return found, macs_of(network, found, example)


def macs(model, ratios, side=32):
    """What one image costs before and after, in millions."""
    found, cost = costs(model, side)
    wanted = ratios_of(ratios, found)
    keep = by_ratios({site.name: torch.arange(float(site.units)) for site in found}, wanted)
    return float(cost({})) / 1e6, float(cost(keep)) / 1e6


def stages(*ratios, skipped=()):
    """The shares of three stages, and layers left alone: even numbers count convolutions from 1, two for a block."""
    return " ".join(f"layer{n}={ratio}" for n, ratio in enumerate(ratios, 1)) + "".join(
        f" {name}=0" for name in skipped
    )


def blocks(depth, *numbers):
    """The names of blocks whose first convolutions have these numbers."""
    each = (depth - 2) // 6
    return [f"layer{at // each + 1}.{at % each}" for at in (number // 2 - 1 for number in numbers)]


RESNET_56, RESNET_110 = partial(resnet_cifar, 56), partial(resnet_cifar, 110)
VGG_A = " ".join(f"conv{n}=0.5" for n in (1, *range(8, 14)))


@pytest.mark.parametrize(
    ("model", "ratios", "before", "after", "epochs"),
    [
        (vgg_cifar, VGG_A, 313.46, 206.28, 243),
        (RESNET_56, stages(0.1, 0.1, 0.1, skipped=blocks(56, 16, 20, 38, 54)), 125.49, 112.44, 178),
        (RESNET_56, stages(0.6, 0.3, 0.1, skipped=blocks(56, 16, 18, 20, 34, 38, 54)), 125.49, 90.91, 220),
        (RESNET_110, stages(0.5, 0, 0, skipped=blocks(110, 36)), 252.89, 212.78, 190),
        (RESNET_110, stages(0.5, 0.4, 0.3, skipped=blocks(110, 36, 38, 74)), 252.89, 155.12, 260),
    ],
    ids=["VGG-16-A", "ResNet-56-A", "ResNet-56-B", "ResNet-110-A", "ResNet-110-B"],
)
def test_multiply_adds_of_the_papers_networks_and_how_long_they_train_for_the_cost_of_the_whole(
    model, ratios, before, after, epochs
):
    whole, left = macs(model, ratios)
    assert (whole, left) == (pytest.approx(before, abs=0.006), pytest.approx(after, abs=0.006))
    assert scratch_epochs(160, round(1e6 * whole), round(1e6 * left)) == epochs


class Basic(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        changed = stride > 1 or inputs != channels
        self.down = nn.Conv2d(inputs, channels, 1, stride, bias=False) if changed else nn.Identity()

    def forward(self, x):
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.down(x)).relu()


class ResNet34(nn.Module):
    """For images of 224 x 224: four stages of 3, 4, 6, 3 blocks."""

    def __init__(self):
        super().__init__()
        self.first, self.pool = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)
        self.norm, self.last = nn.BatchNorm2d(64), nn.Linear(512, 1000)
        inputs = 64
        for stage, (channels, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
            body = [
                Basic(inputs if n == 0 else channels, channels, 2 if n == 0 < stage - 1 else 1) for n in range(count)
            ]
            setattr(self, f"layer{stage}", nn.Sequential(*body))
            inputs = channels

    def forward(self, x):
        x = self.pool(self.norm(self.first(x)).relu())
        return self.last(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


# Numbers 2, 8, 14, 16, 26, 28, 30, 32 are left alone: the first and last block of stages 1 to 3, and stage 4.
ENDS = ["layer1.0", "layer2.0", "layer2.3", "layer3.0", "layer3.5", "layer4"]


@pytest.mark.parametrize(
    ("ratios", "after", "epochs"), [((0.3, 0.3, 0.3), 3100, 106), ((0.5, 0.6, 0.4), 2782, 118)], ids=["A", "B"]
)
def test_multiply_adds_of_resnet_34(ratios, after, epochs):
    before, left = macs(ResNet34, stages(*ratios, skipped=ENDS), side=224)
    assert (before, left) == (pytest.approx(3664, abs=0.6), pytest.approx(after, abs=0.6))
    assert scratch_epochs(90, round(1e6 * before), round(1e6 * left), cap=2.0) == epochs


FIVE_TIMES = (24, 22, 41, 51, 108, 89, 111, 184, 276, 228, 512, 512, 512)  # VGG-5x in the code of He et al. 2017


def test_multiply_adds_of_vgg_5x():
    """Of convolutions on 224 x 224, in billions: 49 times those on 32 x 32. He, Zhang, Sun: 4.52 times fewer, not 5."""
    found, cost = costs(vgg_cifar, 32)
    ranks = {site.name: torch.arange(float(site.units)) for site in found if site.name.startswith("conv")}
    keep = by_count(ranks, {f"conv{n}": count for n, count in enumerate(FIVE_TIMES, 1)})
    dense = 512 * 512 + 512 * 10
    before, after = (49 * (float(cost(each)) - dense) / 1e9 for each in ({}, keep))
    assert (before, after) == (pytest.approx(15.35, abs=0.006), pytest.approx(3.39, abs=0.006))
    assert before / after == pytest.approx(4.52, abs=0.006)
