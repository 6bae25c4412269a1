"""Bugs planted in what rethinks pruned networks: how long it trains, what it inherits, what controls cost."""

from copy import deepcopy
from functools import cache
from importlib import import_module

import torch
from outsiders import drawn_alike, rethinking
from planted.mutant import bugs, instead

from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_conv_task, tiny_task
from sapwood.methods import METHODS
from sapwood.methods.parts import equal_macs
from sapwood.training.given import Given
from sapwood.training.run import start

rethink = import_module("sapwood.methods.rethink")
fewest, other_masks = equal_macs.fewest, equal_macs.other_masks
DRAWN = drawn_alike(tiny_conv_task())
SHARE = 0.4


def laws() -> Laws:
    return {
        "rethinking: scratch_b costs what the unpruned network did, short of one epoch": _cost,
        "rethinking: scratch begins with random weights, fine-tuning with those of the pruned network": _begins,
        "rethinking: uniform and random widths cost no more than was asked for": _equal,
        "rethinking: other masks leave as many multiply-adds as the pruned network's, but for one weight": _masks,
    }


def mask_laws() -> Laws:
    return method.laws("rethink", rethinking, task=tiny_task(), reaches=0.5)


@cache
def pruned() -> Given:
    """A network of half as many filters."""
    run = start(DRAWN)
    list(METHODS["l1_filters"](run, epochs=0, tune=0))
    model = deepcopy(run.model)
    return Given(model.state_dict(), {}, 0.0, True, lambda: deepcopy(model))


def _run(given=None, steps=None, **options):
    run = start(DRAWN)
    run.given = {"like": given} if given else {}
    for number, _ in enumerate(METHODS["rethink"](run, **options), 1):
        if number == steps:
            break
    return run


def _cost():
    run = _run(pruned(), epochs=4)
    spent, whole = run.step * run.size().macs, 4 * 3 * run.reference.macs  # three steps an epoch
    demand(whole - 3 * run.size().macs < spent <= whole, f"{spent} multiply-adds of a sample's are spent, not {whole}")


def _begins():
    """Batch norms aside, a learning rate of 0 leaves weights as they begin."""
    for protocol in rethink.PROTOCOLS:
        run = start(DRAWN)
        run.given, seen = {"like": pruned()}, []
        run.loss = lambda model, batch, outputs, seen=seen: (
            seen.append(deepcopy(model)) or DRAWN.loss(model, batch, outputs)
        )
        next(METHODS["rethink"](run, protocol=protocol, epochs=1, tune=1))
        begun = dict(seen[-1].named_parameters())
        inherits = all(torch.equal(p, pruned().weights[name]) for name, p in begun.items() if p.dim() > 1)
        demand(inherits == (protocol == "fine_tune"), f"{protocol}: weights are {'' if inherits else 'not '}inherited")


def _equal():
    for how in ("uniform", "random"):
        run = _run(steps=1, widths=how, macs=SHARE)
        share = run.size().macs / run.reference.macs
        demand(share <= SHARE, f"{how} widths leave {share:.3f} of the multiply-adds, not {SHARE}")


def _masks():
    drawn = torch.Generator().manual_seed(0)
    sizes = {"0.weight": (4, 1, 3, 3), "4.weight": (6, 4, 3, 3), "8.weight": (8, 24)}
    places = {"0.weight": 16, "4.weight": 4, "8.weight": 1}  # of each weight
    masks = {name: torch.rand(size, generator=drawn) > 0.6 for name, size in sizes.items()}
    for how in ("uniform", "random"):
        run = _run(Given(start(DRAWN).model.state_dict(), masks, 0.0), 1, widths=how)
        now, wanted = (sum(places[n] * int(keep.sum()) for n, keep in m.items()) for m in (run.masks, masks))
        demand(wanted - 16 < now <= wanted, f"{how} masks leave {now} multiply-adds, those of like {wanted}")


def by_parameters(run):
    return run.size().parameters * run.reference.macs // run.reference.parameters


def rounded_up(epochs, whole, now, cap=0.0):
    return -(-epochs * whole // now)


def too_many(ranks, cost, limit):
    return fewest(ranks, cost, 1.4 * limit)


def as_many_weights(run, masks, how):
    """As many weights in all, whatever they cost."""
    share = sum(int(keep.sum()) for keep in masks.values()) / sum(keep.numel() for keep in masks.values())
    drawn = torch.Generator().manual_seed(1)
    return {name: torch.rand(keep.shape, generator=drawn) < share for name, keep in masks.items()}


def not_held(run, like, widths):
    """Masked weights are 0 at first, and train on."""
    run.masks = dict(other_masks(run, like.masks, widths))
    return {}


MUTANTS = (
    *bugs("rethinking", laws, {
        "scratch_b costs what the unpruned network did, short of one epoch": {
            "scratch_b counts parameters for multiply-adds": instead(rethink, "macs_now", by_parameters),
            "epochs of scratch_b are rounded up": instead(rethink, "scratch_epochs", rounded_up),
        },
        "scratch begins with random weights, fine-tuning with those of the pruned network": {
            "scratch keeps the weights that were inherited": instead(rethink, "redrawn", lambda run: None),
        },
        "uniform and random widths cost no more than was asked for": {
            "units go until too many multiply-adds are left": instead(equal_macs, "fewest", too_many),
        },
        "other masks leave as many multiply-adds as the pruned network's, but for one weight": {
            "masks leave as many weights, whatever these cost": instead(equal_macs, "other_masks", as_many_weights),
        },
    }),
    *bugs("method rethink", mask_laws, {
        "masked weights are 0 at every moment": {
            "masks of the pruned network are not held": instead(rethink, "become_like", not_held),
        },
    }),
)  # fmt: skip
