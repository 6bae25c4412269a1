"""Bad input gives one clear error, and leaves the model, the optimiser and every file as they were.

One table: what is tried, and what the error must say. The error names the thing, its value and what to do about it.
"""

import dataclasses
import errno
import gzip
import io
import json
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from sapwood import allocate, checkpoint, schedule, select, stopping
from sapwood.checks import tiny_task
from sapwood.criteria import CRITERIA
from sapwood.criteria import named as criterion_named
from sapwood.data import files, idx
from sapwood.errors import InputError
from sapwood.masking.holding import hold
from sapwood.measure import top_k_correct
from sapwood.methods import METHODS
from sapwood.methods.parts import cycles, phases
from sapwood.methods.presets import preset
from sapwood.scoring.answers import hidden
from sapwood.scoring.criterion import Criterion, score
from sapwood.scoring.observation import observe, observing
from sapwood.scoring.statistics import active, weight_grad
from sapwood.study.study import find
from sapwood.training.loop import evaluate, train
from sapwood.training.run import Run, start
from sapwood.training.task import Batch, Data, Task
from sapwood.trials.execution import run_trial
from sapwood.trials.pool import processes
from sapwood.trials.trial import Trial, parse_option

NAN, INF = float("nan"), float("inf")
DIGITS = partial(Trial.make, "dense", "mlp_digits", 0, epochs=1, stop="epochs")


@dataclasses.dataclass
class Scene:
    """What a case may use: a run in the middle of things, a folder with a checkpoint and a trial in it."""

    run: Run
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def scores(self) -> dict[str, torch.Tensor]:
        return score(self.run.model, CRITERIA["magnitude"], only=hidden(self.run.model))

    def method(self, name: str, **options: object) -> None:
        for _ in METHODS[name](self.run, **options):
            pass

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def without(scene: Scene, **changes: object) -> Task:
    return dataclasses.replace(scene.run.task, **changes)


def bad_scores(scene: Scene, value: float) -> None:
    scores = scene.scores
    scores["0.weight"] = scores["0.weight"].clone()
    scores["0.weight"][1, 2] = value
    select.everywhere(scores, 0.5)


def bad_data(value: float) -> None:
    inputs = torch.ones(4, 6)
    inputs[1, 1] = value
    good = Batch(torch.ones(4, 6), torch.zeros(4, dtype=torch.long))
    Data(good, Batch(inputs, good.targets), good)


def labels(scene: Scene, label: int) -> None:
    data = scene.run.task.data
    without(
        scene, data=Data(data.train, data.valid, Batch(data.test.inputs, torch.full_like(data.test.targets, label)))
    )


def flat_labels(scene: Scene, targets: torch.Tensor) -> None:
    without(scene, data=Data(*[Batch(torch.ones(3, 6), targets)] * 3))


def network(first: int, second: int, classes: int = 3) -> nn.Module:
    """The tiny network with other widths."""
    middle = [nn.Linear(6, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*middle, nn.Linear(second, classes)).double()


def one_layer() -> None:
    hidden(nn.Sequential(nn.Linear(3, 2)))


def mask(
    scene: Scene, name: str = "0.weight", shape: tuple[int, ...] = (8, 6), dtype: torch.dtype = torch.bool
) -> None:
    scene.run.prune({name: torch.zeros(shape, dtype=dtype)})


def foreign_optimizer(scene: Scene) -> None:
    stranger = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    hold(scene.run.model, stranger, {"0.weight": torch.ones(8, 6, dtype=torch.bool)})


def become_with_strangers(scene: Scene) -> None:
    mine = list(scene.run.model.parameters())
    scene.run.become(scene.run.model, torch.optim.SGD([*mine, nn.Parameter(torch.ones(7))], lr=0.1))


def altered(scene: Scene, change: Callable[[bytearray], object]) -> None:
    content = bytearray((scene.folder / "good.safetensors").read_bytes())
    kept = change(content)
    path = scene.file("bad.safetensors", bytes(kept if isinstance(kept, (bytes, bytearray)) else content))
    before = path.read_bytes()
    try:
        start(scene.run.task, 0, saved=path)
    finally:
        assert path.read_bytes() == before
        path.unlink()


def flip(at: int, content: bytearray) -> None:
    content[at] ^= 0x10


def flip_word(content: bytearray) -> None:
    """A digit of the JSON in the header: still a file of the right form, with another step."""
    at = content.index(b'\\"step\\": ') + len(b'\\"step\\": ')
    content[at] = ord("9") if content[at] != ord("9") else ord("8")


def another_run(scene: Scene, seed: int = 0, **changes: object) -> None:
    start(without(scene, **changes), seed, saved=scene.folder / "good.safetensors")


def full_disk(scene: Scene, where: str) -> None:
    """The second half of a write, or the flush after it, finds the disk full; an old checkpoint is in place."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    scene.monkeypatch.setattr(os, where, fail)
    scene.run.save(scene.folder / "good.safetensors")


def disk_full_while_writing(scene: Scene) -> None:
    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    scene.monkeypatch.setattr("builtins.open", lambda *_: Full())
    scene.run.save(scene.folder / "good.safetensors")


def forbidden(scene: Scene) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    scene.monkeypatch.setattr("builtins.open", fail)
    scene.run.save(scene.folder / "good.safetensors")


def unsavable(scene: Scene, key: str, value: object) -> None:
    scene.run.memory[key] = value
    try:
        scene.run.save(scene.folder / "good.safetensors")
    finally:
        del scene.run.memory[key]


def resumed(scene: Scene, **changes: object) -> None:
    """A run that was interrupted inside a call of train goes on with another task of the same data."""
    path = scene.folder / "interrupted.safetensors"
    run = start(tiny_task(), 0)
    next(moments := train(run, steps=9))
    run.save(path)
    moments.close()
    try:
        next(train(start(without(scene, **changes), 0, saved=path), steps=9))
    finally:
        path.unlink()


def trial_of_another_identity(scene: Scene) -> None:
    run_trial(DIGITS(target=0.5), scene.folder / "trial")


def changed_data_under_a_trial(scene: Scene) -> None:
    """The folder has a checkpoint of this very trial, made when the data was different."""
    task = without(scene, name="mlp_digits", batch_size=16)
    scene.monkeypatch.setitem(__import__("sapwood.tasks", fromlist=["TASKS"]).TASKS, "mlp_digits", lambda: task)
    state = checkpoint.read(scene.folder / "good.safetensors")
    path = scene.folder / "trial" / "state.safetensors"
    checkpoint.write(path, state)
    try:
        run_trial(DIGITS(), scene.folder / "trial")
    finally:
        path.unlink()
        (scene.folder / "trial" / "failed").unlink()


def results_is_a_file(scene: Scene) -> None:
    run_trial(DIGITS(), scene.file("occupied", b"words") / "trial")


def missing_data(scene: Scene) -> None:
    scene.monkeypatch.setenv("SAPWOOD_DATA", str(scene.folder / "nothing"))
    scene.monkeypatch.setenv("XDG_CACHE_HOME", str(scene.folder / "nothing either"))
    files.find("mnist", {"a.gz": "0" * 64}, ("http://127.0.0.1:9/",))


def corrupted_data(scene: Scene) -> None:
    (scene.folder / "mnist").mkdir()
    scene.file("mnist/a.gz", b"not what was promised")
    scene.monkeypatch.setenv("SAPWOOD_DATA", str(scene.folder))
    try:
        files.find("mnist", {"a.gz": "0" * 64}, ())
    finally:
        (scene.folder / "mnist" / "a.gz").unlink()
        (scene.folder / "mnist").rmdir()


def torn_idx(scene: Scene) -> None:
    path = scene.file("torn.gz", gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x09" + bytes(9))[:-12])
    try:
        idx.read(path)
    finally:
        path.unlink()


def diverged(scene: Scene) -> None:
    for group in scene.run.optimizer.param_groups:
        group["lr"] = 1e300
    before = standing(scene.run)
    try:
        for _ in train(scene.run, steps=20):
            before = standing(scene.run)
    finally:
        assert standing(scene.run) == before
        assert all(bool(torch.isfinite(p).all()) for p in scene.run.model.parameters())


def wrong_shape(scene: Scene) -> None:
    score(scene.run.model, Criterion(lambda w_OI, seen: w_OI[0]), only=["0"])


# fmt: off
CASES: dict[str, tuple[Callable[[Scene], object], str]] = {
    # scores and selection
    "NaN score": (lambda s: bad_scores(s, NAN), r"scores of '0.weight' hold NaN or infinite values; check"),
    "infinite score": (lambda s: bad_scores(s, INF), r"scores of '0.weight' hold NaN or infinite values; check"),
    "no scores": (lambda s: select.everywhere({}, 0.5), r"no scores were given"),
    "sparsity below 0": (lambda s: select.everywhere(s.scores, -0.1), r"sparsity is -0.1; .* \[0, 1\)"),
    "sparsity 1": (lambda s: select.everywhere(s.scores, 1.0), r"sparsity is 1.0; .* \[0, 1\)"),
    "sparsity above 1": (lambda s: select.per_layer(s.scores, 80), r"sparsity is 80; .* \[0, 1\)"),
    "sparsity NaN": (lambda s: select.everywhere(s.scores, NAN), r"sparsity is nan; .* \[0, 1\)"),
    "sparsity True": (lambda s: select.everywhere(s.scores, True), r"sparsity is True; .* \[0, 1\)"),
    "sparsity in words": (lambda s: select.everywhere(s.scores, "0.5"), r"sparsity is '0.5'; .* \[0, 1\)"),
    "a layer without its sparsity": (lambda s: select.per_layer(s.scores, {"0.weight": 0.5}), r"unknown .*'2.weight'"),
    "more than there is": (lambda s: select.drop(s.scores, 999), r"asked to remove 999 of 112 removable entries; ask for 0\.\.112"),
    "count outside": (lambda s: select.by_count(s.scores, {"0.weight": 49, "2.weight": 1}), r"count 49 for '0.weight' is outside 0\.\.48"),
    "unknown ties": (lambda s: select.drop(s.scores, 3, ties="first stay"), r"unknown ties 'first stay'; did you mean 'first stays'\?"),
    "among of another shape": (lambda s: select.everywhere(s.scores, 0.5, among={"0.weight": torch.ones(2, dtype=torch.bool)}), r"among\['0.weight'\] has shape \(2,\)"),
    "3 of 2": (lambda s: select.n_of_m(s.scores, 3, 2), r"n of m is 3 of 2; n must lie in 1\.\.m"),
    "blocks that do not divide": (lambda s: select.n_of_m(s.scores, 2, 4), r"'0.weight' has 6 scores .* not a multiple of m=4"),
    "threshold NaN": (lambda s: select.above(s.scores, NAN), r"threshold is nan; give a finite number"),
    "a cost that is NaN": (lambda s: select.within(s.scores, lambda keep: NAN, 4.0), "a cost of 4 cannot be met: nan of nan remain .* give a larger limit"),
    "limit out of reach": (lambda s: select.within(s.scores, lambda keep: 5.0, 4.0), "a cost of 4 cannot be met: 5 of 5 remain .* give a larger limit"),
    # data and tasks
    "NaN data": (lambda s: bad_data(NAN), r"valid split's inputs hold 1 NaN or infinite values; clean"),
    "infinite data": (lambda s: bad_data(-INF), r"valid split's inputs hold 1 NaN or infinite values; clean"),
    "empty split": (lambda s: Data(*[Batch(torch.ones(0, 2), torch.ones(0))] * 3), r"train split is empty: inputs \(0, 2\); give at least one"),
    "unpaired split": (lambda s: Data(*[Batch(torch.ones(3, 2), torch.ones(2))] * 3), r"train split has 3 inputs but 2 targets"),
    "label too high": (lambda s: labels(s, 3), r"test labels run from 3 to 3; with 3 classes they must lie in 0\.\.2"),
    "label too low": (lambda s: labels(s, -1), r"test labels run from -1 to -1; with 3 classes"),
    "labels of fractions": (lambda s: flat_labels(s, torch.ones(3)), r"train labels are torch.float32 of shape \(3,\); give one torch.int64"),
    "labels by row": (lambda s: flat_labels(s, torch.ones(3, 1).long()), r"train labels are torch.int64 of shape \(3, 1\); give one"),
    "more labels than outputs": (lambda s: next(train(start(without(s, model=lambda: network(8, 8, 2))), steps=1)), r"labels run from 0 to 2, but the network has 2 outputs; give it one for each class"),
    "batch size 0": (lambda s: without(s, batch_size=0), r"batch_size is 0; give a whole number, at least 1"),
    "batch size 2.5": (lambda s: without(s, batch_size=2.5), r"batch_size is 2.5; give a whole number"),
    "seed in words": (lambda s: start(s.run.task, "one"), r"seed is 'one'; give a whole number of 0 or more"),
    "unknown device": (lambda s: start(s.run.task, device="gpu"), r"device 'gpu' is none that torch knows; give 'cpu'"),
    "no batches": (lambda s: observe(s.run.model, [], active), r"observe\(\) was given no batches; give at least one"),
    "missing data": (missing_data, r"nothing.*nothing either.*--download"),
    "corrupted data": (corrupted_data, r"a.gz.*(?:sha|SHA|checksum).*"),
    "torn gz": (torn_idx, r"torn.gz"),
    "not idx": (lambda s: idx.decode(b"\x01\x02\x08\x01" + bytes(20), source="a file"), r"a file"),
    # models, layers, evidence
    "nothing to prune": (lambda s: hidden(nn.Sequential(nn.ReLU())), r"Sequential has no Linear or Conv layer, so there is nothing to prune"),
    "an output layer only": (lambda s: one_layer(), r"one prunable layer only, its output; name the layers with only="),
    "unknown layer": (lambda s: score(s.run.model, CRITERIA["magnitude"], only=["hidden"]), r"unknown layer 'hidden'; known: 0, 2, 5"),
    "evidence missing": (lambda s: score(s.run.model, CRITERIA["apoz"], only=["0"]), r"needs statistic 'active' of layer '0'; gather it"),
    "scores of the wrong shape": (wrong_shape, r"gave layer '0' scores of shape \(6,\); per='weight' means \(8, 6\)"),
    "scores of nothing": (lambda s: score(s.run.model, Criterion(lambda w_OI, seen: None), only=["0"]), r"gave layer '0' scores of shape NoneType; per='weight'"),
    "gradients while observing": (lambda s: observing(s.run.model, weight_grad).__enter__(), r"'weight_grad' looks at gradients; use observe"),
    "gradients without a loss": (lambda s: observe(s.run.model, [s.run.task.data.test], weight_grad), r"give observe\(\) a loss"),
    "logits too few": (lambda s: top_k_correct(torch.rand(4, 2), torch.tensor([0, 1, 2, 1]), 1), r"2"),
    # masks and optimisers
    "mask of another shape": (lambda s: mask(s, shape=(6, 8)), r"mask '0.weight' has shape \(6, 8\); its parameter has \(8, 6\)"),
    "mask of numbers": (lambda s: mask(s, dtype=torch.float32), r"mask '0.weight' is torch.float32; a mask is a tensor of torch.bool"),
    "mask that is a list": (lambda s: s.run.prune({"0.weight": [True]}), r"mask '0.weight' is list; a mask is a tensor of torch.bool"),
    "weights of another network": (lambda s: s.run.rewind(dict(network(9, 8).state_dict())), r"another network: '0.bias' has shape \(9,\), this network's has \(8,\)"),
    "a weight missing": (lambda s: s.run.rewind({n: v for n, v in s.run.model.state_dict().items() if n != "2.bias"}), r"another network: '2.bias' has shape None"),
    "mask of nothing": (lambda s: mask(s, "0.weigth"), r"unknown parameter in masks '0.weigth'; did you mean '0.weight'\?"),
    "mask under another optimiser": (foreign_optimizer, r"'0.weight' is masked but not in the optimiser; pass the optimiser that trains it"),
    "optimiser with strangers": (become_with_strangers, r"trains parameters of shape \[\(7,\)\] that are not the model's"),
    # training and methods
    "epochs and steps": (lambda s: next(train(s.run, epochs=1, steps=1)), r"epochs or steps, one of them; got epochs=1, steps=1"),
    "neither epochs nor steps": (lambda s: next(train(s.run)), r"got epochs=None, steps=None"),
    "negative steps": (lambda s: next(train(s.run, steps=-1)), r"asked for -1 steps; give a whole number, 0 or more"),
    "half a step": (lambda s: next(train(s.run, steps=1.5)), r"asked for 1.5 steps; give a whole number"),
    "unknown split": (lambda s: evaluate(s.run, "vaild"), r"unknown split 'vaild'; did you mean 'valid'\?"),
    "no probe in a method": (lambda s: s.method("local_activation", probe=0), r"probe is 0; give the number of training samples"),
    "no probe in the other method": (lambda s: s.method("global_activation", probe=0), r"probe is 0; give the number"),
    "negative plateau": (lambda s: s.method("local_activation", plateau=-1), r"plateau is -1; give the epochs to wait"),
    "negative wait": (lambda s: s.method("global_activation", wait=-1), r"wait is -1; give the epochs after which a"),
    "target 0": (lambda s: s.method("dense", target=0.0), r"target is 0.0; .* \(0, 1\]"),
    "target 98": (lambda s: s.method("global_activation", target=98.0), r"target is 98.0; .* \(0, 1\]"),
    "no cycles": (lambda s: s.method("global_activation", cycles=0), r"cycles is 0; give at least 1"),
    "all of it": (lambda s: s.method("global_activation", sparsity=1.0), r"1.0; .*\[0, 1\)"),
    "all of a layer": (lambda s: s.method("local_activation", sparsity=1.0), r"1.0; .*\[0, 1\)"),
    "unknown criterion": (lambda s: s.method("local_activation", criterion="activty"), r"unknown criterion 'activty'; did you mean 'activity'\?"),
    "unknown source": (lambda s: s.method("global_activation", source="streem"), r"unknown source 'streem'; did you mean 'stream'\?"),
    "unknown rule": (lambda s: s.method("dense", stop="spike"), r"unknown stopping rule 'spike'; did you mean 'spikes'\?"),
    "empty probe": (lambda s: cycles.probe(s.run, CRITERIA["activity"], ["0"], 0), r"probe is 0; give the number of training samples"),
    "a ramp that ends before it begins": (lambda s: s.method("gradual_magnitude", begin=3.0, end=2.0), r"begin=3.0, end=2.0, epochs=40: need"),
    "unknown scope": (lambda s: s.method("gradual_magnitude", scope="layer"), r"unknown scope 'layer'; did you mean 'per_layer'\?"),
    "diverged": (diverged, r"loss is (nan|inf) at step \d+; lower the learning rate"),
    "unknown preset": (lambda s: preset("paper_global"), r"unknown preset 'paper_global'; did you mean 'paper-global'\?"),
    "unknown named criterion": (lambda s: criterion_named("wand"), r"unknown criterion 'wand'"),
    # schedules, allocation, stopping
    "density 0": (lambda s: allocate.erk({"w": (3, 4)}, 0.0), r"density is 0.0"),
    "unknown allocation": (lambda s: allocate.named("ekr"), r"unknown allocation 'ekr'; did you mean 'er'\?"),
    "unknown schedule": (lambda s: schedule.named("polynom"), r"unknown schedule 'polynom'; did you mean 'polynomial'\?"),
    "unknown shares": (lambda s: schedule.shares_named("geometrc"), r"unknown shares 'geometrc'; did you mean 'geometric'\?"),
    "schedule backwards": (lambda s: schedule.polynomial(9, 3, 1, 0.5), r"begin is 9 and end is 3"),
    "schedule to 1": (lambda s: schedule.linear(0, 3, 1, 1.0), r"final is 1.0; give a sparsity"),
    "watching NaN": (lambda s: stopping.spiked({}, NAN), r"watched value is NaN"),
    "ending at 2": (lambda s: phases.ending(target=2.0, stop="none"), r"target is 2.0"),
    # checkpoints
    "no checkpoint": (lambda s: start(s.run.task, saved=s.folder / "none"), r"there is no checkpoint at .*none"),
    "empty checkpoint": (lambda s: altered(s, lambda c: b""), r"bad.safetensors is not a readable checkpoint .*delete it"),
    "truncated checkpoint": (lambda s: altered(s, lambda c: c[: len(c) // 2]), r"bad.safetensors is not a readable checkpoint"),
    "a picture": (lambda s: altered(s, lambda c: b"\x89PNG\r\n" + bytes(200)), r"bad.safetensors is not a readable checkpoint"),
    "somebody else's file": (lambda s: altered(s, lambda c: __import__("safetensors.torch").torch.save({"w": torch.ones(2)})), r"was not written by this version of sapwood: its format is None"),
    "a flipped bit in a tensor": (lambda s: altered(s, partial(flip, -3)), r"bad.safetensors is damaged: its content does not match its digest"),
    "a flipped digit in the words": (lambda s: altered(s, flip_word), r"bad.safetensors is damaged|not a readable"),
    "checkpoint of another seed": (lambda s: another_run(s, seed=1), r"seed 0; this run is .* seed 1; .*Start in another folder"),
    "checkpoint of another task": (lambda s: another_run(s, batch_size=4), r"has the data or the task changed\?"),
    "a reserved key": (lambda s: unsavable(s, "kept", {"__tensor__": 1}), r"cannot hold the key '__tensor__' of 'memory/kept': .* rename it"),
    "checkpoint of another network": (lambda s: resumed(s, model=lambda: network(8, 9)), r"weights are of another network: '2.bias' has shape \(8,\), this network's has \(9,\)"),
    "checkpoint of another optimiser": (lambda s: resumed(s, optimizer=torch.optim.Adam), r"not of this optimiser, Adam with 1 parameter groups; .*delete the checkpoint"),
    "checkpoint of other parameter groups": (lambda s: resumed(s, optimizer=lambda p: torch.optim.SGD([{"params": [each]} for each in p], lr=0.1)), r"not of this optimiser, SGD with 6 parameter groups"),
    "memory that cannot be saved": (lambda s: unsavable(s, "model", s.run.model), r"cannot hold 'memory/model': it is a Sequential; keep tensors, numbers"),
    "disk full": (lambda s: full_disk(s, "fsync"), r"cannot write .*good.safetensors: No space left on device; free some space"),
    "disk full while writing": (disk_full_while_writing, r"cannot write .*good.safetensors: No space left on device; free some space"),
    "cannot rename": (lambda s: full_disk(s, "replace"), r"cannot write .*good.safetensors: No space left"),
    "not allowed to write": (forbidden, r"cannot write .*good.safetensors: Permission denied; .*folder that can be written"),
    # trials and studies
    "unknown method": (lambda s: Trial.make("dens", "mlp_digits", 0), r"unknown method 'dens'; did you mean 'dense'\?"),
    "unknown task": (lambda s: Trial.make("dense", "mlp_digit", 0), r"unknown task 'mlp_digit'; did you mean 'mlp_digits'\?"),
    "unknown option": (lambda s: Trial.make("dense", "mlp_digits", 0, epoch=3), r"'epoch'; did you mean 'epochs'\?"),
    "option of the wrong type": (lambda s: Trial.make("dense", "mlp_digits", 0, epochs=2.5), r"option 'epochs' of method 'dense' is 2.5; it must be int"),
    "option typed wrongly": (lambda s: parse_option("dense", "epochs", "many"), r"option 'epochs' of method 'dense' is 'many'; it must be int"),
    "option NaN": (lambda s: Trial.make("dense", "mlp_digits", 0, target=NAN), r"option 'target' of method 'dense' is nan; give a finite"),
    "negative seed": (lambda s: Trial.make("dense", "mlp_digits", -1), r"seed is -1; give a whole number"),
    "unknown scale": (lambda s: find("quickstart").at("smal"), r"unknown scale 'smal'; did you mean 'small'\?"),
    "no workers": (lambda s: processes(0), r"workers is 0; give at least 1"),
    "unknown study": (lambda s: find("quick-start"), r"unknown study 'quick-start'; did you mean 'quickstart'\?"),
    "trial of another identity": (trial_of_another_identity, r"holds another trial.*use another results folder"),
    "changed data under a trial": (changed_data_under_a_trial, r"has the data or the task changed\?"),
    "results folder is a file": (results_is_a_file, r"cannot make the folder .*occupied.trial: Not a directory; choose another results folder"),
}
# fmt: on


@pytest.fixture
def scene(tmp_path, monkeypatch):
    run = start(tiny_task(), 0)
    for now in train(run, steps=9):
        if now.step == 5:
            run.prune(select.everywhere(score(run.model, CRITERIA["magnitude"], only=hidden(run.model)), 0.25))
    run.save(tmp_path / "good.safetensors")
    (tmp_path / "trial").mkdir()
    trial = DIGITS()
    about = {"id": trial.id, "row": trial.arm, "method": trial.method, "task": trial.task, "seed": trial.seed}
    words = about | {"options": trial.all_options(), "identity": trial.identity, "provenance": [], "data": ""}
    (tmp_path / "trial" / "trial.json").write_text(json.dumps(words))
    return Scene(run, tmp_path, monkeypatch)


def standing(run: Run) -> str:
    """A digest of the network, its optimiser's state and its masks."""
    optimizer = {str(i): state for i, state in run.optimizer.state_dict()["state"].items()}
    tree = {"model": dict(run.model.state_dict()), "masks": run.masks, "optimizer": optimizer}
    hooks = [name for name, module in run.model.named_modules() if module._forward_hooks]
    return checkpoint.fingerprint(tree | {"hooks": hooks})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "occupied"
    }


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case, scene):
    action, says = CASES[case]
    model, kept = standing(scene.run), contents(scene.folder)
    with pytest.raises(InputError, match=says) as caught:
        action(scene)
    scene.monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert case == "diverged" or standing(scene.run) == model
    assert contents(scene.folder) == kept


def test_the_table_is_long_and_the_scene_is_sound(scene):
    """The same steps without the fault do not raise: what the cases catch is the fault."""
    assert len(CASES) >= 45
    assert math.isclose(scene.run.sparsity(), 28 / 136)
    start(scene.run.task, 0, saved=scene.folder / "good.safetensors")
    scene.run.save(scene.folder / "good.safetensors")
    select.everywhere(scene.scores, 0.5)
