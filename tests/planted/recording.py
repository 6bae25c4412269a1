"""Bugs planted in steps that are recorded once and replayed; a tape of operators stands in for a CUDA graph.

The tape is as strict: a number that Python reads while it runs is an error, what a step makes is written to where it
was made first, and no Python runs again.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from planted.leaving_there import elsewhere
from planted.mutant import bugs, instead
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sapwood import InputError, observing, select, statistics
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_task
from sapwood.training import fused, loop, recorded
from sapwood.training.loop import train
from sapwood.training.recorded import Recorded
from sapwood.training.run import start

NEAR = 1e-12
OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam": partial(torch.optim.Adam, lr=0.01),
    "AdamW": partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
}


class Tape(TorchDispatchMode):
    """Notes the operators that run inside of the block, and runs them again, on the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.noted, self.replays, self._due = [], 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a number was read while the step was recorded")
        made = func(*args, **kwargs)
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        fresh = [isinstance(t, torch.Tensor) and t.untyped_storage()._cdata not in given for t in tree_leaves(made)]
        if any(fresh) or func._schema.is_mutable:
            self.noted.append((func, args, kwargs, tree_leaves(made), fresh))
        return made

    def aside(self):
        return nullcontext()

    def record(self, body):
        self.noted = []
        with self:
            body()
        self._due = True  # a graph would not have run yet, which the replay that follows makes up for

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        if self._due:
            self._due = False
            return
        for func, args, kwargs, before, fresh in self.noted:
            for old, new, its in zip(before, tree_leaves(func(*args, **kwargs)), fresh, strict=True):
                if its:
                    old.detach().copy_(new)


@contextmanager
def taped() -> Iterator[list[Tape]]:
    """Captured steps are recorded on tapes; on a GPU, where there is one, as graphs."""
    tapes: list[Tape] = []

    def tape(*_):
        tapes.append(Tape())
        return tapes[-1]

    with patch.object(loop, "recorder_for", tape), elsewhere():
        yield tapes


def near(here, there, what: str) -> None:
    a, b = torch.as_tensor(here, dtype=torch.float64), torch.as_tensor(there, dtype=torch.float64)
    demand(bool(((a - b).abs() <= NEAR * (1 + a.abs())).all()), f"{what}: {b.tolist()}, made one by one {a.tolist()}")


def course(share: float) -> float:
    return 1.0 - share


def lived(optimizer, captured: bool, saved_at: int = -1, renewed_at: int = -1):
    """Three epochs: masks change, layers are counted, rates fall. What was said, counted and is left."""
    task = replace(tiny_task(), optimizer=optimizer, course=course, batch_size=7)
    run, said, seen, kept = start(task), [], {}, None
    with observing(run.model, statistics.active, statistics.count, only=["0", "2"], training=True, into=seen):
        for now in train(run, epochs=3, captured=captured):
            said.append([now.step, now.loss, *now.metrics.values()])
            if now.step == 8:
                weights = {n: p.detach().abs() for n, p in run.model.named_parameters() if p.dim() > 1}
                run.prune(select.everywhere(weights, 0.5))
            if now.step == 12:
                seen.clear()
            if now.step == renewed_at:
                run.become(run.model, optimizer([{"params": [p], "lr": 0.02} for p in run.model.parameters()]))
            if now.step == saved_at:
                kept = torch.utils._pytree.tree_map(lambda x: x.clone() if torch.is_tensor(x) else x, run.state())
    return run, said, {n: dict(s) for n, s in seen.items()}, kept


def same_steps() -> None:
    for name, optimizer in OPTIMIZERS.items():
        run, said, seen, _ = lived(optimizer, False, renewed_at=17)
        with taped() as tapes:
            again, said_again, seen_again, _ = lived(optimizer, True, renewed_at=17)
        demand(sum(tape.replays for tape in tapes) > 5, f"{[tape.replays for tape in tapes]} replays")
        for one, other in zip(said, said_again, strict=True):
            near(one, other, f"{name}, what step {one[0]} said")
        for layer, sums in seen.items():
            for what, value in sums.items():
                near(value, seen_again[layer][what], f"{name}, {what} of {layer}")
        _same_state(run, again, name)


def _same_state(run, again, name: str) -> None:
    one, other = run.state(), again.state()
    for part, value in one["model"].items():
        near(value, other["model"][part], f"{name}, {part}")
    for number, kept in one["optimizer"]["state"].items():
        for part, value in kept.items():
            if isinstance(value, torch.Tensor):
                near(value, other["optimizer"]["state"][number][part], f"{name}, {part} of {number}")
    groups = [[{k: v for k, v in g.items() if k != "lr"} for g in s["optimizer"]["param_groups"]] for s in (one, other)]
    demand(groups[0] == groups[1], f"{name}: options {groups[1]}, not {groups[0]}")
    rates = [[g["lr"] for g in s["optimizer"]["param_groups"]] for s in (one, other)]
    near(rates[0], rates[1], f"{name}, rates")


def resumed() -> None:
    """From a checkpoint in the midst of an epoch of captured steps, captured and one by one."""
    for name, optimizer in OPTIMIZERS.items():
        with taped():
            run, all_said, _, kept = lived(optimizer, True, saved_at=13)
        for captured in (True, False):
            task = replace(tiny_task(), optimizer=optimizer, course=course, batch_size=7)
            with taped() if captured else nullcontext():
                again, ends = start(task, saved=kept), []
                for now in train(again, epochs=3, captured=captured):
                    ends += [list(now.metrics.values())] if now.ends_epoch else []
                _same_state(run, again, f"{name}, captured={captured}")
                near([list(said[2:]) for said in all_said if len(said) > 2][1:], ends, f"{name}, what epochs said")


def no_number() -> None:
    """The second batch of the second epoch has a NaN, and nobody looks before the epoch ends."""
    task = replace(tiny_task(), optimizer=OPTIMIZERS["Adam"])
    before = {}
    for stop in (7, None):
        run = start(task)
        bad = run.task.batch(0, 7).inputs.clone()

        def spoiled(seed, step, inner=run.task.batch, task=run.task, bad=bad):
            batch = inner(seed, step)
            return batch._replace(inputs=bad * float("nan")) if step == 7 else batch

        object.__setattr__(run.task, "batch", spoiled)
        try:
            with taped():
                for _ in train(run, steps=stop or 12, captured=True):
                    pass
        except InputError as error:
            demand("the loss is nan at step 7" in str(error), str(error))
        finally:
            del run.task.__dict__["batch"]
        demand(run.step == 7, f"{run.step} steps were made")
        state = run.state()
        kept = {
            **state["model"],
            **{f"{n} {k}": v for n, s in state["optimizer"]["state"].items() for k, v in s.items()},
        }
        kept = {name: value.clone() for name, value in kept.items()}
        wrong = [name for name in before if not torch.equal(before[name], kept[name])]
        demand(not wrong, f"{wrong} have moved")
        before = kept


def record_laws() -> Laws:
    return {
        "captured steps: the same as one by one": same_steps,
        "captured steps: resumed from any, captured or not": resumed,
        "captured steps: from a loss that is no number on nothing moves": no_number,
    }


class Frozen(Recorded):
    """Learning rates stay as they were recorded."""

    def _tell_rates(self):
        pass


class Blind(Recorded):
    """Nobody asks whether masks, evidence and the like are where they were."""

    def _stands(self):
        return self._counts.optimizer is self._run.optimizer


def kept_pending(noted):
    return nullcontext()


def going_on(optimizer, rates, bad):
    return fused.fused(optimizer, rates, torch.zeros_like(bad))


def anew(self):
    """Sums begin at 0, whatever there was."""
    for value in self._sums.values():
        value.zero_()
    self._tally.behind = None
    self._tally = self._run.sums
    self._tally.behind = self.settle


def drawn_on(self, inner=fused.Counts.show):
    """Each time that somebody looks, the optimiser has made one step more."""
    inner(self)
    for count in self._there.values():
        count.add_(1)


MUTANTS = bugs("captured steps", record_laws, {
    "the same as one by one": {
        "rates are those of the first steps": instead(loop, "Recorded", Frozen),
        "a recording is used whatever has changed": instead(loop, "Recorded", Blind),
        "counts of layers are kept pending": instead(recorded, "straight", kept_pending),
    },
    "from a loss that is no number on nothing moves": {
        "the optimiser is not told": instead(recorded, "fused", going_on),
    },
    "resumed from any, captured or not": {
        "sums begin anew where a run goes on": instead(Recorded, "_attach", anew),
        "looking at a run moves it on": instead(fused.Counts, "show", drawn_on),
    },
})  # fmt: skip
