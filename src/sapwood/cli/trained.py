"""Trained: the network that a trial's folder or a run's checkpoint holds, with its task and masks."""

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sapwood import disk, schema
from sapwood.errors import InputError
from sapwood.masking import masks as mask
from sapwood.shrinking.shrunk import Shrunk, compact
from sapwood.tasks import TASKS
from sapwood.tasks.recipe import with_recipe
from sapwood.training import checkpoint
from sapwood.training.run import fingerprint
from sapwood.training.task import Task
from sapwood.trials.folder import LEFT_PARTS, finished, over, read_trial, weights_of
from sapwood.trials.trial import Value, split_recipe

SAVED = schema.record(LEFT_PARTS | {"task": schema.text}, rest=lambda value, where: None)


class Trained(NamedTuple):
    """A network as its training left it."""

    task: Task
    model: nn.Module
    masks: dict[str, Tensor]
    hidden: str = ""  # the width of its own that the trial's recipe gave it

    @property
    def make(self) -> str:
        """The code of what makes such a network, for who loads it."""
        task = f"TASKS[{self.task.name!r}]()"
        return (
            f"sapwood.tasks.recipe.with_recipe({task}, hidden={self.hidden!r}).model"
            if self.hidden
            else f"{task}.model"
        )

    def example(self, samples: int) -> Tensor:
        """As many samples of the test split, or of copies of it."""
        inputs = self.task.data.test.inputs
        return inputs[torch.arange(samples) % len(inputs)]

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
    folder = source.parent if source.name == "weights.safetensors" else source
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
    saved = weights_of(folder)
    return _put_together(str(folder), about["task"], about["data"], saved, _recipe(about))


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
    name, parts = tree["task"], {part: tree[part] for part in ("model", "masks")}
    recipe = _recipe(read_trial(file.parent)) if disk.there(file.parent / "trial.json") else {}
    return _put_together(str(file), name.partition(":")[0], name, parts, recipe)


def _recipe(about: Mapping[str, Any]) -> dict[str, Value]:
    """What a trial changes of its task."""
    return dict(about["identity"].get("recipe", {}))


def _put_together(origin: str, name: str, data: str, saved: dict[str, Any], recipe: dict[str, Value]) -> Trained:
    if name not in TASKS:
        raise InputError(f"{origin} is of task {name!r}, which is not in sapwood's table: use sapwood.export.save and "
                         f"its like in Python, where the task is known; known: {', '.join(TASKS)}")  # fmt: skip
    task = with_recipe(TASKS[name](), **split_recipe(recipe)[0])
    if fingerprint(task) != data:
        raise InputError(f"the data or the recipe of task {name!r} is not what {origin} was made with; run it again")
    model = task.model()
    try:
        model.load_state_dict(saved["model"])
    except RuntimeError as error:
        raise InputError(
            f"{origin} holds another network than task {name!r} begins with, so its method has rebuilt it "
            f"({str(error).strip().splitlines()[-1].strip()}); such a network is shrunk and exported in Python"
        ) from error
    mask.validate(saved["masks"], dict(model.named_parameters()))
    return Trained(task, model, saved["masks"], str(recipe.get("hidden", "")))


def _no_source(source: Path) -> str:
    if not disk.there(source):
        return f"there is no {source}; give the folder of a finished trial, results/STUDY/ID, or a run's checkpoint"
    trials = sorted(path.parent for path in source.glob("*/trial.json"))
    if not trials:
        return f"{source} is not the folder of a trial; give results/STUDY/ID, or a run's checkpoint"
    said = [f"{folder} ({read_trial(folder)['row']}, seed {read_trial(folder).get('seed')})" for folder in trials[:3]]
    more = f" and {len(trials) - 3} more" if len(trials) > 3 else ""
    return f"{source} is a folder of trials; give one of them: {', '.join(said)}{more}"
