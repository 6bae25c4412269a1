"""Bugs planted in networks that are rebuilt: what they are said to be, their files, resuming around the cut."""

from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead

from sapwood import checkpoint, declares, export, sites, train
from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_conv_task
from sapwood.methods import METHODS
from sapwood.tasks import TASKS
from sapwood.training.apart import Apart
from sapwood.training.declared import Declared
from sapwood.training.run import Run, start
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

slimming, compressing, rebuild, running, trials, ending, network = (
    import_module(f"sapwood.{name}")
    for name in ("methods.network_slimming", "methods.deep_compression", "training.rebuild", "training.run",
                 "trials.execution", "trials.final", "export.network")
)  # fmt: skip
shrink, fewest, cloned = rebuild.shrink, slimming.fewest, running.cloned
size_of, cut, loaded, become = Run.size, Run.shrink, Run._load, Run.become
SLIM = {"macs": 0.6, "strength": 1e-2, "epochs": 1, "tune": 1, "task": tiny_conv_task()}

TOLD = "the size that is told is that of the network that was built, also after resuming"
AROUND = "interrupted just before rebuilding and resumed: the same bits"
SET = "a state saved after the cut, once the new optimiser has its settings, is gone on from with the same bits"
AFTER = "interrupted just after rebuilding and resumed: the same bits"


def slimming_laws():
    """Two convolutions lose channels after three steps of training."""
    return method.laws("network_slimming", METHODS["network_slimming"], **SLIM)


@declares("rebuilds")
def slowed(run, *, macs: float = 0.9):
    """Trains, cuts twice, sets a tenth of the learning rate without remembering anything, trains on."""
    found = sites(run.apart.several)
    yield from train(run, steps=2)
    for site in found[:2]:
        run.shrink({site.name: torch.arange(site.units) > 0}, [each for each in found if each.name == site.name])
        found = sites(run.apart.several)
    for group in run.optimizer.param_groups:
        group["lr"] *= 0.1
    if run.pruning is not None:
        run.pruning(run, {})
    yield from train(run, steps=3)


def slowed_laws():
    """Two cuts in a row, and settings of the new optimiser that are nowhere but in the method's code."""
    return method.laws("slowed", slowed) | {f"method slowed: {SET}": _gone_on_from}


def _gone_on_from() -> None:
    undisturbed, states = start(tiny_conv_task()), []
    undisturbed.pruning = lambda run, masks: states.append(checkpoint.decode(checkpoint.encode(run.state())))
    list(slowed(undisturbed))
    again = start(tiny_conv_task(), saved=states[-1])  # the others were saved at the cuts
    list(slowed(again))
    ends = [checkpoint.fingerprint(run.state()) for run in (undisturbed, again)]
    demand(ends[0] == ends[1], "another end")


def compression_laws():
    """Weights are shared, in a training that moves none of them."""
    options = {"rounds": 1, "first_epochs": 1, "round_epochs": 1, "share_epochs": 1, "bits": "1", "sparsity": 0.5}
    return method.laws("deep_compression", METHODS["deep_compression"], **options)


def trial_laws() -> Laws:
    """Of a trial that halved its multiply-adds, and of one that begins with the network that it left."""
    return {
        "trial rebuilt: its last rows tell the size of the network in its file": lambda: _rows(_slim()),
        "trial rebuilt: another one that starts from it begins with that network": _started,
        "trial rebuilt: resumed after the cut, it tells the size that it began with": _resumed,
    }


def _slim(**uses):
    epochs = {"epochs": 1, "tune": 1} if not uses else {"epochs": 0, "tune": 0}
    return Trial.make("network_slimming", "conv_digits", 0, macs=0.5, strength=0.0, initial=0.0, **epochs).after(**uses)


def _results(*chain, folder):
    for trial in chain:
        trials.run_into(folder, trial)
        yield {row.metric: row.value for row in read_rows(folder / trial.id / "rows.jsonl") if row.split == "network"}


def _rows(trial):
    with TemporaryDirectory() as folder:
        [told] = _results(trial, folder=Path(folder))
        small, was = _left(Path(folder) / trial.id), TASKS["conv_digits"]().model()
    numbers = [sum(p.numel() for p in model.parameters()) for model in (small, was)]
    demand(told["parameters"] == numbers[0], f"{told['parameters']} parameters are told, {numbers[0]} are in the file")
    said = told["memory_ratio"], told["flops_dense_ratio"]
    demand(min(said) > 1.3, f"half of the multiply-adds are gone, and what is told is {said} times smaller")


def _started():
    first = _slim()
    with TemporaryDirectory() as folder:
        *_, told = _results(first, _slim(start=first), folder=Path(folder))
        small = _left(Path(folder) / first.id)
    weights = sum(p.numel() for p in small.parameters() if p.dim() > 1)
    demand(
        told["weights"] == weights, f"it has {told['weights']} weights, and {weights} are in the file it begins with"
    )


def _resumed():
    task, saves = TASKS["conv_digits"](), []
    run = start(task, 0)
    run.between = lambda run: saves.append(checkpoint.encode(run.state())) if run.cuts else None
    options = {"macs": 0.5, "epochs": 0, "tune": 1}
    for now in METHODS["network_slimming"](run, **options):
        if now.step == 3:
            break
    run = start(task, 0, saved=checkpoint.decode(saves[-1]))
    for _ in METHODS["network_slimming"](run, **options):
        break
    whole = sum(p.numel() for p in task.model().parameters())
    demand(run.reference.parameters == whole, f"it says that it began with {run.reference.parameters}, not {whole}")
    left, most = run.cuts[0].size.macs, run.reference.macs / 2
    demand(left <= most, f"{left} multiply-adds are told of the cut, and {most:.0f} were asked for")


def _left(folder):
    path = folder / "weights.safetensors"
    try:
        return export.load(path, TASKS["conv_digits"]().model)
    except Exception as error:
        raise AssertionError(f"its file gives no network: {error}") from error


def other_units(model, keep, sites, **options):
    return shrink(model, {name: kept.flip(0) for name, kept in keep.items()}, sites, **options)


def apart_for_good(run, model, optimizer=None):
    before = run.apart
    become(run, model, optimizer)
    run.apart = before


def remembered_without_catching_up(run, name, compute):
    kept = run.memory.setdefault("remembered", {})
    if name not in kept:
        kept[name] = cloned(compute())
    return cloned(kept[name])


def keep_anew(run, keep, sites):
    with patch.object(Run, "remember", lambda run, name, compute: compute()):
        return cut(run, keep, sites)


def masks_alone(run, folder):
    state = run.task.model().state_dict()
    checkpoint.write(folder / "weights.safetensors", {"model": state, "masks": {}})


def larger(units, cost, limit):
    return fewest(units, cost, 1.4 * limit)


def with_the_optimizer(run, saved, optimizer):
    loaded(run, saved, True)


MUTANTS = (
    *bugs("method network_slimming", slimming_laws, {
        "it does to the network what it declares": {
            "a method that rebuilds is held to the laws of masks":
                instead(method, "declared", lambda of: Declared(("masks",), {}, said=False)),
        },
        "the network is rebuilt, and costs no more than was asked for": {
            "channels go until too much is left": instead(slimming, "fewest", larger),
        },
        "the network with its units at 0 answers, in evaluation, as the one that is built": {
            "as many units go, but others": instead(rebuild, "shrink", other_units),
        },
        TOLD: {
            "sizes are compared with what the network is now": instead(Run, "reference", property(size_of)),
            "the size told of a cut is that of the network with zeros": instead(Run, "size", lambda run: run.reference),
            "a network is taken apart once, whatever becomes of it": instead(Run, "become", apart_for_good),
            "a network that was rebuilt counts as the first": instead(Apart, "first", property(lambda apart: True)),
            "sparsity counts zeros of what is left": instead(running, "weights_in", lambda shapes: 0),
        },
        "a file of the network loads to the same outputs": {
            "a file says the sizes of the network begun with": instead(network, "changes", lambda original, small: []),
        },
        AROUND: {
            "what a run has saved is not there yet when it decides": instead(Run, "remember",
                                                                           remembered_without_catching_up),
        },
        "interrupted before any step and resumed: the same bits": {
            "units are chosen anew by the untrained network of a resumed run": instead(Run, "shrink", keep_anew),
        },
    }),
    *bugs("method slowed", slowed_laws, {
        AFTER: {
            "a state saved after the cut is loaded when training begins": instead(running, "saved_between",
                                                                                  lambda state: False),
        },
        SET: {"the new optimiser's settings are loaded, and set again": instead(Run, "_load", with_the_optimizer)},
        "interrupted before any step and resumed: the same bits": {
            "whatever was saved is loaded after the cut": instead(running, "saved_between",
                                                                  lambda state: state is not None),
        },
    }),
    *bugs("method deep_compression", compression_laws, {
        "weights become what was solved for, even where training moves none": {
            "weights are not put to their shared values": instead(compressing, "Sharing", lambda *_: nullcontext()),
        },
    }),
    *bugs("trial rebuilt", trial_laws, {
        "its last rows tell the size of the network in its file": {
            "a trial's file holds the network that its task begins with": instead(trials, "leave", masks_alone),
            "ratios are those of a network with zeros": instead(ending, "_as_begun", lambda run: run.model),
        },
        "another one that starts from it begins with that network": {
            "a trial that starts from a rebuilt one begins with its task's": instead(trials, "_begin",
                                                                                   lambda run, given: None),
        },
        "resumed after the cut, it tells the size that it began with": {
            "the reference is forgotten when a run is resumed": instead(Run, "reference", property(size_of)),
        },
    }),
)  # fmt: skip
