"""FSDP2: a model whose parameters are sharded over two and over three processes is pruned as one process prunes it."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_tensor
from torch.nn.utils import parametrizations
from training.ranks import together

from sapwood import checkpoint, codec, masks, measure, one_shot, processes, select
from sapwood.checks.tiny import tiny_model, tiny_samples, tiny_task
from sapwood.criteria import CRITERIA
from sapwood.errors import InputError
from sapwood.gates import VariationalDropout, WeightGated
from sapwood.masking.holding import hold
from sapwood.methods import METHODS
from sapwood.scoring import saliency
from sapwood.scoring.criterion import score
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import STATISTICS
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


def lives(folder, others=None):
    """Each life, and one that stops and goes on from where it stopped; what one process has left is gone on with, too,
    and what two `others` have left in parts.

    Then scores from gradients, and what is said of what needs the whole model, and of processes that are not alike.
    """
    found = {name: life(name) for name in some(LIVES)}
    found["replicas"] = life("global", shard=as_it_is)
    own = folder / f"replica {processes.rank()}"
    life("global", shard=as_it_is, stop=STOP, folder=own)
    found["replicas, gone on"] = life("global", shard=as_it_is, saved=own)
    found["replicas, left by one"] = life("global", shard=as_it_is, saved=folder / "global")
    for name in some(STOPPED):
        saved = life(name, stop=STOP, folder=folder / f"parts of {name}")["state"]
        found[f"{name}, stopped"] = {"state": saved}
        found[f"{name}, gone on"] = life(name, saved=saved)
        found[f"{name}, gone on from parts"] = life(name, saved=(others or folder) / f"parts of {name}")
        found[f"{name}, left by one"] = life(name, saved=folder / name)
    found |= {"scores": scored(sharded), "measured": measured(sharded), "read": read_in_parts(folder)}
    return found | {"said": unlike(folder) | whole_only(folder)}


def as_it_is(model):
    """Not sharded."""
    return model


def scored(shard):
    """Of what passes show, gradients too, and what follows: of all samples in each process, of its own added up."""
    torch.manual_seed(0)
    model, every = shard(tiny_model()), tiny_samples(21)
    model[2].requires_grad_(False)
    looks = [statistic for statistic in STATISTICS.values() if not statistic.wants]
    found = {"all": observe(model, [every], *looks, loss=summed)}
    mine = every.take(processes.share(len(every.targets)))
    found["own"] = processes.add_up(observe(model, [mine], *looks, loss=summed))
    for name, seen in [*found.items()]:
        scores = score(model, CRITERIA["snip"], seen)
        found[f"scores of {name}"] = scores
        found[f"masks of {name}"] = select.everywhere(scores, sparsity=0.6)
    return found | {"left": sum(p.grad is not None for p in model.parameters()), "frozen": not any(
        p.requires_grad for p in model[2].parameters())}  # fmt: skip


def measured(shard):
    """What is counted of a model with zeros, some of them whole rows."""
    model = tiny_model()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_((torch.arange(value.numel()) % 7 - 1.5).view(value.shape))
            value[: len(value) // 2] = 0
    model = shard(model)
    x = tiny_samples(2).inputs
    found = {"flops": measure.flops(model, x), "dead": measure.dead_share(model, x)}
    return found | {row.layer: [row.live_columns, row.rank, row.nuclear_norm] for row in measure.spectrum(model)}


def summed(outputs, batch):
    return nn.functional.cross_entropy(outputs, batch.targets, reduction="sum")


def read_in_parts(folder):
    """How many numbers of weights and of what the optimiser has for them are in this process's memory, once read."""
    run, found = start(replace(tiny_task(), model=lambda: sharded(tiny_model()))), {}
    for way in (f"parts of {STOPPED[0]}", STOPPED[0]):
        state = parts.read(folder / way, run.model, run.optimizer)
        found[f"mapped, {way}"] = str(folder / way) in Path("/proc/self/maps").read_text()
        trained = parts.in_parts(state, run.model, run.optimizer)
        trained = {name: value for name, value in trained.items() if name in ("model", "optimizer")}
        found[way] = sum(processes.own(value).numel() for _, value in parts._tensors(trained))
    return found


def unlike(folder):
    """What is said when the last process has another task, seed, version or state than the others."""
    odd, task = processes.rank() == processes.world() - 1, tiny_task()
    other = replace(task, data=replace(task.data, train=tiny_samples(48, seed=7)))
    with patch.object(torch, "__version__", "1.0" if odd else torch.__version__):
        said = {"torch": says(lambda: start(task))}
    said["data"] = says(lambda: start(other if odd else task))
    said["seed"] = says(lambda: start(task, seed=int(odd)))
    own, later = (folder / f"{name} {processes.rank()}" for name in ("replica", "later"))
    said["resumed"] = says(lambda: start(task, saved=None if odd else own))
    life("global", shard=as_it_is, stop=STOP + 1, folder=later)
    said["step"] = says(lambda: start(task, saved=later if odd else own))
    theirs = folder / f"replica {(processes.rank() + 1) % processes.world()}"
    return said | {"share": says(lambda: life("global", shard=as_it_is, saved=theirs))}


def whole_only(folder):
    """What is said of what needs the whole model."""
    run = start(replace(tiny_task(), model=lambda: sharded(tiny_model())))
    batch, own = run.task.data.train.take(slice(0, 8)), folder / f"own {processes.rank()}"
    return {
        "file": says(lambda: checkpoint.write(own, {"model": run.model.state_dict()})),
        "codec": says(lambda: codec.encode(run.model)),
        "compression": says(lambda: measure.compression(run.model, batch.inputs)),
        "one_shot": says(lambda: one_shot(run.model, [batch.inputs], sparsity=0.5)),
        "low_rank": says(lambda: next(METHODS["low_rank"](run, ranks="2 2", epochs=1))),
        "deep_compression": says(lambda: next(METHODS["deep_compression"](run))),
        "variational_dropout": says(lambda: next(METHODS["variational_dropout"](run))),
        "grasp": says(lambda: saliency.grasp(run.model, batch, summed)),
        "synflow": says(lambda: next(METHODS["at_init"](run, criterion="synflow", samples=1))),
        "gates": says(lambda: WeightGated(run.model, {"0": VariationalDropout(tiny_model()[0].weight)})),
        "apart": says(lambda: shrink(run.model, {}, example=run.task.example)),
    }


STOP = 8  # in the middle of an epoch
STOPPED = ("global", "ticket") if EVERYTHING else ("global",)
EASY = {"first": 0.01, "target": 0.02, "stop": "epochs", "epochs": 3}  # every epoch ends above its mark
LIVES = {
    "global": ("global_activation", EASY | {"cycles": 2, "criterion": "apoz"}),
    "local": ("local_activation", EASY | {"sparsity": 0.5}),
    "snip": ("at_init", {"sparsity": 0.6, "samples": 20, "epochs": 2}),
    "gradual": ("gradual_magnitude", {"begin": 1, "end": 2, "every": 2, "epochs": 3}),
    "rigl": ("sparse_training", {"sparsity": 0.6, "every": 2, "epochs": 3}),
    "ticket": ("lottery_ticket", {"rounds": 2, "round_epochs": 2, "rewind": 0.5}),
    "iterative": ("iterative_magnitude", {"rounds": 2, "first_epochs": 1, "round_epochs": 1}),
    "surgery": ("dynamic_surgery", {"c": "0.3", "dense_epochs": 1, "surgery": 1, "epochs": 2}),
}
LIVES = LIVES if EVERYTHING else {name: LIVES[name] for name in ("global", "snip", "rigl", "ticket", "surgery")}
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
            life(name, stop=STOP, shard=as_it_is, folder=folder / name)
        return folder, together(lives, world, folder, *([of(2)[0]] if world == 3 else []))

    return of


@pytest.fixture(scope="module")
def alone():
    return {name: life(name, shard=as_it_is) for name in LIVES}


@pytest.mark.parametrize(("world", "name"), cases(LIVES))
def test_methods_on_a_sharded_model_end_where_one_process_does(living, alone, world, name):
    for each in living(world)[1]:
        same_end(each[name], alone[name])
        same_metrics(each[name], alone[name])


@pytest.mark.parametrize("world", WORLDS)
def test_replicas_end_where_one_process_does_too(living, alone, world):
    for each in living(world)[1]:
        for how in ("replicas", "replicas, gone on", "replicas, left by one"):
            same_end(each[how], alone["global"])
            same_metrics(each[how], alone["global"])


@pytest.mark.parametrize(("world", "name"), cases(STOPPED))
def test_a_run_that_was_stopped_is_gone_on_with_by_one_process_and_by_several(living, alone, world, name):
    folder, every = living(world)
    for each in every:
        saved = each[f"{name}, stopped"]["state"]
        assert saved["step"] == STOP < each[name]["state"]["step"]
        for layer, sums in checkpoint.read(folder / name)["memory"].get("seen", {}).items():
            close(saved["memory"]["seen"][layer], sums)
        ends = [each[f"{name}, {how}"] for how in ("gone on", "gone on from parts", "left by one")]
        ends += [life(name, lambda model: model, saved=one) for one in (saved, folder / f"parts of {name}")]
        for end in ends:
            same_end(end, alone[name])
            same_metrics(end, alone[name])


@pytest.mark.parametrize("world", WORLDS)
def test_scores_from_gradients_are_those_of_one_process(living, world):
    alone, every = scored(as_it_is), living(world)[1]
    for found in (each["scores"] for each in every):
        assert (found["left"], found["frozen"]) == (0, True)
        for of in ("all", "own"):
            for layer, sums in alone[of].items():
                for name, value in sums.items():
                    torch.testing.assert_close(found[of][layer][name], value, rtol=1e-12, atol=1e-12)
            close(found[f"scores of {of}"], alone[f"scores of {of}"])
            assert all(torch.equal(found[f"masks of {of}"][n], keep) for n, keep in alone["masks of all"].items())
    assert not all(keep.all() for keep in alone["masks of all"].values())


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_counted_is_counted_over_all_parts(living, world):
    alone = measured(as_it_is)
    assert 0 < alone["dead"] < 1
    for each in living(world)[1]:
        found = each["measured"]
        assert (found["flops"], found["dead"]) == (alone["flops"], alone["dead"])
        assert all(found[name] == pytest.approx(alone[name]) for name in ("0", "2", "5"))


@pytest.mark.parametrize("world", WORLDS)
def test_no_process_reads_more_than_its_parts(living, world):
    folder, every = living(world)
    for way in (f"parts of {STOPPED[0]}", STOPPED[0]):
        state = parts.read(folder / way)
        total = sum(t.numel() for name in ("model", "optimizer") for _, t in parts._tensors({"": state[name]}))
        mine = [each["read"][way] for each in every]
        assert sum(mine) == total
        assert max(mine) < total * 0.7
        assert [each["read"][f"mapped, {way}"] for each in every] == [way == STOPPED[0]] * world


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("torch", "cannot train together: torch is '.*' in process 0 and '1.0' in process 1; give all the same"),
        ("data", "task is 'tiny:.*' in process 0 and 'tiny:.*' in process 1"),
        ("seed", "seed is 0 in process 0 and 1 in process 1"),
        ("resumed", "resumed is True in process 0 and False in process 1"),
        ("step", "step is 8 in process 0 and 9 in process 1"),
    ],
)
def test_processes_that_are_not_alike_are_refused(living, case, words):
    first, second = living(2)[1]
    with pytest.raises(InputError, match=words):
        raise InputError(first["said"][case])
    assert second["said"][case].startswith("processes cannot train together: ")


def test_what_one_of_several_has_counted_is_no_other_processes(living):
    folder, (first, second) = living(2)
    for said, who in ((first["said"]["share"], "1 of 2 alone, and this is process 0 of 2"),
                      (second["said"]["share"], "0 of 2 alone, and this is process 1 of 2"),
                      (says(lambda: life("global", as_it_is, saved=folder / "replica 0")),
                       "0 of 2 alone, and this is process 0 of 1")):  # fmt: skip
        assert f"it has counted the samples of process {who}; go on in 2 processes, each from its own" in said


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
    ("case", "words"),
    [
        ("grasp", r"sharded over .*; take the scores of grasp\(\), which goes backward twice, before that, or in one"),
        (
            "synflow",
            r"sharded over .*; take the scores of synflow\(\), which .* before that, or in one process that has",
        ),
        ("gates", "sharded over .*; put gates on it, and decide them, before that, or in one process that has loaded"),
        ("apart", "is sharded over processes"),
        ("file", "write 'model/0.weight' to a file before that"),
        ("codec", "encode it before that"),
        ("compression", "measure its compression before that"),
        ("one_shot", "go over its blocks before that"),
        ("low_rank", "take its weights apart before that"),
        ("deep_compression", "let its weights share values before that"),
        ("variational_dropout", "put gates on it before that"),
    ],
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
