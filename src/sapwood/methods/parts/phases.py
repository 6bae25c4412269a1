"""Phases that methods are made of: train until a rule says stop; train on without masks."""

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from sapwood.measure.ranks import dead_share
from sapwood.training import stopping
from sapwood.training.goal import ACCURACY, Goal
from sapwood.training.loop import Moment, at_ends, evaluate, train
from sapwood.training.run import Run

Ending = Callable[[Run, Moment], bool]
Phase = Callable[..., Iterator[Moment]]  # (run, **options)


def ending(*, target: float, stop: str, goal: Goal = ACCURACY) -> Ending:
    """Whether training is over after a moment: by the stopping rule on the validation loss, or with the goal reached.

    `target` is a value of the task's goal on training data. `stop` names a rule of `stopping.RULES` ("none": the target
    alone ends the run), or is "epochs": neither does, and the run takes all its epochs. Asked once per moment; the
    rule's state is kept in the run's memory.
    """
    goal.refuse_bad("target", target)
    if stop == "epochs":
        return lambda run, now: False
    rule = stopping.named(stop)

    def over(run: Run, now: Moment) -> bool:
        if not now.ends_epoch:
            return False
        state = run.store(f"stop {now.phase}")
        return rule(state, now.metrics["valid_loss"]) or goal.reached(goal.of(now.metrics, "train"), target)

    return over


def fit(run: Run, *, epochs: int, target: float, stop: str) -> Iterator[Moment]:
    """Trains without pruning anything further until `ending` says so, `epochs` at most."""
    ended = ending(target=target, stop=stop, goal=run.task.goal)
    for now in train(run, epochs=epochs, acts=at_ends):
        over = ended(run, now)
        yield now
        if over:
            return


def tuned(run: Run, *, epochs: int, rate: float) -> Iterator[Moment]:
    """Trains what was just rebuilt at `rate` times the learning rate; its validation metrics before are noted."""
    run.note(**run.remember("cut valid", lambda: {f"cut_valid_{name}": value for name, value in evaluate(run).items()}))
    for group in run.optimizer.param_groups:
        group["lr"] *= rate
    yield from train(run, epochs=epochs, acts=at_ends)


def then(phase: Phase) -> Callable[[Phase], Phase]:
    """A decorator of methods: when one is over, `phase` follows, and its options join the method's.

    Options of the same name go to both, at the method's default. Example: `@then(retrain)` above a method that has
    `target` and `stop` gives it the option `retrain`.
    """

    def followed(method: Phase) -> Phase:
        mine, its = ({p.name: p for p in _options(each)} for each in (method, phase))
        more = {name: p for name, p in its.items() if name not in mine}
        usual = {name: p.default for name, p in (mine | more).items() if p.default is not inspect.Parameter.empty}

        @wraps(method)
        def both(run: Run, **options: Any) -> Iterator[Moment]:
            yield from method(run, **{name: value for name, value in options.items() if name not in more})
            yield from phase(run, **{name: (usual | options)[name] for name in its})

        first = list(inspect.signature(method).parameters.values())[:1]
        both.__signature__ = inspect.Signature([*first, *mine.values(), *more.values()])  # type: ignore[attr-defined]
        return both

    return followed


def _options(phase: Phase) -> Iterator[inspect.Parameter]:
    every = inspect.signature(phase, eval_str=True).parameters.values()
    return (p for p in every if p.kind is inspect.Parameter.KEYWORD_ONLY)


def retrain(run: Run, *, retrain: int = 0, target: float, stop: str) -> Iterator[Moment]:
    """Unmasked retraining for `retrain` epochs: pruned weights may grow back, under a fresh optimiser.

    Before it begins, the test metrics, zeros and dead columns of the pruned network are noted.
    Paper: Ganguli & Chong 2024, section 4.4 (Tables 6 and 7).
    """
    if retrain == 0:
        return
    run.note(**run.remember("before retraining", lambda: _before_retraining(run)))
    run.become(run.model)
    yield from fit(run, epochs=retrain, target=target, stop=stop)


def _before_retraining(run: Run) -> dict[str, float]:
    test = {f"before_retraining_test_{name}": value for name, value in evaluate(run, "test").items()}
    return test | {
        "before_retraining_sparsity": run.sparsity(),
        "before_retraining_dead_share": dead_share(run.model, run.task.example),
        "before_retraining_step": float(run.step),
    }
