"""Phases that methods are made of: train until a rule says stop; train on without masks."""

from collections.abc import Callable, Iterator

from sapwood.errors import InputError
from sapwood.measure.ranks import dead_share
from sapwood.training import stopping
from sapwood.training.loop import Moment, evaluate, train
from sapwood.training.run import Run

Ending = Callable[[Run, Moment], bool]


def ending(*, target: float, stop: str) -> Ending:
    """Whether training is over after a moment: the stopping rule on the validation loss, then the training accuracy.

    `stop` names a rule of `stopping.RULES` ("none": the target alone ends the run), or is "epochs": neither does,
    and the run takes all its epochs. Asked once per moment; the rule's state is kept in the run's memory.
    """
    if not 0 < target <= 1:
        raise InputError(f"target is {target}; give the training accuracy that ends the run, in (0, 1]")
    if stop == "epochs":
        return lambda run, now: False
    rule = stopping.named(stop)

    def over(run: Run, now: Moment) -> bool:
        if not now.ends_epoch:
            return False
        state = run.store(f"stop {now.phase}")
        return rule(state, now.metrics["valid_loss"]) or now.metrics["train_accuracy"] >= target

    return over


def fit(run: Run, *, epochs: int, target: float, stop: str) -> Iterator[Moment]:
    """Trains without pruning anything further until `ending` says so, `epochs` at most."""
    ended = ending(target=target, stop=stop)
    for now in train(run, epochs=epochs):
        over = ended(run, now)
        yield now
        if over:
            return


def retrain(run: Run, *, epochs: int, target: float, stop: str) -> Iterator[Moment]:
    """Unmasked retraining: pruned weights may grow back, under a fresh optimiser. Nothing when `epochs` is 0.

    Before it begins, the test metrics, zeros and dead columns of the pruned network are noted.
    Paper: Ganguli & Chong 2024, section 4.4 (Tables 6 and 7).
    """
    if epochs == 0:
        return
    run.note(**run.remember("before retraining", lambda: _before_retraining(run)))
    run.become(run.model)
    yield from fit(run, epochs=epochs, target=target, stop=stop)


def _before_retraining(run: Run) -> dict[str, float]:
    test = {f"before_retraining_test_{name}": value for name, value in evaluate(run, "test").items()}
    return test | {
        "before_retraining_sparsity": run.sparsity(),
        "before_retraining_dead_share": dead_share(run.model, run.task.data.train.inputs[:1]),
        "before_retraining_step": float(run.step),
    }
