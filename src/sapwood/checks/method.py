"""Laws of methods: the same bits from the same seed, and from any interruption; and those of what it declares to do."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sapwood import checkpoint, masks
from sapwood.checks import rebuilding
from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.life import Life as _Trial
from sapwood.checks.life import Make, Method, resumed
from sapwood.checks.tiny import tiny_conv_task, tiny_task
from sapwood.declared import Declared, declared
from sapwood.errors import InputError
from sapwood.run import Run
from sapwood.task import Batch, Task


def check_method(
    name: str,
    method: Method,
    *,
    task: Task | None = None,
    nested: bool = True,
    reaches: float | None = None,
    **options: Any,
) -> list[Result]:
    """The laws of methods, and those of what this one declares (`sapwood.declares`), on a tiny task unless given.

    `reaches`: the sparsity that its masks must get to; `nested`: masks only shrink. Of a method that rebuilds, options
    called macs and parameters are the shares of these that it may leave. A law that it declares as unmet is tried too:
    its result gives the reason, and is a failure where the law holds after all.
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
    about = declared(method)
    task = task or (tiny_conv_task() if "rebuilds" in about.kinds else tiny_task())
    trial = partial(_Trial, method, task, options)
    bodies: Laws = {
        "the same seed gives the same bits": lambda: _same_seed(trial),
        "another seed gives other bits": lambda: _other_seed(trial),
        "interrupted before any step and resumed: the same bits": lambda: _interrupted(trial),
        "resuming leaves the saved state as it was": lambda: _saved_untouched(trial),
        "the test split changes nothing": lambda: _blind(trial, partial(_Trial, method, _other_test(task), options)),
        "no hook is left behind, also when the consumer stops early": lambda: _no_trace(trial),
        "it does to the network what it declares": lambda: _as_declared(trial, about),
    }
    if "masks" in about.kinds:
        bodies |= {
            "masked weights are 0 at every moment": lambda: _masked(trial),
            "masked weights are 0 in every pass, also while the dense ones learn": lambda: _passes(
                method, task, options
            ),
        }
        if nested:
            bodies["masks only shrink"] = lambda: _nested(trial)
        if reaches is not None:
            bodies["the sparsity asked for is reached"] = lambda: _reaches(trial, reaches)
    if "rebuilds" in about.kinds:
        bodies |= rebuilding.laws(trial, method, options)
    if "solves" in about.kinds:
        still = replace(task, optimizer=partial(SGD, lr=0.0))
        bodies |= rebuilding.solving(partial(_Trial, method, still, options))
    _refuse_unknown(name, about, bodies)
    bodies |= {law: partial(_unmet, bodies[law], why) for law, why in about.unmet.items() if law in bodies}
    return {f"method {name}: {law}": body for law, body in bodies.items()}


def _unmet(law: Callable[[], object], reason: str) -> str:
    """A law that a method declares as unmet: it must fail."""
    try:
        law()
    except Exception:
        return f"not met, as declared: {reason}"
    raise AssertionError(f"declared as not met ({reason}), and it holds; take it out of unmet")


def _refuse_unknown(name: str, about: Declared, bodies: Mapping[str, object]) -> None:
    if strange := [law for law in about.unmet if law not in bodies]:
        raise InputError(f"method {name!r} declares {strange[0]!r} as unmet, and no law of its kinds claims that; "
                         f"known: {', '.join(map(repr, bodies))}")  # fmt: skip


def _as_declared(trial: Make, about: Declared) -> None:
    """A method that rebuilds without saying so would be asked nothing about what it builds."""
    life = trial()
    masked = any(any(not keep.all() for keep in life.run.masks.values()) for _ in life.moments) or bool(life.run.masks)
    done = {"masks": masked, "rebuilds": life.run.rebuilt}
    for kind, does in done.items():
        demand(not does or kind in about.kinds, f"it {kind}, and does not declare it: @declares({kind!r})")
        demand(does or kind not in about.kinds or not about.said, f"it is declared that it {kind}, and it does not")


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
        end, rest = resumed(trial, saved, f"after step {saved['step']}")
        tail = [m for m in moments if m.step > saved["step"]]
        demand(
            end == final,
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
    backwards = split.take(torch.arange(len(split) - 1, -1, -1))
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
