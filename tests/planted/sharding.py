"""Bugs planted in what is done with parts of sharded weights, and with states of them; one process has all parts."""

import errno
import os
import tempfile
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from planted.mutant import bugs, instead
from torch import nn
from torch.distributed.fsdp import fully_shard

from sapwood import checkpoint, processes
from sapwood.checks import tiny_model, tiny_task
from sapwood.checks.law import demand
from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.errors import InputError
from sapwood.masking.holding import hold
from sapwood.masking.sharded import Sharded
from sapwood.scoring import gradients, observation
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import STATISTICS
from sapwood.training import parts
from sapwood.training.loop import train
from sapwood.training.run import start


def laws():
    """Of what is sharded."""
    return {
        "sharding: removed weights are 0 in every pass and after every step": _weights,
        "sharding: gradients of removed weights are 0 from the backward pass on": _gradients,
        "sharding: an optimiser remembers nothing of removed weights": _remembered,
        "sharding: what a folder of parts holds is the last state, whole": _kept,
        "sharding: a state that cannot be written leaves the one before, and nothing else": _left,
        "sharding: a process reads its own parts": _read,
        "sharding: gradients are those of the whole model, of frozen weights too": _seen,
    }


@contextmanager
def alone():
    """A group of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _sharded(model=None):
    model = model or seeded_model()
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    return fully_shard(model)


def _steps():
    """Of a held model whose optimiser was there before: its first weight, mask and optimiser, after each pass, step."""
    model, samples = _sharded(), tiny_samples(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    weight = model.get_parameter("0.weight")
    gone = torch.arange(weight.numel()).view(weight.shape) % 5 == 0
    for held in (False, True, True):
        if held:
            hold(model, optimizer, {"0.weight": ~gone})
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(samples.inputs), samples.targets).backward()
        yield "pass", weight, gone, optimizer
        with torch.no_grad():
            processes.own(weight.grad).add_(1)  # behind everybody's back
        optimizer.step()
        yield "step", weight, gone, optimizer


def _weights():
    with alone():
        for number, (_, weight, gone, _) in enumerate(_steps()):
            left = int(processes.own(weight)[gone].count_nonzero())
            demand(number < 2 or left == 0, f"{left} removed weights are not 0")


def _gradients():
    with alone():
        for number, (at, weight, gone, _) in enumerate(_steps()):
            left = int(processes.own(weight.grad)[gone].count_nonzero()) if at == "pass" else 0
            demand(number < 2 or left == 0, f"{left} gradients of removed weights are not 0")


def _remembered():
    with alone():
        for number, (at, weight, gone, optimizer) in enumerate(_steps()):
            for name in ("exp_avg", "exp_avg_sq") if at == "step" else ():
                left = int(processes.own(optimizer.state[weight][name])[gone].count_nonzero())
                demand(number < 2 or left == 0, f"{name} of {left} removed weights is not 0")


def _kept():
    with alone(), tempfile.TemporaryDirectory() as folder:
        run, path = start(replace(tiny_task(), model=lambda: _sharded(tiny_model()))), Path(folder, "run")
        for _ in train(run, steps=3):
            run.save(path)
            last = run.state()
        demand(checkpoint.fingerprint(parts.read(path)) == checkpoint.fingerprint(last), "another")
        demand(len([*path.glob("parts-*")]) == 1, "parts of older states are left")


def _saved(folder):
    """A run in its first steps, its state there, and where its parts are."""
    run, path = start(replace(tiny_task(), model=lambda: _sharded(tiny_model()))), Path(folder, "run")
    for _ in train(run, steps=3):
        pass
    run.save(path)
    return run, path, run.state()


def _left():
    with alone(), tempfile.TemporaryDirectory() as folder:
        run, path, last = _saved(folder)
        run.step += 1
        with patch.object(parts, "_sums", full), suppress(InputError):
            run.save(path)
        demand(len([*path.glob("parts-*")]) == 1, "parts of a state that could not be written are left")
        demand(checkpoint.fingerprint(parts.read(path)) == checkpoint.fingerprint(last), "another")


def _read():
    with alone(), tempfile.TemporaryDirectory() as folder:
        run, path, last = _saved(folder)
        read = parts.read(path, run.model, run.optimizer)
        weights = [*read["model"].values(), *(each["momentum_buffer"] for each in read["optimizer"]["state"].values())]
        demand(all(map(processes.sharded, weights)), "weights are whole")
        demand(checkpoint.fingerprint(parts.whole(read)) == checkpoint.fingerprint(last | {"summed": []}), "another")


def _seen():
    looks = ([tiny_samples(20)], STATISTICS["weight_grad"], STATISTICS["count"])
    whole = observe(seeded_model(), *looks, loss=_loss)
    with alone():
        model = _sharded()
        model[0].requires_grad_(False)
        try:
            parted = observe(model, *looks, loss=_loss)
        except InputError as error:
            raise AssertionError(error) from error
        for name, seen in whole.items():
            for statistic, value in seen.items():
                demand(torch.equal(value, parted[name][statistic]), f"{statistic} of {name} is another")
        demand(all(p.grad is None for p in model.parameters()), "gradients are left")


def _loss(outputs, batch):
    return nn.functional.cross_entropy(outputs, batch.targets, reduction="sum")


def full(files):
    """Where nothing can be written."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def nothing(*_, **__):
    return iter(())


def kept(total, used, others=(), along=gradients.along, **options):
    """Gradients, which training would find in `.grad`, too."""
    torch.autograd.backward(total, retain_graph=True)
    return along(total, used, others, **options)


CLAIMS = {
    "removed weights are 0 in every pass and after every step": {
        "parts not cleared around steps": instead(Sharded, "written", nothing),
        "the mask of another part": instead(
            processes, "like", lambda tensor, other, real=processes.like: real(tensor.flip(0), other)
        ),
    },
    "gradients of removed weights are 0 from the backward pass on": {
        "a part's gradient not waited for": instead(Sharded, "_watch_gradient", nothing),
        "copies of gradients cleared": instead(
            Sharded, "clear_gradient", lambda each: each.zero(processes.own(each.weight.grad).clone())
        ),
    },
    "an optimiser remembers nothing of removed weights": {
        "memory in parts not known": instead(Sharded, "_remembered", nothing),
    },
    "what a folder of parts holds is the last state, whole": {
        "older parts left": instead(parts.shutil, "rmtree", nothing),
        "parts laid out but not filled": instead(
            parts,
            "_read_parts",
            lambda *given, real=parts._read_parts: {name: each.zero_() for name, each in real(*given).items()},
        ),
    },
    "a state that cannot be written leaves the one before, and nothing else": {
        "half a state left on a full disk": instead(parts.shutil, "rmtree", nothing),
    },
    "a process reads its own parts": {
        "whole weights read by every process": instead(parts, "_owners", lambda *_: lambda at, value: None),
    },
    "gradients are those of the whole model, of frozen weights too": {
        "gradients asked of the parts": instead(processes, "passing", processes.parameters),
        "frozen parts left frozen": instead(gradients, "thawed", nullcontext),
        "gradients kept by the model": instead(observation, "along", kept),
    },
}

MUTANTS = bugs("sharding", laws, CLAIMS)
