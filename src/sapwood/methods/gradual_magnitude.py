"""Gradual magnitude pruning: the smallest weights go, little by little, on a polynomial schedule.

    s(t) = s_f + (s_i - s_f) (1 - (t - begin) / (end - begin))^power

Paper: Zhu & Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
arXiv:1710.01878, 2017, equation 1. With dense_epochs, end=2, land=False it is the baseline M of Ganguli & Chong 2024.
Differs: hidden layers only, unless `output` (their large networks prune all but the first); a removed weight does not
come back.
"""

from collections.abc import Iterator

from sapwood import criteria
from sapwood.errors import InputError, refuse_unless
from sapwood.methods.parts import phases
from sapwood.scoring.criterion import score
from sapwood.scoring.layers import chosen
from sapwood.selection import schedule
from sapwood.selection.scope import SCOPES, selected
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


@phases.then(phases.retrain)
def gradual_magnitude(
    run: Run,
    *,
    sparsity: float = 0.8,
    initial: float = 0.0,
    begin: float = 1.0,
    end: float = 20.0,
    every: int = 100,
    epochs: int = 40,
    power: float = 3.0,
    land: bool = True,
    criterion: str = "magnitude",
    scope: str = "per_layer",
    output: bool = False,
    dense_epochs: int = 0,
    target: float = 0.98,
    stop: str = "spikes",
) -> Iterator[Moment]:
    """Prunes every `every` steps from epoch `begin` to epoch `end` of `epochs`, after up to `dense_epochs` without.

    `scope`: each layer to the same sparsity ("per_layer"), to one that suits its shape ("er", "erk"), or one ranking
    over all ("everywhere", for which `criterion` may be "lamp"). `land` makes the last prune fall on `end` exactly. The
    dense phase ends by `target` and `stop`, the other takes all its epochs.
    """
    refuse_unless("scope", scope, SCOPES)
    if not 0 <= begin <= end <= epochs:
        raise InputError(f"begin={begin}, end={end}, epochs={epochs}: need 0 <= begin <= end <= epochs")
    judge, layers = criteria.named(criterion), list(chosen(run.model, None if output else run.hidden()))
    per_epoch = run.task.steps_per_epoch
    wanted = schedule.polynomial(
        round(begin * per_epoch), round(end * per_epoch), every, sparsity, initial=initial, power=power, land=land
    )
    if dense_epochs:
        yield from phases.fit(run, epochs=dense_epochs, target=target, stop=stop)
    if begin == 0 and initial > 0:  # before the first step, after which the schedule is asked for the first time
        run.prune(selected(score(run.model, judge, only=layers), initial, scope, among=run.masks))
    for now in train(run, epochs=epochs, acts=lambda step: wanted(step - run.begun) is not None):
        due = wanted(run.step - run.begun)
        if due is not None:
            run.prune(selected(score(run.model, judge, only=layers), due, scope, among=run.masks))
        yield now
