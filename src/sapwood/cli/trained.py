"""Trained: the network that a trial's folder or a run's checkpoint holds, with its task and masks."""

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sapwood import checkpoint, disk, schema
from sapwood import masks as mask
from sapwood.errors import InputError
from sapwood.run import fingerprint
from sapwood.samples import Inputs
from sapwood.shrinking.shrink import Shrunk, compact
from sapwood.study.folder import LEFT_PARTS, WEIGHTS, finished, over, read_trial, tells_its_network, weights_of
from sapwood.study.left import built, filled
from sapwood.study.trial import Value, split_recipe
from sapwood.task import Task
from sapwood.tasks import TASKS
from sapwood.tasks.recipe import with_recipe

SAVED = schema.record(LEFT_PARTS | {"task": schema.text}, rest=lambda value, where: None)


class Trained(NamedTuple):
    """A network as its training left it."""

    task: Task
    model: nn.Module
    masks: dict[str, Tensor]
    hidden: str = ""  # the width of its own that the trial's recipe gave it
    rebuilt: Path | None = None  # the file that tells how, where its method has rebuilt it

    @property
    def make(self) -> str:
        """The code of what makes the network that its task begins with, for who loads it."""
        task = f"TASKS[{self.task.name!r}]()"
        return (
            f"sapwood.tasks.recipe.with_recipe({task}, hidden={self.hidden!r}).model"
            if self.hidden
            else f"{task}.model"
        )

    @property
    def make_this(self) -> str:
        """The code of what makes a network of these very sizes."""
        return f"lambda: sapwood.export.load({str(self.rebuilt)!r}, {self.make})" if self.rebuilt else self.make

    def original(self) -> nn.Module:
        """The network that its task begins with, untrained."""
        return self.task.model() if self.rebuilt else self.model

    def example(self, samples: int) -> Inputs:
        """As many samples of the test split, or of copies of it."""
        test = self.task.data.test
        return test.take(torch.arange(samples) % len(test)).inputs

    def masked(self) -> nn.Module:
        """The network at its full size, with zeros where the masks say so."""
        network = deepcopy(self.model)
        mask.apply_(dict(network.named_parameters()), self.masks)
        return network

    def compacted(self) -> Shrunk:
        """The network without the units that its zeros have made useless."""
        return compact(self.model, self.masks, example=self.example(2))


def trained(source: Path) -> Trained:
    """What is found at `source`: the folder of a finished trial, its weights.safetensors, or what `Run.save` wrote."""
    folder = source.parent if source.name == WEIGHTS else source
    if disk.there(folder / "trial.json"):
        return _of_trial(folder)
    if os.path.isfile(source):
        return _of_checkpoint(source)
    raise InputError(_no_source(source))


def _of_trial(folder: Path) -> Trained:
    about = read_trial(folder)
    if not finished(folder):
        state = folder / "state.safetensors"
        why = "only its rows were kept, not its weights" if over(folder) else "it is not finished"
        now = f", or give {state} for the network as it is now" if disk.there(state) else ""
        raise InputError(f"the trial in {folder} has no final network: {why}; run it (see: sapwood run --help){now}")
    recipe = _recipe(about)
    task, masks = _task(str(folder), about["task"], about["data"], recipe), weights_of(folder)["masks"]
    return _masked_as(
        Trained(
            task,
            built(folder, task.model, task.name),
            masks,
            str(recipe.get("hidden", "")),
            folder / WEIGHTS if tells_its_network(folder) else None,
        )
    )


def _of_checkpoint(file: Path) -> Trained:
    try:
        tree = checkpoint.read(file)
        SAVED(tree, "it")
    except (InputError, schema.Unexpected) as error:
        why = str(error).partition(";")[0]  # what else it says is to delete it
        raise InputError(
            f"{file} is no whole checkpoint of a run: {why}; "
            "give the folder of a finished trial, results/STUDY/ID, or a file that Run.save wrote"
        ) from error
    recipe = _recipe(read_trial(file.parent)) if disk.there(file.parent / "trial.json") else {}
    task = _task(str(file), tree["task"].partition(":")[0], tree["task"], recipe)
    model = filled(task.model(), tree["model"], str(file), task.name)
    return _masked_as(Trained(task, model, tree["masks"], str(recipe.get("hidden", ""))))


def _recipe(about: Mapping[str, Any]) -> dict[str, Value]:
    """What a trial changes of its task."""
    return dict(about["identity"].get("recipe", {}))


def _task(origin: str, name: str, data: str, recipe: dict[str, Value]) -> Task:
    """The task under the recipe; InputError if its data is not what there was."""
    if name not in TASKS:
        raise InputError(f"{origin} is of task {name!r}, which is not in sapwood's table: use sapwood.export.save and "
                         f"its like in Python, where the task is known; known: {', '.join(TASKS)}")  # fmt: skip
    task = with_recipe(TASKS[name](), **split_recipe(recipe)[0])
    if fingerprint(task) != data:
        raise InputError(f"the data or the recipe of task {name!r} is not what {origin} was made with; run it again")
    return task


def _masked_as(found: Trained) -> Trained:
    """The same, if the masks are of this network."""
    mask.validate(found.masks, dict(found.model.named_parameters()))
    return found


def _no_source(source: Path) -> str:
    if not disk.there(source):
        return f"there is no {source}; give the folder of a finished trial, results/STUDY/ID, or a run's checkpoint"
    trials = sorted(path.parent for path in source.glob("*/trial.json"))
    if not trials:
        return f"{source} is not the folder of a trial; give results/STUDY/ID, or a run's checkpoint"
    said = [f"{folder} ({read_trial(folder)['row']}, seed {read_trial(folder).get('seed')})" for folder in trials[:3]]
    more = f" and {len(trials) - 3} more" if len(trials) > 3 else ""
    return f"{source} is a folder of trials; give one of them: {', '.join(said)}{more}"
