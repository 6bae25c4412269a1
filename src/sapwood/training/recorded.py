"""A run's whole step as one CUDA graph: forward and backward pass, update, masks, counts, sums. No launch but one.

A graph is what the device was asked to do, at fixed addresses: no Python runs when it is replayed. So everything that a
step changes lies in tensors that stay where they are; the optimiser is told its learning rate by a tensor, and whether
to leave everything as it is by another (`found_inf`, which PyTorch's fused optimisers know). From a loss on that is not
finite nothing moves any more: whoever reads later finds the state before that step.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from sapwood import processes
from sapwood.errors import InputError
from sapwood.scoring.evidence import Touched, straight
from sapwood.training.fused import FUSED, Counts, fused
from sapwood.training.run import Run
from sapwood.training.tally import Tally
from sapwood.training.task import Batch

WARM = 3  # steps on a stream of their own before one is recorded, as torch.cuda.graphs wants it
UNREAD = 100  # steps after which losses are looked at, if nobody has

Update = Callable[[Run, Batch], tuple[Tensor, Tensor]]


class Recorder(Protocol):
    """What can do again what a device was asked to do."""

    def aside(self) -> Any:
        """Return a context in which the device works as it does while recording."""

    def record(self, body: Callable[[], None]) -> None:
        """Note what `body` asks the device to do, and do nothing of it."""

    def replay(self) -> None:
        """Do it."""


class Graph:
    """A CUDA graph, recorded on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On its stream: what autograd remembers of a stream must not be the default one."""
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            yield
        here.wait_stream(self._stream)

    def record(self, body: Callable[[], None]) -> None:
        """Replaces what was recorded before."""
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(self._graph, stream=self._stream):
            body()

    def replay(self) -> None:
        """Queue it on the current stream."""
        assert self._graph is not None
        self._graph.replay()


def recorder_for(run: Run, update: Update, plain: Update) -> Recorder | None:
    """Something that records the run's steps; None, and a warning that says why, if they are made one by one."""
    why = unrecordable(run, update, plain)
    if not why:
        return Graph(run.device)
    warnings.warn(f"steps are not captured: {why}; they are made one by one", UserWarning, stacklevel=4)
    return None


def unrecordable(run: Run, update: Update, plain: Update) -> str:
    """Why a run's step cannot be one graph, in words; empty if nothing is known against it."""
    if run.device.type != "cuda":
        return f"the run is on {run.device.type!r}, and only 'cuda' has graphs"
    if update is not plain:
        return "update= is a function of your own, whose Python would not run again"
    return against(run)


def against(run: Run) -> str:
    """The same, of what may change while it trains."""
    kind, task, strange = type(run.optimizer), run.task, strangers(run)
    reasons = {
        "several processes train together": processes.world() > 1,
        "trials are stepping together": run.stepping is not None,
        f"task {task.name!r} carries a state from batch to batch": task.carry is not None,
        f"task {task.name!r} counts something else than samples": task.count is not len,
        "the dense weights keep learning (run.dense)": run.dense,
        f"the optimiser is {kind.__name__}, not one of {', '.join(f.__name__ for f in FUSED)}": kind not in FUSED,
        strange: bool(strange),
    }
    return next((why for why, so in reasons.items() if so), "")


class Recorded:
    """Makes a run's steps: some as they come, then by a recording, anew whenever something has changed."""

    def __init__(self, run: Run, update: Update, recorder: Recorder) -> None:
        self._run, self._update, self._recorder = run, update, recorder
        zero = torch.zeros((), dtype=torch.float64, device=run.device)
        self._bad, self._loss, self._made = zero.float(), zero.clone(), zero.clone()
        self._sums: dict[str, Tensor] = {}
        self._told: list[float] = []  # rates, and the same on the device
        self._rates: list[Tensor] = []
        self._counts = Counts(run.optimizer)
        self._first, self._unread, self._tally = run.step, 0, Tally()
        self._batch: Any = None  # what is read by the recording, once there is one
        self._shape: list[tuple[int, ...]] = []  # of its parts
        self._warm = 0  # steps of this shape made as they came
        self._touched: list[Touched] = []  # evidence that the last step added to
        self._gradients: list[tuple[Tensor, Tensor | None]] = []  # where it leaves them
        self._forget()

    def step(self, run: Run, _: Any) -> Tensor:
        """Make one; return the loss before it, at which nobody has looked."""
        batch = run.task.batch(run.seed, run.step)
        if not run.model.training:
            run.model.train()
        if self._unread >= UNREAD:
            self.settle()
        if self._tally is not run.sums:
            self._attach()
        if not self._stands():
            self.settle()
            self._forget()
        self._tell_rates()
        self._make(batch)
        run.step += 1
        self._unread += 1
        return self._loss.clone()

    def settle(self) -> None:
        """All that the device alone knew is where it is looked for; InputError if a loss was not finite."""
        if not self._unread:
            return
        self._unread = 0
        known = [self._bad.double(), self._loss, self._made, *self._sums.values()]
        bad, loss, made, *sums = torch.stack(known).tolist()
        self._run.step = self._first + int(made)
        self._tally.take(dict(zip(self._sums, sums, strict=True)))
        self._counts.show()
        if bad:
            raise refused(loss, self._run.step)

    def close(self) -> None:
        """The last step is made."""
        self._tally.behind = None
        self.settle()

    # One step

    def _make(self, batch: Batch) -> None:
        shape = [tuple(part.shape) for part in tree_leaves(tuple(batch))]
        if len(batch) == min(self._run.task.batch_size, len(self._run.task.data.train)):
            self._shape = self._shape or shape
        if shape != self._shape or self._warm < WARM:
            with self._recorder.aside():
                self._body(batch)
            self._warm += shape == self._shape
            return
        if self._batch is None:
            self._record(batch)
        for mine, new in zip(tree_leaves(self._batch), tree_leaves(tuple(batch)), strict=True):
            mine.copy_(new)
        for parameter, gradient in self._gradients:
            parameter.grad = gradient  # another one after a step that was made as it came
        self._recorder.replay()

    def _record(self, batch: Batch) -> None:
        self._batch = parts = tree_map(torch.clone, tuple(batch))
        try:
            self._recorder.record(lambda: self._body(Batch(*parts)))
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            raise InputError(f"the step cannot be captured ({why}); train without captured=True") from error
        self._gradients = [(p, p.grad) for p in self._run.model.parameters()]

    def _body(self, batch: Batch) -> None:
        """The step itself, in which no number is read."""
        run, self._touched = self._run, []
        for group in run.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        with straight(self._touched):
            outputs, loss = self._update(run, batch)
        self._count_in(batch, outputs.detach(), loss.detach().double())
        with self._counts.here(), fused(run.optimizer, self._rates, self._bad):
            run.optimizer.step()

    def _count_in(self, batch: Batch, outputs: Tensor, loss: Tensor) -> None:
        """Add the batch to the sums, unless its loss, or one before, is not finite; the first such loss stays."""
        self._loss.copy_(torch.where(self._bad > 0, self._loss, loss))
        self._bad.copy_(torch.maximum(self._bad, torch.isfinite(loss).logical_not().float()))
        good = self._bad == 0
        self._made.add_(good)
        count = self._run.task.count(batch)
        metrics = self._run.task.metrics(outputs, batch)
        for name, value in {"count": count, "loss": loss * count, **metrics}.items():
            found = value.double() if isinstance(value, Tensor) else torch.full_like(self._loss, value)
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(self._loss)
            self._sums[name].add_(torch.where(good, found, 0.0))

    def _tell_rates(self) -> None:
        rates = [group["lr"] for group in self._run.optimizer.param_groups]
        for told, rate, tensor in zip(self._told, rates, self._rates, strict=True):
            if told != rate:
                tensor.fill_(rate)
        self._told = rates

    # What a recording is of

    def _attach(self) -> None:
        """Go on from the sums as they are: at the beginning of an epoch, or in the midst of one that was resumed."""
        self._tally.behind = None
        self._tally, begun = self._run.sums, self._run.sums.read()
        for name in begun | self._sums:
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(self._loss)
            self._sums[name].fill_(begun.get(name, 0.0))
        self._tally.behind = self.settle

    def _forget(self) -> None:
        if why := against(self._run):
            raise InputError(f"{why}, so that its steps cannot be captured; train without captured=True")
        self._told = [group["lr"] for group in self._run.optimizer.param_groups]
        exact = torch.float32 if self._run.device.type == "cuda" else torch.float64  # as the fused kernels read them
        self._rates = [torch.full_like(self._loss, rate, dtype=exact) for rate in self._told]
        if self._counts.optimizer is not self._run.optimizer:
            self._counts = Counts(self._run.optimizer)
        self._batch, self._warm, self._shape, self._touched, self._gradients = None, 0, [], [], []
        self._of = self._standing()

    def _stands(self) -> bool:
        """Whether everything is where it was, Python's part of it as well."""
        (things, numbers), (before, then) = self._standing(), self._of
        same = len(things) == len(before) and all(map(is_, things, before)) and numbers == then
        return same and all(holder.get(key) is thing for holder, key, thing in self._touched)

    def _standing(self) -> tuple[list[Any], list[Any]]:
        run = self._run
        modules, groups = list(run.model.modules()), run.optimizer.param_groups
        things = [run.model, run.optimizer, run.masks, run.loss, *(hook for m in modules for hook in hooks(m))]
        tensors = [*run.model.parameters(), *run.model.buffers()]
        numbers = [(t.data_ptr(), t.requires_grad) for t in tensors], [m.training for m in modules]
        told = [[v for name, v in group.items() if name not in ("params", "lr", "initial_lr")] for group in groups]
        return things, [run.dense, run.weight, *numbers, told]


def refused(loss: float, step: int) -> InputError:
    """What is said of a loss that is not finite."""
    return InputError(
        f"the loss is {loss} at step {step}; lower the learning rate or check the data; "
        "the model is as it was before this step"
    )


def strangers(run: Run) -> str:
    """Whose hook would not be called, in words; empty if nobody's."""
    every = ((m, hook) for m in run.model.modules() for hook in hooks(m))
    whose = [type(m).__name__ for m, hook in every if not _module_of(hook).startswith("sapwood.")]
    return f"a {whose[0]} has a hook that is not sapwood's" if whose else ""


def hooks(module: nn.Module) -> list[Any]:
    """What is called around its passes."""
    several = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return [hook for each in several for hook in each.values()]


def _module_of(hook: Any) -> str:
    return getattr(hook, "__module__", None) or type(hook).__module__
