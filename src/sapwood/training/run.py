"""Run: everything that changes while a network is trained and pruned. Saving it is saving everything.

Resuming is replay: `start(..., saved=...)` gives a fresh run that knows its saved state; the method is called again
from its first line, calls of `train` that were over return without a step, and the one that was interrupted loads
the saved state and goes on. A method therefore needs no code for resuming, under one rule: what it computes from
trained weights and still needs later is kept through `run.remember` or in `run.store`.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes
from sapwood.called import checked
from sapwood.currency import Masks
from sapwood.errors import InputError
from sapwood.gates import decided
from sapwood.masking import masks as mask
from sapwood.masking.holding import Held
from sapwood.scoring.answers import hidden
from sapwood.shrinking.tracing.site import Site
from sapwood.training import checkpoint, parts
from sapwood.training.apart import Apart
from sapwood.training.given import Given as Given
from sapwood.training.memory import cloned, moved, refill
from sapwood.training.rebuild import Cut, Wanted, cut
from sapwood.training.size import Size, shapes_of, size, weights_in
from sapwood.training.state import (
    refuse_other_optimizer,
    refuse_other_run,
    refuse_other_weights,
    refuse_useless_optimizer,
    saved_between,
)
from sapwood.training.tally import Tally
from sapwood.training.task import Loss, Task
from sapwood.training.task import fingerprint as fingerprint

T = TypeVar("T")


class Run:
    """One training run: model, optimiser, masks, where it stands, and what it remembers. Made by `start`."""

    def __init__(self, task: Task, seed: int, model: nn.Module, device: torch.device) -> None:
        self.task, self.seed, self.model, self.device = task, seed, model, device
        self.apart = Apart(model, task, first=True)  # its sites and costs are found once
        self.optimizer: Optimizer = task.optimizer(model.parameters())
        self.loss: Loss = task.loss
        self.forward: nn.Module = processes.wrap(model)  # for computing the loss only
        self.masks: Masks = {}
        self.step, self.round = 0, 0  # steps made; prunes made, and cuts
        self.cuts: list[Cut] = []  # what `shrink` took out
        self.dense = False  # True: the forward pass sees masked weights while the dense ones keep learning
        self.memory: dict[str, Any] = {}  # what the method keeps, see `remember`, `store` and `note`
        self.weight = 1.0  # of this process's mean loss in the mean over all processes; set by train for each step
        self.sums = Tally()  # this epoch's running sums of loss and metrics
        self.between: Callable[[Run], None] | None = None  # called by train between moments; where saving happens
        self.pruning: Callable[[Run, Masks], None] | None = None  # called by prune before the masks are changed
        self.stepping: Callable[[Run, Any], float | Tensor] | None = None  # makes a step in place of `loop.one_step`
        self.alone, self.ahead = "", 1  # why it steps by itself where others step together; steps it may make at once
        self.given: Mapping[str, Given] = {}  # what other runs left, by name; the same in every life of this one
        self.phase, self.begun, self._calls = 0, 0, 0  # train's call in progress, its first step; calls in this life
        self.origin = "the checkpoint"  # what errors call the saved state
        self._saved: Mapping[str, Any] | None = None  # state to be loaded when the interrupted phase is reached
        self._held: Held | None = None
        self._began = shapes_of(model)

    def prune(self, masks: Mapping[str, Tensor]) -> None:
        """New masks in place of the old ones: applied now, held from now on. Counts as one more round."""
        if self.pruning is not None:
            self.pruning(self, dict(masks))
        self._set_masks(masks)
        processes.agree(self.masks)
        self.round += 1

    def shrink(self, keep: Wanted, sites: Sequence[Site]) -> Cut:
        """Go on with a smaller network, without the units that `keep`, {site: bool [units]}, leaves out.

        `keep` may be a function that gives it, called once and remembered: what it reads from trained weights is not
        asked of the untrained ones of a resumed run. Units count as 0 (`sapwood.shrink`); masks are cut likewise and
        stay in force; the optimiser begins anew. Counts as one more round. A state that is saved afterwards, before the
        next step, is loaded here again. InputError inside of a call of `train`.
        """
        if self._calls > self.phase:
            raise InputError("the network cannot be rebuilt while a call of train is in progress, which could not be "
                             "resumed; let it end, shrink, and train on in another")  # fmt: skip
        number = len(self.cuts) + 1
        chosen = self.remember(f"cut {number}", keep if callable(keep) else lambda: dict(keep))
        processes.agree(chosen)
        found = cut(self.apart.several, chosen, sites, self.masks)
        if self.pruning is not None:
            self.pruning(self, found.removed)
        self.become(found.model)
        self._set_masks(found.masks)
        self.round += 1
        built = Size(*self.remember(f"size {number}", lambda: [*self.size()]))
        if saved_between(self._saved) and f"cut {number + 1}" not in self.memory["remembered"]:
            self._catch_up(optimizer=False)
        self.cuts.append(Cut(self.round, chosen, built))
        return self.cuts[-1]

    @cached_property
    def reference(self) -> Size:
        """The size of the network that the task begins with, whatever has become of it: what sizes are compared with.

        Counted when first asked for, by then on a network of its own if need be; no random state is advanced.
        """
        if self.apart.first:
            return size(self.apart.one)
        with torch.random.fork_rng(devices=[]):
            return size(self.task.model().to(self.device), self.task.example)

    def size(self) -> Size:
        """The size of the network as it is now; zeros count, see `sparsity`."""
        return size(self.apart.one)

    @property
    def rebuilt(self) -> bool:
        """Whether the network has other parameters, or other shapes of them, than the one it began with."""
        return shapes_of(self.model) != self._began

    def release(self) -> None:
        """No masks any more: pruned weights are still 0 but may grow back."""
        self._set_masks({})

    def sparsity(self) -> float:
        """The fraction of the weights (not biases) of all layers with a weight matrix that are gone.

        Gone are exact zeros, and what the network has fewer of than the one it began with. As long as gates are in
        training, what they would remove now counts as 0.
        """
        weights = {name: p for name, p in processes.parameters(self.model).items() if p.dim() > 1}
        total, keep = sum(p.numel() for p in weights.values()), self.masks | decided(self.model)
        whole = max(total, weights_in(self._began))
        masked = {name: p * processes.like(keep[name], p) if name in keep else p for name, p in weights.items()}
        return (whole - total + mask.zeros(masked)) / whole if whole else 0.0

    def hidden(self) -> list[str]:
        """The layers that do not give the answer, found by showing the model one training sample."""
        return hidden(self.model, self.task.example)

    def rewind(self, weights: Mapping[str, Tensor]) -> None:
        """Values go back to `weights` (a state_dict); masks stay in force, so what they removed is 0 again at once."""
        refuse_other_weights(self.model, weights)
        self.model.load_state_dict(parts.parted(weights, self.model.state_dict()))
        if not self.dense:
            mask.apply_(processes.parameters(self.model), self.masks)  # 0.0, whatever the sign was

    def become(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Go on with another network, or with the same one and a fresh optimiser; masks end here.

        Every parameter the optimiser trains must belong to the model, or it would not be saved.
        """
        fresh = self.task.optimizer(model.parameters()) if optimizer is None else optimizer
        mine = {id(p) for p in model.parameters()}
        strangers = [tuple(p.shape) for group in fresh.param_groups for p in group["params"] if id(p) not in mine]
        if strangers:
            raise InputError(f"the optimiser trains parameters of shape {strangers} that are not the model's; "
                             "register them in the model, so that checkpoints hold them")  # fmt: skip
        self._set_masks({})
        self.model, self.optimizer = model.to(self.device), fresh
        self.apart, self.forward = Apart(model, self.task), processes.wrap(model)

    def store(self, name: str) -> dict[str, Any]:
        """A dict of the method's own, empty at first and saved with the run: the same object in all of this life."""
        return cast(dict[str, Any], self.memory.setdefault(name, {}))

    def note(self, **values: float) -> None:
        """Numbers that a trial writes down at its end, under these names; the last value of each counts."""
        self.store("notes").update(values)

    @property
    def notes(self) -> Mapping[str, float]:
        """What was noted so far."""
        return dict(self.memory.get("notes", {}))

    def remember(self, name: str, compute: Callable[[], T]) -> T:
        """compute() the first time, cloned; the same value ever after, also after a restart."""
        if name not in self.memory.get("remembered", {}):
            self._catch_up()  # which fills the memory anew
            self.store("remembered")[name] = cloned(compute())
        return cast(T, cloned(self.memory["remembered"][name]))

    def save(self, path: Path) -> None:
        """Write the run's state to `path`, in one step; of a sharded model to a folder, by all processes at once."""
        parts.save(path, self.state(sharded=True))

    def state(self, *, sharded: bool = False) -> dict[str, Any]:
        """Everything that changes, as a tree of plain values and tensors: whole ones, unless `sharded`, as they are."""
        sums = self.sums.read()  # before all else: what a device alone knows comes with it
        tree = {
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
            "sums": sums,
            "random": checkpoint.random_state(self.device),
        }
        return tree if sharded else parts.whole(tree)

    def enter(self) -> bool:
        """A call of train begins: False when it was over in an earlier life; loads the saved state if it is the one."""
        call, self._calls = self._calls, self._calls + 1
        if call < self.phase:
            return False
        if not self._catch_up():
            self.begun = self.step
        return True

    def leave(self) -> None:
        """The call of train is over, by its own end or because the method had enough."""
        self.phase, self.begun = self._calls, self.step

    def _catch_up(self, *, optimizer: bool = True) -> bool:
        """Load the saved state if it was saved here: in the call of train that begins, or after the last one.

        optimizer=False: it has just been made anew, as the saved one had been; its settings follow by replay.
        """
        if self._saved is None or self._calls < self.phase:
            return False
        saved, self._saved = self._saved, None
        try:
            self._load(parts.in_parts(saved, self.model, self.optimizer), optimizer)
        except InputError as error:
            raise InputError(f"{self.origin} cannot be gone on from: {error}") from error
        return True

    def _load(self, saved: Mapping[str, Any], optimizer: bool) -> None:
        refuse_other_weights(self.model, saved["model"])
        refuse_other_optimizer(self.optimizer, saved["optimizer"])
        refuse_useless_optimizer(self.optimizer, self.task.optimizer, self.model, saved["optimizer"])
        self.dense = saved["dense"]
        self._set_masks(saved["masks"])
        self.model.load_state_dict(saved["model"])  # after the masks, which would turn -0.0 into 0.0
        if optimizer:  # a copy: it would go on in the saved tensors themselves
            self.optimizer.load_state_dict(deepcopy(saved["optimizer"]))
        self.step, self.round, self.begun = saved["step"], saved["round"], saved["begun"]
        self.sums = Tally(saved["sums"])
        refill(self.memory, moved(saved["memory"], self.device))
        checkpoint.restore_random_state(saved["random"], self.device)

    def _set_masks(self, masks: Mapping[str, Tensor]) -> None:
        mask.validate(masks, processes.parameters(self.model))
        if self._held is not None:
            self._held.release()
            self._held = None
        if masks and not self.dense:  # gradients stay: methods look at those of removed weights, and nothing else does
            self._held = Held(self.model, self.optimizer, masks, gradients=False, parts=False)
        self.masks = {name: keep.to(self.device) for name, keep in masks.items()}


@checked(seed="a whole number of 0 or more")
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
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed is {seed!r}; give a whole number of 0 or more")
    if processes.world() > 1:
        processes.alike(torch=torch.__version__, task=fingerprint(task), seed=seed, resumed=saved is not None)
    torch.manual_seed(seed)
    data = task.data.to(where)
    run = Run(task if data is task.data else replace(task, data=data), seed, task.model().to(where), where)
    state = parts.read(Path(saved), run.model, run.optimizer) if isinstance(saved, (str, Path)) else saved
    if state is not None:
        run.origin = str(saved) if isinstance(saved, (str, Path)) else run.origin
        refuse_other_run(state, fingerprint(task), seed, run.origin)
        run.phase, run._saved = state["phase"], state
        refill(run.memory, moved(state["memory"], where))
    return run
