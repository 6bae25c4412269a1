"""Which criterion `prune` should have by default: candidates on the trained CIFAR ResNets, by validation images.

Every candidate takes half of the multiply-adds from the trained ResNet-20, widths by 8; what is left is trained on for
60 steps: SGD, momentum 0.9, weight decay 1e-4, batches of 128 of the 45,000 training images, moved and mirrored, a
learning rate from 0.01 to 0 along half a cosine; three seeds. Then the 5,000 validation images are asked. No test image
is looked at. The networks had seen the validation images when they were first trained, so the accuracies are too high;
all candidates start from the same network, and none trains on these images again, so they can be compared.

Without data: sums, means and L2 norms of the weights that touch a unit, LAMP of weights and of units, norm scales, the
distance from the geometric median, group L2, chance; and options of the search: at most a third or a quarter of the
thin branches that are alike may go in place of half, or none. With data, ten batches of 128 training images: Taylor,
the squared gradients of gates, and those by MAC saved, the share of zeros.

The rule, written before the first row. *Without data:* of the candidates that make ResNet-56 at least 1.5 times faster
in ONNX Runtime (`--faster`: batch 16, one thread), the one with the highest mean on ResNet-20. It replaces `sum`,
today's default, only if it is above it on ResNet-20 by more than the 95 % interval of the difference within seeds, and
if on ResNet-56, same recovery, same seeds, it is above it likewise or cannot be told apart. If the winner fails there,
the next one is asked. *With data:* the highest mean on ResNet-20 is what the documents recommend; they say whether it
can be told from the default.

*Added later:* `sum, a quarter`, after the rows of `sum` and `lamp` on ResNet-20, seed 0.

*A second look,* written after seeds 0 to 2 (`l2` above `sum` on ResNet-20 by 1.5 points, give or take 1.6) and before
its own rows: `--again`, these two with the fresh seeds 3 to 7 on both networks, judged by these seeds alone. `l2`
becomes the default if it is above `sum` by more than the interval on both.

*Added later:* `norm`, which is `l2` in branches and a share of the layer's where all has to pass; in these two networks
it must choose what `l2` chooses (`default_on_unet.py` says why it is there).

Rows are kept in --csv one by one; run again, it goes on with what is missing. About 25 CPU seconds a row on ResNet-20
and 80 on ResNet-56. `--summary` prints means and intervals.
"""

import argparse
import csv
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood import export, luck, measure, per_unit
from sapwood.criteria import UNIT_CRITERIA
from sapwood.currency import Scores
from sapwood.data.augment import crop_and_flip
from sapwood.export import choices
from sapwood.export.build import built
from sapwood.export.narrow import Narrow
from sapwood.export.offers import Offer, offer_of
from sapwood.export.search import Search
from sapwood.export.targets import target_of
from sapwood.export.worth import norms, worth
from sapwood.methods.parts.ranking import unit_scores
from sapwood.models.resnet_cifar import ResNetCifar, load_trained
from sapwood.scoring.unit_criterion import UnitCriterion
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.trials.provenance import commit

AGAIN = (("sum", "l2"), (3, 4, 5, 6, 7))
STEPS, BATCH, LR, SHARE, LOOKED_AT = 60, 128, 0.01, 0.5, 10
COLUMNS = ("network", "by", "data", "branches", "seed", "macs", "parameters", "widths", "accuracy_after_cut",
           "accuracy", "seconds", "torch", "commit")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A trained network, looked at once."""

    depth: int
    model: ResNetCifar
    anatomy: Anatomy
    offer: Offer

    def sums(self, of: Callable[[Tensor], Tensor], reduce: Callable[[Tensor, int], Tensor] = torch.sum) -> Scores:
        """All weights that touch a unit."""
        weights = {n: of(p.detach().double()) for n, p in self.model.named_parameters() if p.dim() > 1}
        return per_unit(weights, self.offer.sites, touching="both", reduce=reduce)

    def named(self, criterion: str | UnitCriterion, seed: int = 0) -> Scores:
        """A criterion of units, with ten batches if it wants to see any."""
        task = resnet20_cifar()
        order = torch.randperm(len(task.data.train), generator=luck(seed, "looked at"))[: LOOKED_AT * BATCH]
        batches = [task.data.train.take(which) for which in torch.split(order, BATCH)]
        return unit_scores(criterion, self.model, self.offer.sites, task, batches)


@dataclass(frozen=True)
class Candidate:
    """How units are scored, and what share of the thin branches that are alike go last; 1: no branch may go."""

    scores: Callable[[Case, int], Scores]
    data: bool = False
    last: float = 0.5


def lamp_of_units(case: Case) -> Scores:
    """LAMP with the units' squares in place of weights: summed over the layers that make or read a unit."""
    found = dict[str, Tensor]()
    squares = {n: p.detach().double().square() for n, p in case.model.named_parameters() if p.dim() > 1}
    for name, square in squares.items():
        touched = [site for site in case.offer.sites if any(slot.tensor == name for slot in site.slots)]
        for site, energy in (per_unit({name: square}, touched, touching="both") if touched else {}).items():
            best = energy.sort(descending=True)
            share = torch.empty_like(energy)
            share[best.indices] = best.values / best.values.cumsum(0)
            found[site] = found.get(site, torch.zeros_like(share)) + share
    return found


def by_mac(case: Case, scores: Scores) -> Scores:
    """Scores divided by the multiply-adds that one unit takes."""
    cost = Search(case.anatomy, case.offer, scores, False).cost("macs")
    whole = float(cost({}))
    takes = {name: whole - float(cost({name: torch.arange(len(each)) > 0})) for name, each in scores.items()}
    return {name: each / takes[name] for name, each in scores.items()}


def squared(ga_NUP: Tensor) -> Tensor:
    """The squared gradient of a unit's gate, sample by sample."""
    return ga_NUP.double().reshape(*ga_NUP.shape[:2], -1).sum(2).square().sum(0)


GATES = UnitCriterion(squared, of="outputs", backward=True, group="sum")
CANDIDATES = {
    "sum": Candidate(lambda case, _: case.sums(torch.abs)),
    "lamp": Candidate(lambda case, _: worth(case.model, case.offer.sites, "lamp")),
    "l2": Candidate(lambda case, _: {n: s.sqrt() for n, s in case.sums(torch.square).items()}),
    "norm": Candidate(lambda case, _: norms(case.model, case.offer.sites, case.offer.passed_by)),
    "lamp of units": Candidate(lambda case, _: lamp_of_units(case)),
    "sum, a third": Candidate(lambda case, _: case.sums(torch.abs), last=2 / 3),
    "sum, a quarter": Candidate(lambda case, _: case.sums(torch.abs), last=3 / 4),
    "gates": Candidate(lambda case, seed: case.named(GATES, seed), data=True),
    "gates by mac": Candidate(lambda case, seed: by_mac(case, case.named(GATES, seed)), data=True),
    "taylor": Candidate(lambda case, seed: case.named("taylor_unit", seed), data=True),
    "sum, none": Candidate(lambda case, _: case.sums(torch.abs), last=1),
    "lamp, none": Candidate(lambda case, _: worth(case.model, case.offer.sites, "lamp"), last=1),
    "mean": Candidate(lambda case, _: case.sums(torch.abs, torch.mean)),
    "random": Candidate(lambda case, seed: {
        site.name: torch.rand(site.units, generator=luck(seed, site.name), dtype=torch.float64)
        for site in case.offer.sites}),
    "group l2": Candidate(lambda case, _: case.named("group_l2")),
    "norm scale": Candidate(lambda case, _: case.named("norm_scale")),
    "geometric median": Candidate(lambda case, _: case.named("geometric_median")),
    "apoz": Candidate(lambda case, seed: case.named("apoz", seed), data=True),
}  # fmt: skip
assert set(UNIT_CRITERIA) >= {"taylor_unit", "group_l2", "norm_scale", "geometric_median", "apoz"}


@cache
def case(depth: int) -> Case:
    """The trained network."""
    model = load_trained(depth).eval()
    anatomy = Anatomy(model, resnet20_cifar().data.train.take(torch.arange(1)).inputs)
    return Case(depth, model, anatomy, offer_of(anatomy, multiple=8))


def better(scores: Scores, narrow: dict[str, Narrow], share: float) -> set[str]:
    """As `narrow.stronger`, which keeps half: this share of the branches that are alike goes last."""
    groups = dict[tuple[torch.Size, ...], list[str]]()
    for name, each in narrow.items():
        groups.setdefault(each.like, []).append(name)
    best = [sorted(names, key=lambda name: -float(scores[name].sum())) for names in groups.values()]
    return {name for names in best for name in names[: math.ceil(share * len(names))]}


def cut(depth: int, by: str, seed: int) -> nn.Module:
    """What a candidate leaves."""
    about, candidate = case(depth), CANDIDATES[by]
    scores = candidate.scores(about, seed)
    offer = about.offer.only(scores)
    offer = offer.without_branches() if candidate.last == 1 else offer
    with patch.object(choices, "stronger", lambda scores, narrow: better(scores, narrow, candidate.last)):
        keep = Search(about.anatomy, offer, scores, False).within(target_of(macs=SHARE))
    return built(about.anatomy, keep, offer, check=False).model


def recovered(model: nn.Module, seed: int) -> nn.Module:
    """After the steps."""
    train, generator = resnet20_cifar().data.train, torch.Generator().manual_seed(seed)
    recipe = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(recipe, STEPS)
    for which in torch.randperm(len(train), generator=generator)[: STEPS * BATCH].reshape(STEPS, BATCH):
        batch = crop_and_flip(train.take(which), generator)
        recipe.zero_grad()
        torch.autograd.backward(F.cross_entropy(model.train()(batch.inputs), batch.targets))
        recipe.step()
        falling.step()
    return model


def right(model: nn.Module) -> float:
    """The share of validation images with the right answer."""
    return measure.accuracy(model.eval(), resnet20_cifar().data.valid.take(slice(None)), k=(1,), batch_size=500)["top1"]


def widths(model: nn.Module) -> str:
    """The first stream, then stage by stage what is inside the branches; 0 where one went."""
    blocks = [
        (name, block) for name, block in model.named_modules() if name.startswith("layer") and name.count(".") == 1
    ]
    inner = dict[str, list[int]]()
    for name, block in blocks:
        conv = dict(block.named_modules()).get("conv1")
        inner.setdefault(name.split(".")[0], []).append(conv.out_channels if isinstance(conv, nn.Conv2d) else 0)
    first = model.get_submodule("conv1")
    return " | ".join([str(first.out_channels), *(" ".join(map(str, each)) for each in inner.values())])


def row(depth: int, by: str, seed: int) -> dict[str, object]:
    """One line."""
    began = time.process_time()
    small, before = cut(depth, by, seed), case(depth).model
    macs = [sum(measure.macs(m, case(depth).anatomy.example).values()) for m in (small, before)]
    about = (round(macs[0] / macs[1], 4), sum(p.numel() for p in small.parameters()), widths(small), right(small))
    found = right(recovered(small, seed))
    candidate = CANDIDATES[by]
    branches, seconds = round(1 - candidate.last, 2), round(time.process_time() - began)
    name = f"ResNet-{depth}"
    made = (name, by, candidate.data, branches, seed, *about, found, seconds, torch.__version__, commit())
    return dict(zip(COLUMNS, made, strict=True))


def rows(path: Path) -> list[dict[str, str]]:
    """What is kept."""
    return list(csv.DictReader(path.open(encoding="utf-8"))) if path.is_file() else []


def missing(path: Path, depth: int, names: list[str], seeds: list[int]) -> Iterator[tuple[str, int]]:
    """What is not there yet, seed by seed."""
    there = {(each["network"], each["by"], each["seed"]) for each in rows(path)}
    yield from ((by, seed) for seed in seeds for by in names if (f"ResNet-{depth}", by, str(seed)) not in there)


def summary(path: Path, seeds: list[int]) -> Iterator[str]:
    """Of some seeds: means, differences from the default, 95 % intervals (Student's t, pairs of the same seed)."""
    found = dict[tuple[str, str], dict[str, float]]()
    for each in (row for row in rows(path) if int(row["seed"]) in seeds):
        found.setdefault((each["network"], each["by"]), {})[each["seed"]] = float(each["accuracy"])
    for (network, by), its in sorted(found.items(), key=lambda item: (item[0][0], -statistics.fmean(item[1].values()))):
        base = found.get((network, "sum"), {})
        pairs = [its[seed] - base[seed] for seed in its if seed in base]
        t = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}.get(len(pairs), math.nan)
        half = t * statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
        apart = f"{statistics.fmean(pairs):+.4f} +- {half:.4f}" if pairs else ""
        yield f"{network} {by:17} {statistics.fmean(its.values()):.4f} ({len(its)} seeds)  from sum {apart}"


def faster(depth: int, names: list[str]) -> Iterator[str]:
    """Times faster than the dense network in ONNX Runtime, all in turn, CPU seconds."""
    x = resnet20_cifar().data.train.take(torch.arange(16)).inputs
    with TemporaryDirectory() as folder:
        cases = dict[str, Callable[..., object]]()
        for number, (name, model) in enumerate({"": case(depth).model, **{n: cut(depth, n, 0) for n in names}}.items()):
            export.to_onnx(model.eval(), x, file := Path(folder) / f"{number}.onnx")
            cases[name] = measure.in_onnxruntime(file)
        times = measure.latency(cases, x, rounds=40, clock=time.process_time)
    for name in names:
        yield f"ResNet-{depth} {name:17} {measure.ratio(times[''], times[name]).median:.3f}"


def main() -> None:
    """All rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--by", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--faster", action="store_true")
    parser.add_argument("--csv", type=Path, default=Path("studies/results/default_by.csv"))
    asked = parser.parse_args()
    if asked.again:
        asked.by, asked.seed = list(AGAIN[0]), list(AGAIN[1])
    torch.set_num_threads(1)
    if asked.summary or asked.faster:
        print(*(summary(asked.csv, asked.seed) if asked.summary else faster(asked.depth, asked.by)), sep="\n")
        return
    for by, seed in list(missing(asked.csv, asked.depth, asked.by, asked.seed)):
        found = row(asked.depth, by, seed)
        new = not asked.csv.is_file()
        with asked.csv.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writerows([dict(zip(COLUMNS, COLUMNS, strict=True))] * new + [found])
        print(found, flush=True)


if __name__ == "__main__":
    main()
