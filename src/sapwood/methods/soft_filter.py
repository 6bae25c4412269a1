"""Soft filter pruning: the weakest filters are put to 0 after every epoch and train on, until the last choice is final.

    before training and after each epoch:  w_j <- 0 where |w_j|₂ is smallest; int(n * (1 - ratio)) of n filters stay

Paper: He, Kang, Dong, Fu, Yang, "Soft filter pruning for accelerating deep convolutional neural networks",
arXiv:1808.06866, IJCAI 2018; with `by="geometric_median"` He, Liu, Wang, Hu, Yang, arXiv:1811.00250, CVPR 2019.
Defaults: Liu et al., arXiv:1810.05270, for CIFAR-10.
Differs: in residual networks only filters inside of blocks; the papers also zero those of streams, which stay. In the
end units go with their norm's shift, which a zeroed filter still sends. Not in the papers: `macs`, `budget`, `tune`.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sapwood.criteria import UNIT_CRITERIA
from sapwood.currency import Keep
from sapwood.errors import InputError, picked
from sapwood.masking import masks as mask
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.ranking import drawn, unit_scores
from sapwood.methods.parts.widths import Asked, removable
from sapwood.selection.select import by_count
from sapwood.shrinking.cutting.units import spread
from sapwood.shrinking.tracing.site import Role, Site
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run

MADE: tuple[Role, ...] = ("makes",)


@declares("rebuilds")
def soft_filter(
    run: Run, *, pruned: float = 0.3, ratios: str = "", by: str = "l2", samples: int = 512, every: int = 1,
    epochs: int = 200, tune: int = 0, rate: float = 0.01, macs: float = 0.0, budget: str = "",
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, at the end of every `every`-th of which filters are zeroed; the last ones are taken out.

    `pruned` is the share of each layer's filters that is zeroed, `ratios` sets the shares by hand, as in "layer1=0.4";
    `macs`, if not 0, or `budget`, as in "bytes=0.5", says what is left in the end, by the same share of each layer.
    `by`: a criterion of units, which may look at `samples`. `tune` more epochs follow at `rate` of the learning rate.
    Noted: how many filters that stay have been zeroed once, `revived`; and how far the first and the last two choices
    are apart, `moved_first` and `moved_last`, as shares of the filters zeroed in either.
    """
    if every < 1 or rate < 0:
        raise InputError(f"{every=}, {rate=}: need 1 epoch or more, and a factor from 0 on")
    picked("unit criterion", by, UNIT_CRITERIA)
    counts = Asked(found := removable(run), pruned, ratios, macs, "uniform", 1, budget).widths(run)

    def weakest() -> Keep:
        return by_count(unit_scores(by, run.model, found, run.task, drawn(run, samples, "soft_filter")), counts)

    zero(run, found, run.remember("first choice", weakest))
    for now in train(run, epochs=epochs):
        if now.ends_epoch and now.epoch % every == 0:
            zero(run, found, weakest())
        yield now
    run.shrink(weakest, found)
    run.note(revived=sum(int((~each & run.cuts[-1].keep[name]).sum()) for name, each in run.store("whole").items()))
    yield from tuned(run, epochs=tune, rate=rate)


def zero(run: Run, found: Sequence[Site], keep: Keep) -> None:
    """Put the filters that `keep` leaves out to 0, where they are made; their norms stay. They train on from there."""
    mask.apply_(dict(run.model.named_parameters()), spread(run.model, keep, found, roles=MADE))
    whole, last = run.store("whole"), run.store("last")  # never zeroed; not zeroed by the choice before
    if last:
        moved = _apart({name: last[name] for name in keep}, keep)
        run.note(moved_last=moved, moved_first=run.notes.get("moved_first", moved))
    for name, stays in keep.items():
        whole[name], last[name] = whole.get(name, stays) & stays, stays


def _apart(one: Keep, other: Keep) -> float:
    """The Jaccard distance of what two choices leave out."""
    a, b = (~torch.cat([*keep.values()]) for keep in (one, other))
    either: Tensor = a | b
    return float((a ^ b).sum() / either.sum().clamp(min=1))
