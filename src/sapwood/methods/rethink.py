"""Rethink: a pruned network is trained again, with its weights or with new ones, to see what either is worth.

    epochs of "scratch_b" = floor(epochs * F0 / F1),   F0 and F1 the multiply-adds of an image before and after pruning

Paper: Liu, Sun, Zhou, Huang, Darrell, "Rethinking the value of network pruning", arXiv:1810.05270, ICLR 2019. Defaults:
the authors' code for CIFAR-10; for ImageNet it has a `cap` of 2 where ratios are set by hand.
Differs: the last epoch counts, where that code keeps the best one on the test images; multiply-adds are measured on the
network itself, of masked layers those of weights that are not 0. "reinitialised" and the widths "units", "uniform" and
"random" are not in that code.
"""

from collections.abc import Iterator
from dataclasses import replace

from sapwood.errors import InputError, refuse_unless
from sapwood.methods.parts.controls import drawn_for_its_size, reinitialised
from sapwood.methods.parts.equal_macs import WIDTHS, become_like, macs_now, shrink_to
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.widths import removable
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run

PROTOCOLS = ("fine_tune", "reinitialised", "scratch_e", "scratch_b")


@declares("rebuilds")
def rethink(
    run: Run, *, protocol: str = "scratch_b", widths: str = "pruned", macs: float = 0.0,
    epochs: int = 160, cap: float = 0.0, tune: int = 40, rate: float = 0.01,
) -> Iterator[Moment]:  # fmt: skip
    """Trains the smaller or masked network of the trial named as `like`. Its masks stay in force.

    `protocol`: "fine_tune" trains its weights for `tune` epochs at a constant `rate` times the learning rate.
    "reinitialised" does the same to random weights. "scratch_e" trains random weights for `epochs`, "scratch_b" for the
    cost of `epochs` of the unpruned network, at most `cap` times `epochs` (0: no cap). `widths` other than "pruned" are
    controls of equal multiply-adds, drawn by luck: other "units" of the same widths, "uniform" widths, "random" widths.
    To fine-tune a control, name a trained network as `start`. Without `like`, `macs` is the share of multiply-adds that
    a control has. Noted: that share, `macs_left`, and the `cost` of training, 1 for `epochs` of the unpruned network.
    """
    refuse_unless("protocol", protocol, PROTOCOLS)
    refuse_unless("widths", widths, WIDTHS)
    if not 0 <= macs <= 1 or epochs < 1 or tune < 0 or rate < 0 or cap < 0 or 0 < cap < 1:
        raise InputError(f"{macs=}, {epochs=}, {tune=}, {rate=}, {cap=}: need a share in [0, 1], 1 epoch or more, 0 or "
                         "more to tune, a factor of 0 or more, and a cap of 1 or more, or 0 for none")  # fmt: skip
    like, whole = run.given.get("like"), run.reference.macs
    if ("like" in run.given) is (macs > 0) or (widths in ("pruned", "units") and not like):
        raise InputError(f"{widths} widths, {macs=}: name a pruned network's trial with after(like=...), or else give "
                         "macs, and uniform or random widths")  # fmt: skip
    if protocol == "fine_tune" and widths != "pruned" and "start" not in run.given:
        raise InputError(f"fine-tuning {widths} widths needs trained weights: name their trial with after(start=...)")
    masks = become_like(run, like, widths) if like else shrink_to(run, removable(run), macs * whole, widths)
    if protocol != "fine_tune":
        redrawn(run)
    if masks:
        run.prune(masks)
    now = macs_now(run)
    length = {"scratch_e": epochs, "scratch_b": scratch_epochs(epochs, whole, now, cap)}.get(protocol, tune)
    run.note(macs_left=now / whole, cost=length * now / (epochs * whole))
    if protocol.startswith("scratch"):
        yield from train(run, epochs=length)
    else:
        run.task = replace(run.task, course=None)
        yield from tuned(run, epochs=length, rate=rate)


def scratch_epochs(epochs: int, whole: int, now: int, cap: float = 0.0) -> int:
    """How long a network of `now` multiply-adds trains for the cost of `epochs` of one of `whole`; see `rethink`."""
    length = epochs * whole // now
    return min(length, int(cap * epochs)) if cap else length


def redrawn(run: Run) -> None:
    """Give the network random weights, not those that the unpruned one began with, by the rule of the run's task."""
    if not run.task.redraws and run.rebuilt:
        raise InputError(f"task {run.task.name!r} has no rule for first weights of another size, fresh=; take a task "
                         "that begins with random ones")  # fmt: skip
    drawn_for_its_size(run) if run.task.redraws else run.rewind(reinitialised(run))
