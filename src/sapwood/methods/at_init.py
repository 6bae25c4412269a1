"""At initialisation: one look at the untrained network decides which weights there are, then they are trained.

    the share `sparsity` with the lowest scores goes, in `rounds`: density (1 - sparsity)^(r / rounds) after round r

`criterion` "snip" is Lee, Ajanthan, Torr, arXiv:1810.02340, 2019, `rounds` 1; "grasp" is Wang, Zhang, Grosse,
arXiv:2002.07376, 2020, `rounds` 1; "synflow" is Tanaka, Kunin, Yamins, Ganguli, arXiv:2006.05467, 2020, `rounds` 100.
Any other criterion is a control: "random_" with `scope` "erk", "magnitude". The formulas are in `criteria` and
`saliency`. `control` "shuffled" and "reinitialised" is Frankle et al., arXiv:2009.08576, 2021.
Differs: what is scored is trained (the authors of SNIP train another set of initial weights: "reinitialised"); samples
are drawn without regard to their class (GraSP: equally many of each); they are seen in evaluation mode; biases stay.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sapwood import criteria, saliency, schedule
from sapwood.controls import CONTROLS, controlled
from sapwood.criterion import score
from sapwood.draws import luck
from sapwood.errors import InputError, refuse_unless
from sapwood.hold import seen_through
from sapwood.masks import Masks
from sapwood.observe import chosen, observe
from sapwood.run import Run
from sapwood.scope import selected
from sapwood.select import Scores
from sapwood.task import Batch
from sapwood.train import Moment, train


def at_init(
    run: Run,
    *,
    sparsity: float = 0.9,
    criterion: str = "snip",
    scope: str = "everywhere",
    rounds: int = 1,
    samples: int = 100,
    output: bool = True,
    control: str = "none",
    epochs: int = 40,
) -> Iterator[Moment]:
    """Prunes before the first step, by `samples` training samples if the criterion looks at any, and trains."""
    refuse_unless("criterion", criterion, (*criteria.CRITERIA, "grasp", "synflow"))
    refuse_unless("control", control, CONTROLS)
    layers = list(chosen(run.model, None if output else run.hidden()))
    batch, masks = _drawn(run, samples), Masks()
    for share in schedule.geometric_rounds(sparsity, rounds):
        with seen_through(run.model, masks):
            scores = _scores(run, criterion, batch, layers)
        masks = selected(scores, share, scope, among=masks)
    masks, weights = controlled(run, masks, run.model.state_dict(), control)
    run.rewind(weights)
    run.prune(masks)
    yield from train(run, epochs=epochs)


def _scores(run: Run, criterion: str, batch: Batch, layers: Sequence[str]) -> Scores:
    def loss(outputs: Tensor, batch: Batch) -> Tensor:
        return run.loss(run.model, batch, outputs) * len(batch)

    if criterion == "grasp":
        return saliency.grasp(run.model, batch, loss, only=layers)
    if criterion == "synflow":
        return saliency.synflow(run.model, batch.inputs, only=layers)
    judge = criteria.named(criterion)
    seen = observe(run.model, [batch], *judge.needs, loss=loss, only=layers) if judge.needs else None
    return score(run.model, judge, seen, only=layers)


def _drawn(run: Run, samples: int) -> Batch:
    """So many training samples, none twice: a function of the seed."""
    train = run.task.data.train
    if not 1 <= samples <= len(train):
        raise InputError(f"samples is {samples}; give how many of {len(train)} training samples to look at")
    order = torch.randperm(len(train), generator=luck(run.seed, "samples at initialisation"))
    return train.take(order[:samples].to(run.device))
