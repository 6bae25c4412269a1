"""Bugs planted in steps of several runs that are recorded as one; a tape of operators stands in for a CUDA graph."""

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from planted.mutant import bugs, instead
from planted.recording import Tape
from planted.stepping_together import RULES, STEP, undropped

from sapwood import Data, Task, observing, start, statistics, train
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_conv_model, tiny_images, tiny_model, tiny_samples
from sapwood.methods import METHODS
from sapwood.training import loop
from sapwood.training.loop import at_ends
from sapwood.training.memory import cloned
from sapwood.trials import counted
from sapwood.trials.captured import Captured
from sapwood.trials.counted import Counted
from sapwood.trials.lockstep import NOBODY, Lockstep, together
from sapwood.trials.ruled import Ruled, Told
from sapwood.trials.stack import Stack

DATA = Data(tiny_samples(), tiny_samples(16, seed=1), tiny_samples(16, seed=2))
CHOSEN = RULES if "SAPWOOD_NETWORKS" in os.environ else {name: RULES[name] for name in ("decay", "adamw")}  # by day
EASY = {"first": 0.01, "target": 0.02, "stop": "epochs"}
LIVES = {  # of different lengths, so that who is left goes on with fewer
    "dense": {"epochs": 4, "stop": "epochs"},
    "gradual_magnitude": {"epochs": 3, "begin": 0.5, "end": 2, "every": 3, "sparsity": 0.7},
    "global_activation": EASY | {"epochs": 4, "cycles": 3, "sparsity": 0.6, "reset": "after_cycle"},
    "sparse_training": {"sparsity": 0.6, "every": 2, "epochs": 3},
    "iterative_magnitude": {"sparsity": 0.8, "rounds": 2, "first_epochs": 1, "round_epochs": 1},
}


@dataclass
class Item:
    """A run to be made, and what came of it."""

    life: Any  # (run) -> moments
    task: Task
    seed: int
    saved: Any = None
    device: str = "cpu"
    run: Any = None
    losses: dict[int, float] = field(default_factory=dict)  # by step
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)  # of epochs, by their last step
    moments: int = 0
    said: set[str] = field(default_factory=set)
    kept: dict[str, Any] = field(default_factory=dict)  # whatever else a life leaves
    end: dict[str, torch.Tensor] = field(default_factory=dict)


def course(share: float) -> float:
    return 1.0 - share / 2


def task(rule, batch_size: int = 3, data: Data = DATA, **more: Any) -> Task:
    """The tiny one, in which nothing is random in a pass, with batches enough to replay a step."""
    return Task("tiny", partial(tiny_model, 0.0), data, rule, batch_size=batch_size, classes=3, **more)


def at_rate(rule, by: int, parameters: Any) -> Any:
    optimizer = rule(parameters)
    for group in optimizer.param_groups:
        group["lr"] /= by
    return optimizer


def items(rule, **more: Any) -> list[Item]:
    """A run of each method, each at a learning rate of its own."""
    lives = [partial(METHODS[name], **options) for name, options in LIVES.items()]
    return [Item(life, task(partial(at_rate, rule, n), **more), n) for n, life in enumerate(lives, start=1)]


def live(step, item: Item, tell) -> None:
    """A job: the run's whole life."""
    item.run = start(item.task, item.seed, saved=item.saved, device=item.device)
    item.run.stepping = step
    late = {}
    for now in item.life(item.run):
        late[now.step] = now
        item.moments += 1
        item.said.add(item.run.alone)
        if now.ends_epoch:
            item.metrics[now.step] = dict(now.metrics)
    item.losses = {step: now.loss for step, now in late.items()}
    item.end = {name: value.detach().clone() for name, value in item.run.model.state_dict().items()}


@dataclass
class Made:
    """What was made of some items together."""

    items: list[Item]
    tapes: list[Tape]
    errors: dict[int, str | None]
    shared: Lockstep


def taped(given: list[Item], at_once: int = 8, record: Any = None) -> Made:
    """The runs made together, their steps recorded on tapes."""
    tapes: list[Tape] = []

    def tape(device: torch.device) -> Tape:
        tapes.append(Tape())
        return tapes[-1]

    shared = Lockstep(record=record or tape)
    ends = together(shared, at_once)(partial(live, shared.step), given, print)
    return Made(given, tapes, {item.seed: error for item, error in ends}, shared)


def alone(given: list[Item]) -> list[Item]:
    """The same, one after another, with no tape."""
    for item in given:
        live(None, item, print)
    return given


def demand_same(mine: Item, wanted: Item, what: str) -> None:
    """Losses of the steps that were told of, what epochs said, masks, weights, and what the optimiser remembers."""
    far = STEP * 99
    demand(mine.metrics.keys() == wanted.metrics.keys(), f"{what}: epochs end at {[*mine.metrics]}")
    for step, loss in mine.losses.items():
        demand(
            abs(loss - wanted.losses[step]) <= far, f"{what}: loss {loss} at step {step}, alone {wanted.losses[step]}"
        )
    for step, metrics in wanted.metrics.items():
        for name, value in metrics.items():
            found = mine.metrics[step][name]
            demand(abs(found - value) <= far, f"{what}: {name} {found} at step {step}, alone {value}")
    masks = [name for name, keep in wanted.run.masks.items() if not torch.equal(keep, mine.run.masks[name])]
    weights = [n for n, v in wanted.end.items() if not torch.allclose(mine.end[n], v, rtol=0, atol=far)]
    demand(not masks and not weights, f"{what}: masks {masks}, weights {weights}")
    states = [each.run.optimizer.state_dict()["state"] for each in (mine, wanted)]
    for number, kept in states[1].items():
        for part, value in kept.items():
            there = states[0][number][part]
            demand(
                torch.allclose(there, value, rtol=0, atol=far), f"{what}: {part} of {number} is {there}, alone {value}"
            )
    demand(mine.kept.keys() == wanted.kept.keys(), f"{what}: kept {[*mine.kept]}")
    for name, value in wanted.kept.items():
        demand(torch.allclose(mine.kept[name], value, rtol=1e-9), f"{what}: {name} is {mine.kept[name]}, alone {value}")


def replayed(made: Made) -> int:
    return sum(tape.replays for tape in made.tapes)


def demand_as_alone(made: Made, wanted: list[Item], what: str) -> None:
    demand(set(made.errors.values()) == {None}, f"{what}: {made.errors}")
    demand(
        not made.shared.unfit and not made.shared.plain, f"{[*made.shared.unfit.values(), *made.shared.plain.values()]}"
    )
    for mine, other in zip(made.items, wanted, strict=True):
        demand(mine.said <= {"", NOBODY}, f"it stepped by itself: {mine.said}")
        demand_same(mine, other, what)


# ---- lives ----


def counting(run, kept, saved_at=-1):
    """Masked and counted; the state of one step is kept."""
    run.prune({"0.weight": torch.rand(8, 6, generator=torch.Generator().manual_seed(run.seed)) < 0.5})
    seen = run.store("seen")
    with observing(run.model, statistics.active, statistics.gram, only=["0", "2"], training=True, into=seen):
        for now in train(run, epochs=3):
            if now.step == saved_at:
                kept["state"] = cloned(run.state())
            yield now


def looking(run, kept):
    """Evidence is taken out, emptied, replaced, added by a second observer, and left at its end."""
    seen, more = {}, {}
    with observing(run.model, statistics.active, statistics.output_sum, only=["0", "2"], training=True, into=seen):
        for now in train(run, steps=14):
            if now.step == 8:
                kept["taken out"] = seen["0"]["active"]
                seen.clear()
            if now.step == 11:
                seen["2"]["active"] = torch.full((8,), 100)
            yield now
        with observing(run.model, statistics.count, only=["2"], training=True, into=more):
            yield from train(run, steps=9, acts=at_ends)
    yield from train(run, steps=5)
    kept |= {f"{n} {s}": value for found in (seen, more) for n, sums in found.items() for s, value in sums.items()}


def leaving(run, kept):
    """In the midst of an epoch it goes by itself for some steps; later a weight is laid somewhere else."""
    for now in train(run, epochs=3):
        if now.step == 8:
            run.loss = lambda *given: run.task.loss(*given)
        if now.step == 11:
            run.loss = run.task.loss
        if now.step == 21:
            run.model[0].weight.data = run.model[0].weight.detach().clone()
        yield now


def losing(run, kept):
    """Its third step of a phase has a loss that is no number."""
    yield from train(run, steps=6)
    run.optimizer.param_groups[0]["lr"] = 1e200
    try:
        yield from train(run, steps=12, acts=at_ends)
    finally:
        kept |= {"step": torch.tensor(run.step)} | cloned(dict(run.model.named_parameters()))


# ---- laws ----


def as_alone() -> None:
    for name, rule in CHOSEN.items():
        more = {"course": course} if name in ("nesterov", "adamw") else {}  # rates that fall, or steps in a row
        made, wanted = taped(items(rule, **more)), alone(items(rule, **more))
        demand_as_alone(made, wanted, name)
        demand(replayed(made) > 20, f"{name}: {replayed(made)} replays")
        fewer = sum(item.moments for item in made.items) < sum(item.moments for item in wanted)
        demand(fewer == (not more), f"{name}: as many moments as steps, or fewer although rates change")


def who_leaves() -> None:
    """Four run at a time: when one ends, another takes its place; when none is left to come, the stack gets smaller."""
    made = taped(items(RULES["adam"]), at_once=4)
    demand_as_alone(made, alone(items(RULES["adam"])), "four at a time")
    demand(len(made.tapes) > 1, "the stack of who is left was not recorded anew")
    for item in made.items:
        now = item.run.model.state_dict()
        moved = [name for name, value in item.end.items() if not torch.equal(now[name], value)]
        demand(not moved, f"{moved} moved after the end")
    made = taped(_lives(leaving, "adam"))
    for mine, wanted in zip(made.items, alone(_lives(leaving, "adam")), strict=True):
        demand("its loss is its own" in mine.said, f"it says {mine.said}")
        demand_same(mine, wanted, "gone and back")


def _counting(rule, saved_at=-1, states=(None, None)) -> list[Item]:
    found = [Item(None, task(rule), seed, saved) for seed, saved in enumerate(states)]
    for item in found:
        item.life = partial(counting, kept=item.kept, saved_at=saved_at)
    return found


def resumed() -> None:
    for name in ("decay", "adam"):
        rule = RULES[name]
        wanted, first = alone(_counting(rule)), taped(_counting(rule, saved_at=13))
        states = [item.kept.pop("state") for item in first.items]
        demand_as_alone(first, wanted, f"{name}, saved at step 13")
        evidence = [item.run.memory["seen"] for item in wanted]
        for again in (taped(_counting(rule, states=states)).items, alone(_counting(rule, states=states))):
            for item, other, seen in zip(again, wanted, evidence, strict=True):
                demand_same(item, _after(13, other), f"{name}, resumed at step 13")
                for layer, sums in seen.items():
                    for what, value in sums.items():
                        found = item.run.memory["seen"][layer][what]
                        demand(
                            torch.allclose(found.double(), value.double()), f"{what} of {layer} is {found}, not {value}"
                        )


def _after(step, item: Item) -> Item:
    """What it said after that step."""
    return replace(item, metrics={at: metrics for at, metrics in item.metrics.items() if at > step})


def _lives(life, rule="decay", more=()) -> list[Item]:
    found = [Item(None, task(RULES[rule]), seed) for seed in range(2)]
    for item in found:
        item.life = partial(life, kept=item.kept)
    return [*found, *(Item(partial(METHODS["dense"], epochs=3, stop="epochs"), task(RULES[rule]), n) for n in more)]


def shown() -> None:
    for mine, wanted in zip(_same(partial(_lives, looking)), alone(_lives(looking)), strict=True):
        demand_same(mine, wanted, "what was looked at")


def _same(make) -> list[Item]:
    made = taped(make())
    demand_as_alone(made, alone(make()), "what was looked at")
    return made.items


def no_number() -> None:
    for rule in ("decay", "adam"):
        made, wanted = taped(_lives(losing, rule, more=(7, 8))), _lives(losing, rule, more=(7, 8))
        said = {}
        for item in wanted:
            try:
                live(None, item, print)
            except ValueError as error:
                said[item.seed] = str(error)
        demand(len(said) == 2, f"alone {said}")
        demand({n: error for n, error in made.errors.items() if error} == said, f"{made.errors}, alone {said}")
        for mine, other in zip(made.items[:2], wanted[:2], strict=True):
            far = [n for n, v in other.kept.items() if not torch.allclose(mine.kept[n], v, rtol=1e-9, equal_nan=True)]
            demand(not far, f"{rule}: {far} are not what they are alone")
        for mine, other in zip(made.items[2:], wanted[2:], strict=True):
            demand_same(mine, other, f"{rule}, a neighbour")


def norms() -> None:
    """Running statistics of each member's own batches."""
    data = Data(tiny_images(24), tiny_images(6, seed=1), tiny_images(6, seed=2))
    life = partial(METHODS["dense"], epochs=3, stop="epochs")

    def two():
        task = Task("n", lambda: undropped(tiny_conv_model().double()), data, RULES["decay"], batch_size=5)
        return [Item(life, task, seed) for seed in range(2)]

    demand_as_alone(taped(two()), alone(two()), "norms")


def laws():
    return {
        "a stack captured: each run is as it is alone, by every rule": as_alone,
        "a stack captured: who leaves is over, and who comes is as alone": who_leaves,
        "a stack captured: resumed from any step, captured or not": resumed,
        "a stack captured: what layers show is what they show alone": shown,
        "a stack captured: from a loss that is no number on nothing moves": no_number,
        "a stack captured: norms keep the statistics of each member": norms,
    }


# ---- bugs ----

draws, through = Captured._drawn, Stack.through


def told_once(self, values):
    """Rates and who goes stay as they were at first."""
    if values != self.said and not any(map(any, self.said) if isinstance(values[0], list) else self.said):
        self.there.copy_(torch.tensor(values, dtype=self.there.dtype))
        self.said = values


def first_order(self):
    """Where the batches lie is a number of the recording's."""
    self._at.fill_(next(row.at for row in self._rows.values()))
    return draws(self)


def of_the_first(self, *given):
    """What norms keep is the first member's in all of them."""
    found = through(self, *given)
    return found._replace(buffers={name: value[:1].expand_as(value) for name, value in found.buffers.items()})


def all_go(self, going, slopes, move=Ruled.move):
    move(self, torch.ones_like(going), slopes)


def unmarked(self):
    """What is added up may have become another thing."""
    return []


def to_the_end(run, end, acts, due=loop._due):
    return due(run, end, at_ends if acts is not None else None)


CLAIMS = {
    "each run is as it is alone, by every rule": {
        "rates of a stack are those of its first steps": instead(Told, "tell", told_once),
        "each replay is on the batch that was recorded": instead(Captured, "_drawn", first_order),
        "masks that change are not heard of": instead(Stack, "_mask", lambda self, member: None),
        "steps are made in a row past those at which a method acts": instead(loop, "_due", to_the_end),
        "the CPU's count of steps is not read": instead(Ruled, "load", lambda self, row: None),
    },
    "who leaves is over, and who comes is as alone": {
        "what the device alone knows of who leaves is forgotten": instead(Captured, "part", lambda self, member: None),
    },
    "resumed from any step, captured or not": {
        "the CPU does not hear of steps": instead(Ruled, "counted", lambda self, row, steps: None),
    },
    "what layers show is what they show alone": {
        "a sum that was taken out goes on": instead(counted, "_let_go", lambda bound: None),
        "a recording is used whatever is added up": instead(Counted, "places", unmarked),
    },
    "from a loss that is no number on nothing moves": {
        "rows that do not go are moved": instead(Ruled, "move", all_go),
    },
    "norms keep the statistics of each member": {
        "norms of a stack keep those of its first member": instead(Stack, "through", of_the_first),
    },
}
MUTANTS = bugs("a stack captured", laws, CLAIMS)
