"""Bugs planted in steps that leave their numbers where they are; on the CPU the laws treat it as another device."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sapwood import InputError, select
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_task
from sapwood.masking import launched
from sapwood.masking.holding import hold
from sapwood.masking.removed import SIGNED, Removed
from sapwood.training import tally
from sapwood.training.loop import train
from sapwood.training.run import start
from sapwood.training.tally import Tally

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
value = Tally.value


@contextmanager
def elsewhere() -> Iterator[None]:
    """No tensor is where Python is."""
    with patch.object(tally, "here", lambda tensor: False), patch.object(launched, "suits", lambda tensor: True):
        yield


def with_momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


def trained(run, epochs=2):
    """What an epoch said and what is left, with a checkpoint in the midst of it."""
    said, within = [], []
    run.prune(select.everywhere({n: p.detach().abs() for n, p in run.model.named_parameters() if p.dim() > 1}, 0.5))
    for now in train(run, epochs=epochs):
        said.append((now.loss, dict(now.metrics)))
        within.append(run.state()["sums"])
    return said, within, run.state()["model"], run.optimizer.state_dict()["state"]


def same_bits() -> None:
    task = replace(tiny_task(), optimizer=with_momentum)
    here = trained(start(task))
    with elsewhere():
        there = trained(start(task))
    demand(here[0] == there[0], f"said {there[0][-1]}, not {here[0][-1]}")
    demand(here[1] == there[1], f"sums {there[1][-2]}, not {here[1][-2]}")
    demand(all(type(v) is float for sums in there[1] for v in sums.values()), "sums in a checkpoint are no numbers")
    wrong = [n for n in here[2] if not torch.equal(here[2][n], there[2][n])]
    wrong += [f"{n}, {k}" for n, kept in here[3].items() for k, v in kept.items() if not torch.equal(v, there[3][n][k])]
    demand(not wrong, f"{wrong} have other bits")


class Reads(TorchDispatchMode):
    """How often each operator ran inside of the block."""

    def __init__(self) -> None:
        super().__init__()
        self.of = Counter[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.of[str(func)] += 1
        return func(*args, **(kwargs or {}))


def reads_its_loss_alone() -> None:
    run = start(tiny_task())
    with elsewhere():
        moments = train(run, epochs=1)
        next(moments)
        with Reads() as read:
            next(moments)
    demand(read.of["aten._local_scalar_dense.default"] == 1, f"{read.of['aten._local_scalar_dense.default']} reads")


def no_number() -> None:
    task = tiny_task()
    turned = []

    def loss(model, batch, outputs):
        turned.append(1)
        return task.loss(model, batch, outputs) * (float("nan") if len(turned) == 3 else 1.0)

    run = start(replace(task, loss=loss))
    with elsewhere():
        before = {}
        try:
            for _ in train(run, epochs=1):
                before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        except InputError as error:
            demand("the loss is nan at step 2" in str(error), str(error))
        else:
            demand(False, "nothing was said")
    demand(run.step == 2, f"{run.step} steps were made")
    wrong = [n for n, p in run.model.named_parameters() if not torch.equal(p, before[n])]
    demand(not wrong, f"{wrong} have moved")


def as_alone() -> None:
    luck = torch.Generator().manual_seed(0)
    for dtype in SIGNED:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 1)).to(DEVICE, dtype)
        net[0].to(memory_format=torch.channels_last)
        masks = {n: torch.rand(p.shape, generator=luck) > 0.5 for n, p in net.named_parameters() if p.dim() > 1}
        known = {}
        with hold(net, torch.optim.SGD(net.parameters(), lr=0.1), masks) as held:
            weights: list[Removed] = held._weights
            for removed in weights:
                odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, -3.0, 5.0, -float("nan")])
                drawn = odd[torch.randint(len(odd), removed.weight.shape, generator=luck)]
                removed.weight.data.copy_(drawn)
                alone = removed.weight.detach().clone()
                removed.zero(alone)
                known[removed.name] = alone
            launched.clear([(removed.weight, removed) for removed in weights])
            for removed in weights:
                bits = launched.INTEGERS[dtype.itemsize]
                same = torch.equal(removed.weight.detach().view(bits), known[removed.name].view(bits))
                demand(same, f"{removed.name} of {dtype} has other bits than cleared alone")


def device_laws() -> Laws:
    return {
        "a step elsewhere: the same bits": same_bits,
        "a step elsewhere: it reads its loss alone": reads_its_loss_alone,
        "a step elsewhere: a loss that is no number changes no weight": no_number,
        "a step elsewhere: masks clear together what each would clear alone": as_alone,
    }


def in_float32(given):
    return given.float() if isinstance(given, torch.Tensor) and not tally.here(given) else float(given)


def one_behind(self, loss):
    """The number of the step before is looked at, so that nobody waits."""
    last, self.last = getattr(self, "last", 0.0), value(self, loss)
    return last


def unsigned(several):
    for tensor, removed in several:
        tensor.data.masked_fill_(removed.keep.logical_not(), 0)


def multiplied(several):
    torch._foreach_mul_([tensor.data for tensor, _ in several], [removed.keep for _, removed in several])


MUTANTS = bugs("a step elsewhere", device_laws, {
    "the same bits": {
        "what stays there is in float32": instead(tally, "number", in_float32),
    },
    "it reads its loss alone": {
        "metrics are read in every step": instead(tally, "number", float),
    },
    "a loss that is no number changes no weight": {
        "the loss of the step before is looked at": partial(patch.object, Tally, "value", one_behind),
    },
    "masks clear together what each would clear alone": {
        "removed weights lose their sign": instead(launched, "_clear", unsigned),
        "weights are multiplied by their masks": instead(launched, "_clear", multiplied),
    },
})  # fmt: skip
