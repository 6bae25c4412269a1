"""Laws of methods: the same bits from the same seed, and from any interruption; pruned weights stay pruned."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.tiny import tiny_task
from sapwood.masking import masks
from sapwood.training import checkpoint
from sapwood.training.loop import Moment
from sapwood.training.run import Run, start
from sapwood.training.task import Batch, Task

Method = Callable[..., Iterator[Moment]]


def check_method(
    name: str,
    method: Method,
    *,
    task: Task | None = None,
    nested: bool = True,
    reaches: float | None = None,
    **options: Any,
) -> list[Result]:
    """The laws of methods, on the tiny task unless another is given.

    `reaches`: the sparsity that its masks must get to; `nested`: masks only shrink.
    """
    return tried(laws(name, method, task=task, nested=nested, reaches=reaches, **options))


def laws(
    name: str,
    method: Method,
    *,
    task: Task | None = None,
    nested: bool = True,
    reaches: float | None = None,
    **options: Any,
) -> Laws:
    """The laws of methods about `method` under these options, not yet tried."""
    task = task or tiny_task()
    trial = partial(_Trial, method, task, options)
    bodies: Laws = {
        "the same seed gives the same bits": lambda: _same_seed(trial),
        "another seed gives other bits": lambda: _other_seed(trial),
        "interrupted before any step and resumed: the same bits": lambda: _interrupted(trial),
        "resuming leaves the saved state as it was": lambda: _saved_untouched(trial),
        "the test split changes nothing": lambda: _blind(trial, partial(_Trial, method, _other_test(task), options)),
        "masked weights are 0 at every moment": lambda: _masked(trial),
        "masked weights are 0 in every pass, also while the dense ones learn": lambda: _passes(method, task, options),
        "no hook is left behind, also when the consumer stops early": lambda: _no_trace(trial),
    }
    if nested:
        bodies["masks only shrink"] = lambda: _nested(trial)
    if reaches is not None:
        bodies["the sparsity asked for is reached"] = lambda: _reaches(trial, reaches)
    return {f"method {name}: {law}": body for law, body in bodies.items()}


class _Trial:
    """One life of a method on a task, watched."""

    def __init__(
        self, method: Method, task: Task, options: dict[str, Any], seed: int = 0, saved: dict[str, Any] | None = None
    ) -> None:
        self.run = start(task, seed, saved=saved)
        self.saves: list[bytes] = []
        self.run.between = lambda run: self.saves.append(checkpoint.encode(run.state()))
        self.moments = method(self.run, **options)

    def finish(self) -> tuple[str, list[Moment]]:
        """A digest of everything at the end, and the moments on the way."""
        moments = list(self.moments)
        self.run.between = None
        return checkpoint.fingerprint(self.run.state()), moments

    def decided(self) -> tuple[str, list[Moment]]:
        """A digest of weights and masks alone at the end, and the moments on the way."""
        _, moments = self.finish()
        state = self.run.state()
        return checkpoint.fingerprint({"model": state["model"], "masks": state["masks"]}), moments


Make = Callable[..., _Trial]


def _same_seed(trial: Make) -> None:
    torch.manual_seed(17)  # what others have drawn before must not matter
    first = trial().finish()
    torch.manual_seed(4711)
    demand(first == trial().finish(), "two runs from one seed differ")


def _other_seed(trial: Make) -> None:
    demand(trial().decided() != trial(seed=1).decided(), "seeds 0 and 1 give the same bits")


def _interrupted(trial: Make) -> None:
    undisturbed = trial()
    final, moments = undisturbed.finish()
    saves = [checkpoint.decode(content) for content in undisturbed.saves]
    # After the last step of a call of train the method may leave; after any other, saving must have been possible.
    due = {now.step for now, after in pairwise(moments) if now.phase == after.phase}
    missed = sorted(due - {saved["step"] for saved in saves})
    demand(bool(saves) and not missed, f"run.between was not called after steps {missed}: does it train by `train`?")
    for saved in saves:
        torch.manual_seed(4711)
        resumed, rest = trial(saved=saved).finish()
        tail = [m for m in moments if m.step > saved["step"]]
        demand(
            resumed == final,
            f"interrupted after step {saved['step']} of {moments[-1].step}: another end; "
            "keep what the method computes and needs later in run.memory",
        )
        demand(rest == tail, f"interrupted after step {saved['step']}: other moments on the way")


def _saved_untouched(trial: Make) -> None:
    undisturbed = trial()
    undisturbed.finish()
    saved = checkpoint.decode(undisturbed.saves[len(undisturbed.saves) // 2])
    before = checkpoint.fingerprint(saved)
    trial(saved=saved).finish()
    demand(checkpoint.fingerprint(saved) == before, "the resumed run went on in the saved tensors themselves")


def _blind(trial: Make, elsewhere: Make) -> None:
    """Decisions are made on the training and validation splits; notes of test metrics may be taken."""
    demand(trial().decided() == elsewhere().decided(), "with another test split, other weights, masks or moments")


def _other_test(task: Task) -> Task:
    """The task with its validation split for a test split, in reverse."""
    split = task.data.valid
    backwards = split.rows(torch.arange(len(split.targets) - 1, -1, -1, device=split.targets.device))
    return replace(task, data=replace(task.data, test=backwards))


def _masked(trial: Make) -> None:
    life = trial()
    for now in life.moments:
        parameters = dict(life.run.model.named_parameters())
        held = {} if life.run.dense else life.run.masks
        dead = [n for n, keep in held.items() if bool((parameters[n][~keep] != 0).any())]
        demand(not dead, f"step {now.step}: masked weights of {dead} are not 0")


def _passes(method: Method, task: Task, options: dict[str, Any]) -> None:
    """Looked at wherever a loss is computed: in training and in evaluation."""

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        parameters = dict(model.named_parameters())
        dead = [n for n, keep in life.run.masks.items() if bool((parameters[n][~keep] != 0).any())]
        demand(not dead, f"after step {life.run.step}: a pass sees masked weights of {dead}")
        return task.loss(model, batch, outputs)

    life = _Trial(method, replace(task, loss=loss), options)
    life.finish()


def _nested(trial: Make) -> None:
    life = trial()
    before: masks.Masks = {}
    for now in life.moments:
        later = life.run.masks or before  # a release is not a mask
        demand(masks.nested(before, later), f"step {now.step}: a removed weight was kept again")
        before = dict(later)


def _reaches(trial: Make, sparsity: float) -> None:
    life = trial()
    reached, weights = 0.0, 1
    for _ in life.moments:
        reached = max(reached, masks.sparsity(life.run.masks))
        weights = max(weights, sum(keep.numel() for keep in life.run.masks.values()))  # none are left in retraining
    demand(
        abs(reached - sparsity) <= 8 / weights, f"{reached:.4f} of the masked weights went, {sparsity} was asked for"
    )


def _no_trace(trial: Make) -> None:
    life = trial()
    with closing(life.moments) as moments:  # type: ignore[type-var]
        for now in moments:
            if now.step == 3:
                break
    _demand_no_hooks(life.run)
    done = trial()
    done.finish()
    _demand_no_hooks(done.run)


def _demand_no_hooks(run: Run) -> None:
    run.release()  # masks are held by hooks as long as they are in force
    hooks = [n for n, m in run.model.named_modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    demand(not hooks, f"hooks were left on {hooks}")
