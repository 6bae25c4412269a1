"""Sparse structure selection: factors on blocks, groups or channels become 0 while training, and these go.

    z = S_{η γ}(λ - η g),  m <- z - λ + μ m,  λ <- max(0, z + μ m);    S_a(x) = sign(x) max(|x| - a, 0)

g is the slope of the loss by a structure's factor λ, η the learning rate, γ `strength`, μ `momentum`.
Paper: Huang & Wang, "Data-driven sparse structure selection", ECCV 2018, arXiv:1707.01213, `strength`, `momentum`, λ of
1 at first and without weight decay as in the authors' code for ResNets; their lists of learning rates for CIFAR-10 end
at epoch 240. What is not a factor trains as the task says.
Differs: factors rest for the last `settle` of the training, after the last fall of the learning rate in their code,
since momentum can lift one from 0 at any moment; with 0 they do not. One channel or group of each layer stays. Channels
that several layers make have no factor. `macs`, not in the paper, lets factors rest as soon as no more is left.
"""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from sapwood.errors import InputError
from sapwood.gates import Factor, Gated
from sapwood.methods.parts.affordable import Affordable
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.structures import Structures, spared, structures
from sapwood.shrinking.depth import remove_branches
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, descend, train
from sapwood.training.proximal import ProximalNesterov
from sapwood.training.run import Run
from sapwood.training.task import Batch
from sapwood.training.together import Together


@declares("rebuilds")
def sparse_structure_selection(
    run: Run, *, kind: str = "blocks", strength: float = 0.01, momentum: float = 0.9, epochs: int = 240,
    settle: float = 0.1, tune: int = 0, rate: float = 0.1, macs: float = 0.0,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, builds the network without structures at 0, trains on for `tune` at `rate` times the rate.

    `kind` is "blocks", "groups" (of convolutions) or "channels". What goes follows from `strength`. With `macs`, if not
    0, factors rest as soon as what is not at 0 costs no more than this share of the multiply-adds; if they are still
    too many in the end, those with the smallest factors go too. Noted: that share, and how many structures go.
    """
    if not strength >= 0 or not 0 <= momentum < 1 or not 0 <= settle <= 1 or not rate >= 0 or not 0 <= macs <= 1:
        raise InputError(f"{strength=}, {momentum=}, {settle=}, {rate=}, {macs=}: need numbers of 0 or more, momentum "
                         "below 1, settle and macs up to 1")  # fmt: skip
    whole = run.apart.several
    found = structures(kind, whole)
    few = Affordable(run, kind, found, macs) if macs else None
    like = next(run.model.parameters())
    gated = Gated(run.model, {name: Factor(units).to(like) for name, units in found.units.items()}, found.places)
    rest = run.task.optimizer(gated.model.parameters())
    moving = ProximalNesterov(gated.gates.parameters(), rest.param_groups[0]["lr"], momentum=momentum,
                              strength=strength, positive=True)  # fmt: skip
    last = (1 - settle) * epochs * run.task.steps_per_epoch

    def resting(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs, loss = descend(run, batch)
        if run.step - run.begun >= last or (few and few.reached(gated)):
            gated.gates.zero_grad()
        return outputs, loss

    run.become(gated, Together(rest, moving))
    yield from train(run, epochs=epochs, update=resting)
    without(run, whole, gated, found, few)
    yield from tuned(run, epochs=tune, rate=rate)


def without(run: Run, whole: Anatomy, gated: Gated, found: Structures, few: Affordable | None = None) -> None:
    """Go on with the network without structures at 0, all other factors multiplied into its weights; sizes noted."""
    keep = run.remember("not 0", partial(few.chosen, gated) if few else gated.keep)
    baked, _ = gated.bake()
    gated.model.load_state_dict(baked.state_dict())
    gone = [] if found.sites else [name for name, kept in keep.items() if not kept]
    staying = spared(keep) if found.sites else {}
    run.become(remove_branches(whole, gone, reshaping=True).model)
    built = run.shrink(staying, found.sites)
    zeros = sum(int((~kept).sum()) for kept in keep.values())
    run.note(zeros=zeros, spared=zeros - len(gone) - built.units, macs_left=built.size.macs / run.reference.macs)
