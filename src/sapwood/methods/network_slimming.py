"""Network slimming: training draws the scales of batch norms to 0, and the channels with the smallest are taken out.

    g <- g - lr (dL/dg + strength * sign(g)), g a channel's scale;     channels go by |g|, in one ranking of all layers

Paper: Liu, Li, Shen, Huang, Yan, Zhang, "Learning efficient convolutional networks through network slimming",
arXiv:1708.06519, ICCV 2017. Defaults: a co-author's code for CIFAR-10, `strength` that of its VGG-19.
Differs: exactly as many channels go as are asked for, and one of each layer stays; in that code equals of the threshold
go too, and a layer may lose all. `macs`, not in the paper, asks for multiply-adds instead. Channels that several norms
scale go by the mean of their scales, out of all layers at once; that code lets the layers behind pick theirs.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.export.run_budget import budget_of, within
from sapwood.export.targets import Target
from sapwood.methods.parts.phases import tuned
from sapwood.scoring.layers import norm_scales
from sapwood.selection import select
from sapwood.shrinking.cost import fewest, macs_of
from sapwood.shrinking.cutting.units import per_unit
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.site import Site
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, descend, train
from sapwood.training.run import Run
from sapwood.training.task import Batch


@declares("rebuilds")
def network_slimming(
    run: Run, *, macs: float = 0.5, channels: float = 0.0, strength: float = 1e-4, initial: float = 0.5,
    epochs: int = 160, tune: int = 40, rate: float = 0.01, budget: str = "",
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs` with drawn scales, rebuilds, trains on for `tune` epochs at `rate` times the learning rate.

    `macs` is the share of the multiply-adds that may be left; `channels`, if not 0, the share of all channels with a
    batch norm that go instead; `budget`, words as "bytes=0.5" or "ms=0.5", the share of something else that may be
    left. Scales begin at `initial`; with 0, as the network has them.
    """
    if not 0 < macs <= 1 or not 0 <= channels < 1 or min(strength, initial, rate) < 0:
        raise InputError(f"{macs=}, {channels=}, {strength=}, {initial=}, {rate=}: need a share in (0, 1], one in "
                         "[0, 1), and numbers of 0 or more")  # fmt: skip
    for scale in norm_scales(run.model).values() if initial else ():
        scale.detach().fill_(initial)
    found, asked = sites(run.apart.several), budget_of(budget)
    yield from train(run, epochs=epochs, update=partial(drawn, strength=strength))
    run.shrink(lambda: chosen(run, found, macs, channels, asked), found)
    yield from tuned(run, epochs=tune, rate=rate)


def drawn(run: Run, batch: Batch, *, strength: float) -> tuple[Tensor, Tensor]:
    """An update that draws the scales to 0 beside the gradient of the loss, which is recorded without that."""
    outputs, loss = descend(run, batch)
    for scale in norm_scales(run.model).values():
        scale.grad = strength * scale.detach().sign() + (0 if scale.grad is None else scale.grad)
    return outputs, loss


def chosen(run: Run, found: Sequence[Site], macs: float, channels: float, asked: Target | None = None) -> select.Keep:
    """The channels that stay. Noted: the share of scales near 0, and channels spared as the last of their layer."""
    sizes = {name: scale.detach().abs() for name, scale in norm_scales(run.model).items()}
    units, every = per_unit(sizes, found, touching="holds", reduce=torch.mean), torch.cat(list(sizes.values()))
    if asked:
        keep = within(run, units, found, asked)
    elif channels:
        count = min(int(channels * sum(map(len, units.values()))), sum(len(each) - 1 for each in units.values()))
        keep = select.drop(units, count, least=1)
    else:
        cost = macs_of(run.apart.one, found)
        keep = fewest(units, cost, macs * run.reference.macs)
    gone = max(float(each.masked_fill(keep[name], 0).max()) for name, each in units.items())
    spared = sum(int((each[keep[name]] < gone).sum()) for name, each in units.items())
    run.note(near_zero=float((every < 0.05 * every.max()).double().mean()), spared=spared)
    return keep
