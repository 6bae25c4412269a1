"""Laws of methods: the same bits from the same seed, and from any interruption; and those of what it declares to do."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sapwood.checks import interruption, rebuilding
from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.life import Life as _Trial
from sapwood.checks.life import Make, Method, hooked, lived
from sapwood.checks.tiny import tiny_conv_task, tiny_task
from sapwood.errors import InputError
from sapwood.masking import masks
from sapwood.training import checkpoint
from sapwood.training.declared import Declared, declared
from sapwood.training.task import Batch, Task


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
        "interrupted before any step and resumed: the same bits": lambda: interruption.gone_on_from(trial),
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
    whole = lived(trial)
    masked = [now for now in whole.stands if any(not keep.all() for keep in now.masks.values())]
    # One that masks may end as another network, as tickets do, without laws on how that was built.
    rebuilt = masked[0].rebuilt if masked else whole.run.rebuilt
    done = {"masks": bool(masked or whole.run.masks), "rebuilds": rebuilt}
    for kind, does in done.items():
        demand(not does or kind in about.kinds, f"it {kind}, and does not declare it: @declares({kind!r})")
        demand(does or kind not in about.kinds or not about.said, f"it is declared that it {kind}, and it does not")


def _same_seed(trial: Make) -> None:
    whole = lived(trial)
    torch.manual_seed(4711)  # what others have drawn before must not matter
    demand((whole.end, whole.moments) == trial().finish(), "two runs from one seed differ")


def _other_seed(trial: Make) -> None:
    whole = lived(trial)
    demand((whole.decided, whole.moments) != trial(seed=1).decided(), "seeds 0 and 1 give the same bits")


def _saved_untouched(trial: Make) -> None:
    saves = lived(trial).saves
    saved = checkpoint.decode(saves[len(saves) // 2])
    before = checkpoint.fingerprint(saved)
    trial(saved=saved).finish()
    demand(checkpoint.fingerprint(saved) == before, "the resumed run went on in the saved tensors themselves")


def _blind(trial: Make, elsewhere: Make) -> None:
    """Decisions are made on the training and validation splits; notes of test metrics may be taken."""
    whole, other = lived(trial), elsewhere().decided()
    demand((whole.decided, whole.moments) == other, "with another test split, other weights, masks or moments")


def _other_test(task: Task) -> Task:
    """The task with its validation split for a test split, in reverse."""
    split = task.data.valid
    backwards = split.take(torch.arange(len(split) - 1, -1, -1))
    return replace(task, data=replace(task.data, test=backwards))


def _masked(trial: Make) -> None:
    for now in lived(trial).stands:
        demand(not now.dead, f"step {now.step}: masked weights of {now.dead} are not 0")


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
    before: masks.Masks = {}
    for now in lived(trial).stands:
        later = now.masks or before  # a release is not a mask
        demand(masks.nested(before, later), f"step {now.step}: a removed weight was kept again")
        before = dict(later)


def _reaches(trial: Make, sparsity: float) -> None:
    reached, weights = 0.0, 1
    for now in lived(trial).stands:
        reached = max(reached, masks.sparsity(now.masks))
        weights = max(weights, sum(keep.numel() for keep in now.masks.values()))  # none are left in retraining
    demand(
        abs(reached - sparsity) <= 8 / weights, f"{reached:.4f} of the masked weights went, {sparsity} was asked for"
    )


def _no_trace(trial: Make) -> None:
    life = trial()
    with closing(life.moments) as moments:  # type: ignore[type-var]
        for now in moments:
            if now.step == 3:
                break
    life.run.release()  # masks are held by hooks as long as they are in force
    for hooks in (hooked(life.run.model), lived(trial).hooks):
        demand(not hooks, f"hooks were left on {hooks}")
