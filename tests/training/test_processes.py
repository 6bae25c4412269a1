"""Two real processes: what they prune and learn together is what one process would have alone."""

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sapwood import checkpoint, processes
from sapwood.checks import tiny_model, tiny_task
from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.errors import InputError
from sapwood.masking.holding import hold
from sapwood.methods import METHODS
from sapwood.scoring.answers import hidden
from sapwood.scoring.observation import observing
from sapwood.scoring.statistics import STATISTICS
from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import shrink
from sapwood.training.loop import train
from sapwood.training.run import start

WORLD = 2
pytestmark = pytest.mark.slow  # starting two interpreters takes seconds

EASY = {"first": 0.01, "target": 0.02, "stop": "epochs", "epochs": 4}  # every epoch ends above its mark
LIVES = {  # (method, options, samples, batch size)
    "global": ("global_activation", EASY | {"cycles": 3, "criterion": "active_magnitude"}, 48, 8),
    "global, anew after each cycle": ("global_activation", EASY | {"cycles": 2, "reset": "after_cycle"}, 48, 8),
    "local": ("local_activation", EASY | {"sparsity": 0.5}, 48, 8),
    "gradual": ("gradual_magnitude", {"begin": 1, "end": 2, "every": 2, "epochs": 3}, 48, 8),
    "a last batch of 5": ("global_activation", EASY | {"cycles": 3}, 45, 8),
    "batches of 7, a last one of 3": ("local_activation", EASY | {"sparsity": 0.5, "criterion": "apoz"}, 45, 7),
    "a last batch of 1": ("global_activation", EASY | {"cycles": 3}, 41, 8),
    "rigl": ("sparse_training", {"sparsity": 0.6, "every": 2, "epochs": 3}, 48, 8),
    "snip": ("at_init", {"sparsity": 0.6, "samples": 20, "epochs": 2}, 48, 8),
    "ticket": ("lottery_ticket", {"rounds": 2, "round_epochs": 2, "rewind": 0.5}, 48, 8),
    "iterative": ("iterative_magnitude", {"rounds": 2, "first_epochs": 1, "round_epochs": 1}, 48, 8),
    "surgery": ("dynamic_surgery", {"c": "0.3", "dense_epochs": 1, "surgery": 1, "epochs": 2}, 48, 8),
}


def life(name):
    """One life of a method without dropout, whose masks and random numbers do not depend on the number of processes."""
    method, options, samples, size = LIVES[name]
    data = replace(tiny_task().data, train=tiny_samples(samples))
    run = start(replace(tiny_task(), model=tiny_model, data=data, batch_size=size))
    moments = [now for now in METHODS[method](run, **options)]
    metrics = [dict(now.metrics) for now in moments if now.ends_epoch]
    seen = processes.add_up(run.memory.get("seen", {}))
    return {
        "model": dict(run.model.state_dict()),
        "masks": run.masks,
        "metrics": metrics,
        "seen": seen,
        "round": run.round,
    }


def summed():
    """Every forward statistic over one epoch, summed over the processes."""
    run = start(replace(tiny_task(), model=tiny_model))
    forward = [statistic for statistic in STATISTICS.values() if not statistic.backward]
    with (
        observing(run.model, *forward, only=hidden(run.model), training=True) as seen,
        closing(train(run, epochs=1)) as m,
    ):
        for _ in m:
            pass
    return {"seen": processes.add_up(seen), "own": seen}


def disagreement():
    """What `agree` says to equal masks, to different ones, and what pruning says when evidence is not added up."""
    keep = torch.arange(12).view(3, 4) % 2 == 0
    said = {"equal": _says(lambda: processes.agree({"w": keep}))}
    said["different"] = _says(lambda: processes.agree({"w": keep if processes.rank() else ~keep}))
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    said["held"] = _says(lambda: hold(model, optimizer, {"weight": keep if processes.rank() else ~keep}))
    said["another name"] = _says(lambda: processes.agree({f"w{processes.rank()}": keep}))
    with patch.object(processes, "add_up", lambda evidence: evidence):
        said["own evidence only"] = _says(lambda: life("global"))
    return said


def shrunk():
    """Data-parallel training with momentum, shrunk in the middle and wrapped anew, as docs/in-parts.md says."""
    model, samples = seeded_model(), tiny_samples(16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    _trained(model, optimizer, samples)
    units = sites(model, samples.inputs[:1])
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in units}
    small = shrink(model, keep, units, example=samples.inputs[:1], optimizer=optimizer)
    _trained(small.model, small.optimizer, samples)
    return {"model": dict(small.model.state_dict()), "sizes": [site.units for site in units]}


def _trained(model, optimizer, samples, steps=4):
    wrapped, mine = processes.wrap(model), samples.take(processes.share(len(samples.targets)))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(wrapped(mine.inputs), mine.targets).backward()
        optimizer.step()


def _says(call):
    try:
        call()
    except InputError as error:
        return str(error)
    return "nothing"


JOBS = {name: (lambda name=name: life(name)) for name in LIVES} | {
    "summed": summed,
    "disagreement": disagreement,
    "shrunk": shrunk,
}


def work(rank, folder):
    """What each process does: all jobs, one file of results each."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD, timeout=timedelta(minutes=9)
    )
    for name, job in JOBS.items():
        checkpoint.write(Path(folder) / f"{name} {rank}", job())
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """(job, rank) -> what that process found."""
    folder = tmp_path_factory.mktemp("together")
    mp.spawn(work, (str(folder),), nprocs=WORLD)
    return lambda name, rank: checkpoint.read(folder / f"{name} {rank}")


@pytest.mark.parametrize("name", LIVES)
def test_two_processes_end_where_one_does(together, name):
    alone = life(name)
    for rank in range(WORLD):
        found = together(name, rank)
        assert found["round"] == alone["round"] > 0
        assert list(found["masks"]) == list(alone["masks"])
        assert all(torch.equal(found["masks"][n], keep) for n, keep in alone["masks"].items())
        assert not all(keep.all() for keep in alone["masks"].values())
        for n, weight in alone["model"].items():
            torch.testing.assert_close(found["model"][n], weight, rtol=0, atol=1e-12)  # sums in another order
        assert len(found["metrics"]) == len(alone["metrics"]) > 0
        for ours, theirs in zip(found["metrics"], alone["metrics"], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-12)
        for layer, sums in alone["seen"].items():
            for statistic, value in sums.items():
                torch.testing.assert_close(found["seen"][layer][statistic], value, rtol=1e-12, atol=0)


def test_evidence_is_the_sum_over_both_and_stays_each_ones_own(together):
    alone = summed()["seen"]
    first, second = together("summed", 0), together("summed", 1)
    for layer, sums in alone.items():
        assert list(sums) == list(first["seen"][layer])
        for name, value in sums.items():
            torch.testing.assert_close(first["seen"][layer][name].double(), value.double(), rtol=1e-12, atol=1e-12)
            assert torch.equal(first["seen"][layer][name], second["seen"][layer][name])
            halves = first["own"][layer][name] + second["own"][layer][name]
            torch.testing.assert_close(halves, first["seen"][layer][name])
        assert first["own"][layer]["count"] == second["own"][layer]["count"] == 24


@pytest.mark.parametrize("case", ["different", "held", "another name", "own evidence only"])
def test_processes_that_decide_differently_are_stopped(together, case):
    for rank in range(WORLD):
        said = together("disagreement", rank)
        assert said["equal"] == "nothing"
        assert "processes decided on different masks" in said[case]


def test_a_network_shrunk_in_every_process_is_wrapped_anew_and_trains_on_as_one(together):
    alone = shrunk()
    assert alone["sizes"]
    for rank in range(WORLD):
        found = together("shrunk", rank)
        for name, weight in alone["model"].items():
            torch.testing.assert_close(found["model"][name], weight, rtol=0, atol=1e-12)
