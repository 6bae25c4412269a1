"""FSDP2: a model whose parameters are sharded over two and over three processes is pruned as one process prunes it."""

import os
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_tensor
from torch.nn.utils import parametrizations
from training.ranks import together

from sapwood import checkpoint, masks, processes
from sapwood.checks.tiny import tiny_model, tiny_samples, tiny_task
from sapwood.errors import InputError
from sapwood.masking.holding import hold
from sapwood.methods import METHODS
from sapwood.shrinking.shrunk import shrink
from sapwood.training import parts
from sapwood.training.run import start

pytestmark = pytest.mark.slow  # starting interpreters takes seconds
EVERYTHING = "SAPWOOD_RANKS" in os.environ  # all of it in three processes, too
WORLDS = (2, 3)
OPTIMISERS = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
}


def small():
    """Of its last 4 rows three processes have 2, 2 and none."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 4)).double()


def sharded(model, mesh=None):
    """Each layer with a weight is a unit, but the last, which is gathered with the rest."""
    mesh = mesh or init_device_mesh("cpu", (processes.world(),))
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    for layer in layers[:-1]:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def some(names):
    """Those that are tried in so many processes."""
    return [*names] if EVERYTHING or processes.world() == 2 else [*names][:1]


def cases(names):
    """A number of processes, and a name that is tried in so many."""
    return [(world, name) for world in WORLDS for name in (names if EVERYTHING or world == 2 else [*names][:1])]


def whole(tensors):
    return {name: processes.whole(value).clone() for name, value in tensors.items()}


def drawn(model):
    """Masks of half of the weights, one of them with whole rows; the same in every process."""
    luck = torch.Generator().manual_seed(3)
    return {
        name: (torch.rand(p.shape if at else (len(p), 1), generator=luck) > 0.5).expand(p.shape)
        for at, (name, p) in enumerate(model.named_parameters())
        if p.dim() > 1
    }


def held(model, optimizer, keep, *, wrapped=None, steps=3):
    """Steps on this process's samples; the trained weights, and all that must be 0 and is not."""
    samples = tiny_samples(14)
    mine = samples.take(processes.share(len(samples.targets)))
    share = processes.weight(len(mine.targets))
    left = 0
    for _ in range(steps):
        optimizer.zero_grad()
        (nn.functional.cross_entropy((wrapped or model)(mine.inputs), mine.targets) * share).backward()
        parameters = dict(model.named_parameters())
        left += not_zero({n: parameters[n].grad for n in keep}, keep)
        optimizer.step()
        left += not_zero({n: parameters[n].detach() for n in keep}, keep)
        for key in ("momentum_buffer", "exp_avg", "exp_avg_sq"):
            left += not_zero({n: m[key] for n in keep if key in (m := optimizer.state[parameters[n]])}, keep)
    return left


def not_zero(tensors, keep):
    return sum(int(processes.whole(value)[~keep[name]].count_nonzero()) for name, value in tensors.items())


def trained(kind, shard=lambda model: model, given=lambda keep, model: keep):
    """A model held for some steps, then free for one, then held anew by other masks."""
    model = shard(small())
    wrapped = model if processes.sharded(next(model.parameters())) else processes.wrap(model)
    optimizer, keep = OPTIMISERS[kind](model.parameters()), drawn(model)
    with hold(model, optimizer, given(keep, model)):
        left = held(model, optimizer, keep, wrapped=wrapped)
        sparsity = masks.sparsity(given(keep, model))
        zeros = masks.zeros({name: dict(model.named_parameters())[name].detach() for name in keep})
        with torch.no_grad():
            model(tiny_samples(4).inputs)  # which leaves the last layer gathered
    free = held(model, optimizer, {}, wrapped=wrapped, steps=1)
    turned = {name: keep[name].flip(-1) for name in keep}
    with torch.no_grad():
        model(tiny_samples(4).inputs)
    with hold(model, optimizer, given(turned, model)):
        left += held(model, optimizer, turned, wrapped=wrapped, steps=2)
    return {"left": left + free, "sparsity": sparsity, "zeros": zeros, "model": whole(model.state_dict())}


def as_parts(keep, model):
    """DTensors in place of whole masks."""
    processes.reshard(model)
    at = dict(model.named_parameters())
    return {n: distribute_tensor(k.contiguous(), at[n].device_mesh, at[n].placements) for n, k in keep.items()}


def hybrid(model):
    """Two processes with the same parts."""
    return sharded(model, init_device_mesh("cpu", (processes.world(), 1), mesh_dim_names=("replicate", "shard")))


def held_jobs(folder):
    found = {f"{kind} {way}": trained(kind, *WAYS[way]) for way in some(WAYS) for kind in OPTIMISERS}
    return found | {"said": refused()}


def life(name, shard=sharded, saved=None, stop=None, folder=None):
    """One life of a method, or what is left of one that was saved, or its beginning."""
    method, options = LIVES[name]
    run = start(replace(tiny_task(), model=lambda: shard(tiny_model())), saved=saved)
    metrics, state = [], None
    for now in METHODS[method](run, **options):
        metrics += [dict(now.metrics)] if now.ends_epoch else []
        if now.step == stop:
            state = run.state()
            run.save(folder)
            break
    found = {"metrics": metrics, "round": run.round, "masks": run.masks, "sparsity": run.sparsity()}
    return found | {"model": whole(run.model.state_dict()), "state": state or run.state()}


def lives(folder):
    """Each life, and one that stops and goes on from where it stopped; what one process has left is gone on with, too.

    Then what is said of scores and of taking apart that need the whole model.
    """
    found = {name: life(name) for name in some(LIVES)}
    found["replicas"] = life("global", shard=lambda model: model)
    for name in some(STOPPED):
        saved = life(name, stop=STOP, folder=folder / f"parts of {name}")["state"]
        found[f"{name}, stopped"] = {"state": saved}
        found[f"{name}, gone on"] = life(name, saved=saved)
        found[f"{name}, gone on from parts"] = life(name, saved=folder / f"parts of {name}")
        found[f"{name}, left by one"] = life(name, saved=folder / name)
    run = start(replace(tiny_task(), model=lambda: sharded(tiny_model())))
    return found | {"said": {
        "gradients": says(lambda: next(METHODS["at_init"](run, criterion="snip", samples=20))),
        "apart": says(lambda: shrink(run.model, {}, example=run.task.example)),
    }}  # fmt: skip


STOP = 8  # in the middle of an epoch
STOPPED = ("global", "ticket") if EVERYTHING else ("global",)
EASY = {"first": 0.01, "target": 0.02, "stop": "epochs", "epochs": 3}  # every epoch ends above its mark
LIVES = {
    "global": ("global_activation", EASY | {"cycles": 2, "criterion": "active_magnitude"}),
    "local": ("local_activation", EASY | {"sparsity": 0.5}),
    "gradual": ("gradual_magnitude", {"begin": 1, "end": 2, "every": 2, "epochs": 3}),
    "rigl": ("sparse_training", {"sparsity": 0.6, "every": 2, "epochs": 3}),
    "ticket": ("lottery_ticket", {"rounds": 2, "round_epochs": 2, "rewind": 0.5}),
    "iterative": ("iterative_magnitude", {"rounds": 2, "first_epochs": 1, "round_epochs": 1}),
    "surgery": ("dynamic_surgery", {"c": "0.3", "dense_epochs": 1, "surgery": 1, "epochs": 2}),
}
LIVES = LIVES if EVERYTHING else {name: LIVES[name] for name in ("global", "rigl", "ticket", "surgery")}
WAYS = {"whole masks": (sharded,), "masks in parts": (sharded, as_parts), "hybrid": (hybrid,), "replicas": ()}


def refused():
    """What is said of models, masks and optimisers that cannot be held."""
    said = {}
    model = sharded(small())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    name, weight = next((n, p) for n, p in model.named_parameters() if p.dim() > 1)
    keep = torch.ones(weight.shape, dtype=torch.bool)
    said["another shape"] = says(lambda: hold(model, optimizer, {name: keep[1:]}))
    said["different"] = says(lambda: hold(model, optimizer, {name: keep if processes.rank() else ~keep}))
    other = distribute_tensor(keep, weight.device_mesh, [torch.distributed.tensor.Replicate()])
    said["other parts"] = says(lambda: hold(model, optimizer, {name: other}))
    plain = small()
    said["no parts"] = says(lambda: hold(plain, torch.optim.SGD(plain.parameters(), lr=0.1), {name: other}))
    normed = sharded(nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 6)), nn.Linear(6, 3)))
    every = torch.optim.SGD(normed.parameters(), lr=0.1)
    said["computed"] = says(lambda: hold(normed, every, {"0.weight": torch.ones(6, 4, dtype=torch.bool)}))
    first = nn.parallel.DistributedDataParallel(small())
    first.__class__ = type("FullyShardedDataParallel", (type(first),), {})
    said["FSDP1"] = says(lambda: hold(first, optimizer, {name: keep}))
    return said


def says(call):
    try:
        call()
    except InputError as error:
        return str(error)
    return "nothing"


@pytest.fixture(scope="module")
def living(tmp_path_factory):
    """What the lives of several processes left: how many -> the folder, and what each of them found."""

    @cache
    def of(world):
        folder = tmp_path_factory.mktemp("living")
        for name in STOPPED:
            life(name, stop=STOP, shard=lambda model: model, folder=folder / name)
        return folder, together(lives, world, folder)

    return of


@pytest.fixture(scope="module")
def alone():
    return {name: life(name, shard=lambda model: model) for name in LIVES}


@pytest.mark.parametrize(("world", "name"), cases(LIVES))
def test_methods_on_a_sharded_model_end_where_one_process_does(living, alone, world, name):
    for each in living(world)[1]:
        same_end(each[name], alone[name])
        same_metrics(each[name], alone[name])


@pytest.mark.parametrize("world", WORLDS)
def test_replicas_end_where_one_process_does_too(living, alone, world):
    for each in living(world)[1]:
        same_end(each["replicas"], alone["global"])
        same_metrics(each["replicas"], alone["global"])


@pytest.mark.parametrize(("world", "name"), cases(STOPPED))
def test_a_run_that_was_stopped_is_gone_on_with_by_one_process_and_by_several(living, alone, world, name):
    folder, every = living(world)
    for each in every:
        saved = each[f"{name}, stopped"]["state"]
        assert saved["step"] == STOP < each[name]["state"]["step"]
        ends = [each[f"{name}, {how}"] for how in ("gone on", "gone on from parts", "left by one")]
        ends += [life(name, lambda model: model, saved=one) for one in (saved, folder / f"parts of {name}")]
        for end in ends:
            same_end(end, alone[name])
            same_metrics(end, alone[name])


@pytest.mark.parametrize("world", WORLDS)
def test_the_parts_of_a_state_are_all_that_it_has_and_none_is_left_of_an_older_one(living, world):
    folder, every = living(world)
    for name in STOPPED[:1]:
        kept = parts.read(folder / f"parts of {name}")
        assert checkpoint.fingerprint(kept) == checkpoint.fingerprint(every[0][f"{name}, stopped"]["state"])
        (shards,) = (folder / f"parts of {name}").glob("parts-*")
        assert len([*shards.glob("*.safetensors")]) == len(every)


def same_metrics(found, alone):
    """Those of all epochs, or of the last ones for a run that was gone on with."""
    assert found["metrics"]
    last = alone["metrics"][-len(found["metrics"]) :]
    assert found["metrics"] == [pytest.approx(one, abs=1e-12) for one in last]


def same_end(found, alone):
    assert found["round"] == alone["round"] > 0
    assert found["masks"].keys() == alone["masks"].keys()
    assert all(torch.equal(found["masks"][n], keep) for n, keep in alone["masks"].items())
    assert not all(keep.all() for keep in alone["masks"].values())
    assert found["sparsity"] == alone["sparsity"]
    close(found["model"], alone["model"])
    steps, others = (each["state"]["optimizer"]["state"] for each in (found, alone))
    for number, kept in others.items():
        close(steps[number], kept)


def close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "words"), [("gradients", "sharded over processes.*before fully_shard"), ("apart", "is sharded over proc")]
)
def test_what_needs_the_whole_model_is_refused_in_every_process(living, case, words):
    for found in living(2)[1]:
        with pytest.raises(InputError, match=words):
            raise InputError(found["said"][case])


@pytest.fixture(scope="module")
def holding(tmp_path_factory):
    return cache(lambda world: together(held_jobs, world, tmp_path_factory.mktemp("holding")))


@pytest.mark.parametrize("kind", OPTIMISERS)
@pytest.mark.parametrize(("world", "way"), cases(WAYS))
def test_a_sharded_model_is_held_as_one_process_holds_it(holding, kind, world, way):
    alone = trained(kind)
    assert 0 < alone["sparsity"] < 1
    for found in (each[f"{kind} {way}"] for each in holding(world)):
        assert found["left"] == alone["left"] == 0
        assert (found["sparsity"], found["zeros"]) == (alone["sparsity"], alone["zeros"])
        close(found["model"], alone["model"])


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("another shape", "has shape .*; its parameter has"),
        ("different", "processes decided on different masks"),
        ("other parts", "is sharded by .*Replicate.*, its parameter by .*Shard.*; give the whole mask"),
        ("no parts", "is sharded by .*Replicate.*, its parameter is not; give the whole mask"),
        ("computed", "from which a weight is computed; shard a model without"),
        ("FSDP1", r"wrapped by FullyShardedDataParallel \(FSDP1\).*fully_shard"),
    ],
)
def test_what_cannot_be_held_is_refused_in_every_process(holding, case, words):
    for found in holding(2):
        with pytest.raises(InputError, match=words):
            raise InputError(found["said"][case])
