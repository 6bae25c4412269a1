"""Searching: widths and depths learned by chance beside the weights, each on its own half of the training samples.

    weights:  CE on one half;   preferences:  CE on the other + price * L, by steps in turn
    L = log E if F > R;   -log E if F < R - slack * F_max;   0 otherwise

E is the expected cost, F that of the shape preferred now, F_max the whole network's, R what is wanted; all in millions
of multiply-adds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from sapwood.currency import Keep
from sapwood.errors import InputError
from sapwood.gates import Gated, Interpolated, Point, WidthChoice
from sapwood.measure.work import macs
from sapwood.methods.parts.structures import stages
from sapwood.selection.schedule import cosine
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.depth import branches
from sapwood.shrinking.finding import sites
from sapwood.shrinking.scaling import points
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site
from sapwood.training.apart import Apart
from sapwood.training.draws import luck
from sapwood.training.loop import backward
from sapwood.training.run import Run
from sapwood.training.samples import Batch, Samples
from sapwood.training.task import WHOLE, Task

MILLION = 1e6


class Costing:
    """The multiply-adds of a sample, by what is open of each width and depth; differentiable, exact for bools.

    A block that a stage may leave out costs what goes when the units inside of it are 0. InputError if it costs more.
    """

    def __init__(self, whole: Apart, depths: Mapping[str, Sequence[str]]) -> None:
        every = sites(whole.several)
        self.cost, self.units = macs_of(whole.one, every), {site.name: site.units for site in every}
        modules = {branch.name: branch.modules for branch in branches(whole.several)}
        later = [(name, at, block) for name, blocks in depths.items() for at, block in enumerate(blocks) if at]
        self.blocks = [(name, at) for name, at, _ in later]
        self.gone = [{s.name for s in every if _inside(s, modules[block])} for _, _, block in later]
        if later:
            _refuse_more([block for *_, block in later], self._costs({}), whole.one, modules)

    def __call__(self, open: Mapping[str, Tensor]) -> Tensor:
        """The cost, float64, a scalar."""
        costs = self._costs(open)
        stays = [open[name].to(costs)[at] for name, at in self.blocks if name in open]
        return costs[0] - ((1 - torch.stack(stays)) * (costs[0] - costs[1:])).sum() if stays else costs[0]

    def _costs(self, open: Mapping[str, Tensor]) -> Tensor:
        """[1 + blocks]: of all blocks, then without each, at the widths that are open."""
        return self.cost({name: self._rows(name, open.get(name)) for name in self.units})

    def _rows(self, name: str, given: Tensor | None) -> Tensor:
        """[1 + blocks, U]: how far the units of a site are open in each."""
        there = torch.tensor([[True], *([name not in gone] for gone in self.gone)])
        units = torch.ones(self.units[name]) if given is None else given
        return there.to(units.device) * units.double()


def _inside(site: Site, modules: Sequence[str]) -> bool:
    """Whether all of a site's units are made and read within these modules."""
    return all(_within(slot.tensor, modules) for slot in site.slots)


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in modules)


def _refuse_more(blocks: Sequence[str], costs: Tensor, whole: Anatomy, modules: Mapping[str, Sequence[str]]) -> None:
    layers = macs(whole.model, whole.example)
    for block, without in zip(blocks, costs[1:].tolist(), strict=True):
        counted = sum(count for layer, count in layers.items() if _within(layer, modules[block]))
        if counted != float(costs[0]) - without:
            raise InputError(f"block {block!r} costs {counted} multiply-adds, not all of them by units inside of it, "
                             "so that widths do not tell its cost; search with depth=False")  # fmt: skip


class Space(NamedTuple):
    """A network in which widths and depths can be chosen."""

    gated: Interpolated
    cost: Costing
    widths: tuple[Site, ...]
    depths: Mapping[str, tuple[str, ...]]  # {stage: its blocks}

    def found(self) -> Keep:
        """What is preferred now: {site or stage: bool [units or blocks]}."""
        return self.gated.keep()


def space(run: Run, found: Sequence[Site], depth: bool) -> Space:
    """The network of a run with a choice for every site and, with `depth`, every stage of two blocks or more."""
    whole, like = run.apart, next(run.model.parameters())
    deep = {f"depth of {name}": blocks for name, blocks in stages(whole.several).items()} if depth else {}
    places = {**points(whole.several, found), **{name: _of_blocks(blocks) for name, blocks in deep.items()}}
    gates = {site.name: WidthChoice(site.units) for site in found}
    for name, blocks in deep.items():
        sizes = sorted({*range(1, len(blocks), 2), len(blocks)})
        gates[name] = WidthChoice(len(blocks), sizes=sizes, several=0)
    depths = {name: tuple(blocks) for name, blocks in deep.items()}
    gated = Interpolated(run.model, {name: gate.to(like) for name, gate in gates.items()}, places)
    return Space(gated, Costing(whole, depths), tuple(found), depths)


def _of_blocks(blocks: Mapping[str, tuple[Point, ...]]) -> tuple[Point, ...]:
    """Where all but the first are scaled, each as the unit of its number."""
    numbered = list(enumerate(blocks.values()))[1:]
    return tuple(replace(point, unit_of=torch.full_like(point.unit_of, at)) for at, of in numbered for point in of)


@dataclass(frozen=True)
class Search:
    """An update: of the weights at even steps, of preferences at odd ones; every step lowers the temperature."""

    space: Space
    wanted: float  # R and F_max, in multiply-adds
    whole: float
    price: float
    slack: float
    steps: int
    hot: float = 5.0
    cold: float = 0.1

    def __call__(self, run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
        gated, of_weights = self.space.gated, run.step % 2 == 0
        for gate in choices(gated):
            gate.temperature = self.cold + (self.hot - self.cold) * cosine((run.step - run.begun) / self.steps)
        outputs = run.task.forward(run.forward, batch)
        loss = run.loss(run.model, batch, outputs)
        if of_weights:
            backward(run, loss, [*gated.model.parameters(), *gated.norms.parameters()])
        else:
            backward(run, loss + self.price * self.pressure(), gated.gates.parameters())
        return outputs, loss

    def pressure(self) -> Tensor:
        """L: pulls the expected cost down, up or nowhere, by what the shape preferred now would cost."""
        cost, now = self.space.cost, float(self.space.cost(self.space.found()))
        expected = (cost(self.space.gated.open()) / MILLION).log()
        if now > self.wanted:
            return expected
        return -expected if now < self.wanted - self.slack * self.whole else expected * 0


def choices(gated: Gated) -> Iterator[WidthChoice]:
    """The gates that choose."""
    return (gate for gate in gated.by_site().values() if isinstance(gate, WidthChoice))


@dataclass(frozen=True)
class Some:
    """Samples of others, by their numbers."""

    of: Samples
    numbers: Tensor

    @property
    def device(self) -> torch.device:
        """Where numbers are wanted."""
        return self.numbers.device

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: Tensor | slice) -> Batch:
        """The samples at `index` of these."""
        return self.of.take(self.numbers[index])

    def digest(self) -> bytes:
        """As that of all, and which they are."""
        return self.of.digest() + self.numbers.cpu().numpy().tobytes()

    def to(self, device: torch.device | str) -> "Some":
        """The same on another device."""
        return Some(self.of.to(device), self.numbers.to(device))


@dataclass(frozen=True)
class InTurn(Task):
    """A task whose batches come from two halves of its training samples: even steps from one, odd from the other."""

    halves: tuple[Task, ...] = ()

    def batch(self, seed: int, step: int, share: slice = WHOLE) -> Batch:
        """The batch of a step, of the half whose turn it is."""
        return self.halves[step % 2].batch(seed, step // 2, share)


def in_turn(task: Task, seed: int) -> InTurn:
    """The task with its training samples in two halves, by luck; an epoch has as many steps as before."""
    train = task.data.train
    order = torch.randperm(len(train), generator=luck(seed, "halves")).to(getattr(train, "device", "cpu"))
    parts = (Some(train, order[half::2].sort().values) for half in (0, 1))
    halves = tuple(replace(task, data=replace(task.data, train=part)) for part in parts)
    return InTurn(**{each.name: getattr(task, each.name) for each in fields(Task)}, halves=halves)
