"""Run: everything that changes while a network is trained and pruned. Saving it is saving everything.

Resuming is replay: `start(..., saved=...)` gives a fresh run that knows its saved state; the method is called again
from its first line, calls of `train` that were over return without a step, and the one that was interrupted loads
the saved state and goes on. A method therefore needs no code for resuming, under one rule: what it computes from
trained weights and still needs later is kept through `run.remember` or in `run.store`.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes
from sapwood.currency import Masks
from sapwood.errors import InputError
from sapwood.gates import decided
from sapwood.masking import masks as mask
from sapwood.masking.holding import Held
from sapwood.scoring.answers import hidden
from sapwood.training import checkpoint
from sapwood.training.state import refuse_other_optimizer, refuse_other_words, refuse_useless_optimizer
from sapwood.training.task import Loss, Task

T = TypeVar("T")


@dataclass(frozen=True)
class Given:
    """The result of another, finished run, given to a run that starts from it or is compared with it."""

    weights: Mapping[str, Tensor]  # its model's state_dict
    masks: Mapping[str, Tensor]
    epochs: float  # that it trained


class Run:
    """One training run: model, optimiser, masks, where it stands, and what it remembers. Made by `start`."""

    def __init__(self, task: Task, seed: int, model: nn.Module, device: torch.device) -> None:
        self.task, self.seed, self.device = task, seed, device
        self.model = model
        self.optimizer: Optimizer = task.optimizer(model.parameters())
        self.loss: Loss = task.loss
        self.forward: nn.Module = processes.wrap(model)  # for computing the loss only
        self.masks: Masks = {}
        self.step = 0  # steps made
        self.round = 0  # prunes made
        self.dense = False  # True: the forward pass sees masked weights while the dense ones keep learning
        self.memory: dict[str, Any] = {}  # what the method keeps, see `remember`, `store` and `note`
        self.weight = 1.0  # of this process's mean loss in the mean over all processes; set by train for each step
        self.sums: dict[str, float] = {}  # this epoch's running sums of loss and metrics
        self.between: Callable[[Run], None] | None = None  # called by train between moments; where saving happens
        self.pruning: Callable[[Run, Masks], None] | None = None  # called by prune before the masks are changed
        self.given: Mapping[str, Given] = {}  # what other runs left, by name; the same in every life of this one
        self.phase = 0  # which call of train is in progress
        self.begun = 0  # the step at which it began
        self._calls = 0  # calls of train in this life
        self.origin = "the checkpoint"  # what errors call the saved state
        self._saved: Mapping[str, Any] | None = None  # state to be loaded when the interrupted phase is reached
        self._held: Held | None = None

    def prune(self, masks: Mapping[str, Tensor]) -> None:
        """New masks in place of the old ones: applied now, held from now on. Counts as one more round."""
        if self.pruning is not None:
            self.pruning(self, dict(masks))
        self._set_masks(masks)
        processes.agree(self.masks)
        self.round += 1

    def release(self) -> None:
        """No masks any more: pruned weights are still 0 but may grow back."""
        self._set_masks({})

    def sparsity(self) -> float:
        """The fraction of exact zeros among the weights (not biases) of all layers that have a weight matrix.

        As long as gates are in training, what they would remove now counts as 0.
        """
        weights = {name: p for name, p in self.model.named_parameters() if p.dim() > 1}
        total, keep = sum(p.numel() for p in weights.values()), self.masks | decided(self.model)
        masked = {name: p * keep[name] if name in keep else p for name, p in weights.items()}
        return mask.zeros(masked) / total if total else 0.0

    def hidden(self) -> list[str]:
        """The layers that do not give the answer, found by showing the model one training sample."""
        return hidden(self.model, self.task.data.train.inputs[:1])

    def rewind(self, weights: Mapping[str, Tensor]) -> None:
        """Values go back to `weights` (a state_dict); masks stay in force, so what they removed is 0 again at once."""
        _refuse_other_weights(self.model, weights)
        self.model.load_state_dict(dict(weights))
        if not self.dense:
            mask.apply_(dict(self.model.named_parameters()), self.masks)  # 0.0, whatever the sign was

    def become(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Go on with another network, or with the same one and a fresh optimiser; masks end here.

        Every parameter the optimiser trains must belong to the model, or it would not be saved.
        """
        fresh = self.task.optimizer(model.parameters()) if optimizer is None else optimizer
        mine = {id(p) for p in model.parameters()}
        strangers = [tuple(p.shape) for group in fresh.param_groups for p in group["params"] if id(p) not in mine]
        if strangers:
            raise InputError(
                f"the optimiser trains parameters of shape {strangers} that are not the model's; "
                "register them in the model, so that checkpoints hold them"
            )
        self._set_masks({})
        self.model, self.optimizer = model.to(self.device), fresh
        self.forward = processes.wrap(model)

    def store(self, name: str) -> dict[str, Any]:
        """A dict of the method's own, empty at first and saved with the run: the same object in all of this life."""
        kept: dict[str, Any] = self.memory.setdefault(name, {})
        return kept

    def note(self, **values: float) -> None:
        """Numbers that a trial writes down at its end, under these names; the last value of each counts."""
        self.store("notes").update(values)

    @property
    def notes(self) -> Mapping[str, float]:
        """What was noted so far."""
        return dict(self.memory.get("notes", {}))

    def remember(self, name: str, compute: Callable[[], T]) -> T:
        """compute() the first time, cloned; the same value ever after, also after a restart."""
        kept = self.store("remembered")
        if name not in kept:
            kept[name] = _cloned(compute())
        value: T = _cloned(kept[name])
        return value

    def save(self, path: Path) -> None:
        """Write the run's state to `path`, in one step."""
        checkpoint.write(path, self.state())

    def state(self) -> dict[str, Any]:
        """Everything that changes, as a tree of plain values and tensors."""
        return {
            "task": fingerprint(self.task),
            "seed": self.seed,
            "step": self.step,
            "round": self.round,
            "phase": self.phase,
            "begun": self.begun,
            "dense": self.dense,
            "masks": dict(self.masks),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "memory": self.memory,
            "sums": self.sums,
            "random": checkpoint.random_state(self.device),
        }

    def enter(self) -> bool:
        """A call of train begins: False when it was over in an earlier life; loads the saved state if it is the one."""
        call, self._calls = self._calls, self._calls + 1
        if call < self.phase:
            return False
        if self._saved is not None:
            saved, self._saved = self._saved, None
            try:
                self._load(saved)
            except InputError as error:
                raise InputError(f"{self.origin} cannot be gone on from: {error}") from error
        else:
            self.begun = self.step
        return True

    def leave(self) -> None:
        """The call of train is over, by its own end or because the method had enough."""
        self.phase = self._calls

    def _load(self, saved: Mapping[str, Any]) -> None:
        _refuse_other_weights(self.model, saved["model"])
        refuse_other_optimizer(self.optimizer, saved["optimizer"])
        refuse_useless_optimizer(self.optimizer, self.task.optimizer, self.model, saved["optimizer"])
        self.dense = saved["dense"]
        self._set_masks(saved["masks"])
        self.model.load_state_dict(saved["model"])  # after the masks, which would turn -0.0 into 0.0
        self.optimizer.load_state_dict(deepcopy(saved["optimizer"]))  # it would go on in the saved tensors themselves
        self.step, self.round, self.begun = saved["step"], saved["round"], saved["begun"]
        self.sums = dict(saved["sums"])
        _refill(self.memory, _moved(saved["memory"], self.device))
        checkpoint.restore_random_state(saved["random"], self.device)

    def _set_masks(self, masks: Mapping[str, Tensor]) -> None:
        parameters = dict(self.model.named_parameters())
        mask.validate(masks, parameters)
        if self._held is not None:
            self._held.release()
            self._held = None
        if masks and not self.dense:  # gradients stay: methods look at those of removed weights, and nothing else does
            self._held = Held(self.model, self.optimizer, masks, gradients=False, parts=False)
        self.masks = {name: keep.to(self.device) for name, keep in masks.items()}


def start(
    task: Task,
    seed: int = 0,
    *,
    device: torch.device | str = "cpu",
    saved: Path | str | Mapping[str, Any] | None = None,
) -> Run:
    """A run of `task`, fresh or to be resumed from `saved`: a checkpoint's path, or what `checkpoint.read` gave.

    Seeds torch's generators, so that initial weights and dropout depend on `seed` alone.

    >>> run = start(TASKS["mlp_digits"](), seed=1)
    >>> run.step, run.sparsity()
    (0, 0.0)
    """
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device {device!r} is none that torch knows; give 'cpu' or 'cuda', for example") from error
    state = checkpoint.read(Path(saved)) if isinstance(saved, (str, Path)) else saved
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed is {seed!r}; give a whole number of 0 or more")
    torch.manual_seed(seed)
    here = replace(task, data=task.data.to(where)) if task.data.train.inputs.device != where else task
    run = Run(here, seed, task.model().to(where), where)
    if state is not None:
        run.origin = str(saved) if isinstance(saved, (str, Path)) else run.origin
        refuse_other_words(state, run.origin)
        _refuse_other_run(state, task, seed, run.origin)
        run.phase, run._saved = state["phase"], state
        _refill(run.memory, _moved(state["memory"], where))
    return run


def fingerprint(task: Task) -> str:
    """A digest of what a checkpoint depends on: the data (every 97th sample), its order, the batch size."""
    samples = {
        f"{name}/{part}": tensor[::97]
        for name in ("train", "valid", "test")
        for part, tensor in zip(("inputs", "targets"), getattr(task.data, name), strict=True)
    }
    sizes = torch.tensor([task.batch_size, *(len(getattr(task.data, n).targets) for n in ("train", "valid", "test"))])
    return f"{task.name}:{processes.digest(samples | {'sizes': sizes}).hex()}"


def _refuse_other_run(state: Mapping[str, Any], task: Task, seed: int, origin: str) -> None:
    if state.get("task") != fingerprint(task) or state.get("seed") != seed:
        raise InputError(
            f"{origin} is of task {state.get('task')!r}, seed {state.get('seed')!r}; this run is "
            f"{fingerprint(task)!r}, seed {seed}; has the data or the task changed? "
            "Start in another folder, or delete the checkpoint"
        )


def _refuse_other_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Asked before anything is loaded: torch copies what fits before it complains of what does not."""
    mine, theirs = (
        {name: (tuple(value.shape), value.dtype) for name, value in each.items()}
        for each in (model.state_dict(), weights)
    )
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            one, other = (each.get(name, (None, None)) for each in (theirs, mine))
            what, at = ("shape", 0) if one[0] != other[0] else ("type", 1)
            raise InputError(
                f"the weights are of another network: {name!r} has {what} {one[at]}, this network's has {other[at]}; "
                "give the network they were saved from"
            )


def _refill(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Make `target` equal to `source` without replacing dicts: a method may hold on to one of them."""
    for key in [k for k in target if k not in source]:
        del target[key]
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _refill(target[key], value)
        else:
            target[key] = value


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return {key: _moved(v, device) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(v, device) for v in value)
    return value.to(device, copy=True) if isinstance(value, Tensor) else value


def _cloned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _cloned(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cloned(v) for v in value)
    return value.detach().clone() if isinstance(value, Tensor) else value
