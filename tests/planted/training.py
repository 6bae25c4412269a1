"""Bugs planted in training: saving and resuming, methods, checkpoints."""

import hashlib
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from itertools import count
from unittest.mock import patch

import torch
from outsiders import dynamic_surgery, ticket
from planted.holding import FirstStepOnly
from planted.mutant import bugs, instead

from sapwood import checkpoint, disk, schedule, select
from sapwood.checks import checkpoint as files
from sapwood.checks import life, method
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.scoring import observation as seeing
from sapwood.training import loop as training
from sapwood.training import run as running
from sapwood.training import task as tasks
from sapwood.training.run import Run, start

global_activation, nuclear, sparse = (
    import_module(f"sapwood.methods.{name}") for name in ("global_activation", "nuclear", "sparse_training")
)
state, load, metrics = Run.state, Run._load, training.evaluate
drop, counts_of = select.drop, schedule.counts_of
decode, replacing = checkpoint.decode, disk.replacing
metadata, put_together = checkpoint._metadata, checkpoint._put_together

SEEN_MASKED = "masked weights are 0 in every pass, also while the dense ones learn"
SAME_BITS = "interrupted before any step and resumed: the same bits"
TINY = {"first": 0.01, "target": 0.02, "stop": "epochs", "epochs": 3, "cycles": 2, "sparsity": 0.5}


def method_laws():
    """Two cycles of neurons counted while training, then retraining without masks."""
    return method.laws("global", METHODS["global_activation"], **TINY, retrain=1, reaches=(37 + 30) / 112)


def masked_laws():
    """The same, masked to the end."""
    return method.laws("global", METHODS["global_activation"], **TINY, criterion="active_magnitude")


def nuclear_laws():
    """Singular values are shrunk after every fourth step."""
    return method.laws("nuclear", METHODS["nuclear"], strength=0.3, every=4, epochs=2)


def surgery_laws():
    """Removed weights go on learning, and may be kept again."""
    return method.laws("surgery", dynamic_surgery, nested=False, epochs=2)


def ticket_laws():
    """Weights are remembered, gone back to, and made into another network."""
    return method.laws("ticket", ticket, nested=False)


def thinner_dropout_laws():
    """Dropout is made smaller as thresholds find more to remove."""
    options = {"quality": "1.0", "rounds": 2, "first_epochs": 1, "round_epochs": 1}
    return method.laws("iterative_magnitude", METHODS["iterative_magnitude"], **options)


def hysteresis_laws():
    """Thresholds are found once, after a while of training."""
    options = {"c": "0", "band": 0.0, "dense_epochs": 2, "surgery": 2, "epochs": 2, "nested": False}
    return method.laws("dynamic_surgery", METHODS["dynamic_surgery"], **options)


def moving_laws():
    """The threshold moves, and in the end the share asked for goes."""
    options = {"sparsity": 0.75, "band": 0.5, "dense_epochs": 0, "surgery": 2, "epochs": 3}
    return method.laws("dynamic_surgery by a share", METHODS["dynamic_surgery"], nested=False, reaches=0.75, **options)


def regrowing_laws():
    """Weights move by the last step's gradients."""
    options = {"sparsity": 0.6, "every": 2, "epochs": 2, "nested": False, "reaches": 0.6}
    return method.laws("sparse_training", METHODS["sparse_training"], **options)


def halved(scores, sparsity):
    return {name: each > each.median() for name, each in scores.items()}


def steps_of_this_life(run, step, every):
    run.first = getattr(run, "first", step)
    return (step - run.first + 1) % every or every


def none_come(masks, drop, grow, fraction):
    return {name: keep & (drop[name] > drop[name][keep].median()) for name, keep in masks.items()}


def without(**entries):
    """The run's state is saved with these entries as they are at the start of a run."""
    return instead(Run, "state", lambda run: state(run) | entries)


def without_optimizer(run):
    return state(run) | {"optimizer": state(run)["optimizer"] | {"state": {}}}


def prune_lost(run, saved, *more):
    load(run, {**saved, "masks": {}}, *more)


def not_held_again(run, saved, *more):
    load(run, saved, *more)
    if run._held is not None:
        run._held.release()


def masks_after_weights(run, saved, *more):
    load(run, saved, *more)
    run._set_masks(saved["masks"])


def ill_timed(*, before_the_consumer, at_epoch_ends):
    """`train` with `run.between` called at the wrong time."""

    def train(run, *, epochs=None, steps=None, acts=None):
        end = run.begun if not run.enter() else run.begun + training._length(run.task, epochs, steps)
        while run.step < end:
            now = training._moment(run, training.one_step(run, training.descend))
            if before_the_consumer:
                run.between(run)
            try:
                yield now
            finally:
                if now.ends_epoch:
                    training._settle(now)
            if not before_the_consumer and (now.ends_epoch or not at_epoch_ends):
                run.between(run)
        run.leave()

    return train


def saving(*, before_the_consumer=False, at_epoch_ends=False):
    wrong = ill_timed(before_the_consumer=before_the_consumer, at_epoch_ends=at_epoch_ends)
    return instead(global_activation, "train", wrong)


def dense_metrics(run, split):
    return training.measured(run.model, run.task, getattr(run.task.data, split))


def computed_anew(run, name, compute):
    return deepcopy(compute())


def let_go_when_rewinding(run, weights):
    if run._held is not None:
        run._held.release()
    run.model.load_state_dict(dict(weights))


def by_the_clock():
    ticks = count()
    luck = torch.Generator()

    def order(samples, size, device, seed, epoch):
        return torch.split(torch.randperm(samples, generator=luck.manual_seed(next(ticks))), size)

    return patch.object(tasks, "_order", order)


def by_global_luck():
    """Drawn from torch's own generator whenever an epoch begins, or a life."""
    last = {"step": -2, "order": ()}

    def batch(task, seed, step, share=tasks.WHOLE):
        if step % task.steps_per_epoch == 0 or step != last["step"] + 1:
            last["order"] = torch.split(torch.randperm(len(task.data.train)), task.batch_size)
        last["step"] = step
        return task.data.train.take(last["order"][step % task.steps_per_epoch][share])

    return patch.object(tasks.Task, "batch", batch)


def forgetting_the_past(scores, count, **options):
    return drop(scores, count, **options | {"among": None})


def tuples_as_lists(value, tensors):
    match value:
        case {"__tuple__": items}:
            return [tuples_as_lists(item, tensors) for item in items]
    return put_together(value, tensors)


def empty_if_bad(content, origin=""):
    try:
        return decode(content)
    except InputError:
        return {}


@contextmanager
def in_place(path):
    with open(path, "w+b") as file:
        yield file


@contextmanager
def left_beside(path):
    path.with_name(f".{path.name}.new").write_bytes(b"")
    with replacing(path) as file:
        yield file


def names_only(tensors, tree, **copies):
    return metadata({name: torch.empty(0) for name in tensors}, tree, **copies)


def bytes_only(tensors, **copies):
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        state.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return state.digest()


MUTANTS = (
    *bugs(
        "method global",
        masked_laws,
        {
            SAME_BITS: {
                "random state not restored": instead(checkpoint, "restore_random_state", lambda *_: None),
                "optimiser state not saved": instead(Run, "state", without_optimizer),
                "memory not saved": without(memory={}),
                "round not saved": without(round=0),
                "epoch sums not saved": without(sums={}),
                "a prune lost on resuming": instead(Run, "_load", prune_lost),
                "masks loaded but not held": instead(Run, "_load", not_held_again),
                "masks set after the weights are loaded: -0.0 becomes 0.0": instead(Run, "_load", masks_after_weights),
                "saved before the consumer has acted": saving(before_the_consumer=True),
                "saved at the ends of epochs only": saving(at_epoch_ends=True),
                "data order from the global random state": by_global_luck,
            },
            "resuming leaves the saved state as it was": {
                "memory goes on in the saved tensors": instead(running, "moved", lambda value, device: value),
                "optimiser state goes on in the saved tensors": instead(running, "deepcopy", lambda value: value),
            },
            "the same seed gives the same bits": {"data order from the clock": by_the_clock},
            "another seed gives other bits": {
                "the seed not used": instead(life, "start", lambda task, seed=0, **more: start(task, 0, **more))
            },
            "the test split changes nothing": {
                "test metrics for validation metrics": instead(
                    training, "evaluate", lambda run, split: metrics(run, "test")
                )
            },
            "masked weights are 0 at every moment": {
                "masks of a run dropped after one step": instead(running, "Held", FirstStepOnly)
            },
            "no hook is left behind, also when the consumer stops early": {
                "hooks left when the consumer stops": instead(seeing, "_remove", lambda hooks: None)
            },
            "masks only shrink": {
                "an earlier prune forgotten in the next": instead(select, "drop", forgetting_the_past)
            },
        },
    ),
    *bugs(
        "method global",
        method_laws,
        {
            SAME_BITS: {
                "which call of train not saved": without(phase=0),
                "where the call of train began not saved": without(begun=0),
            },
            "the sparsity asked for is reached": {
                "shares of the weights of one layer": instead(
                    schedule, "counts_of", lambda shares, size: counts_of(shares, size // 2)
                )
            },
        },
    ),
    *bugs(
        "method nuclear",
        nuclear_laws,
        {SAME_BITS: {"steps of this life counted": instead(nuclear, "_since_last", steps_of_this_life)}},
    ),
    *bugs(
        "method iterative_magnitude",
        thinner_dropout_laws,
        {SAME_BITS: {"dropout by the masks of untrained weights": instead(Run, "remember", computed_anew)}},
    ),
    *bugs(
        "method dynamic_surgery",
        hysteresis_laws,
        {SAME_BITS: {"thresholds of untrained weights": instead(Run, "remember", computed_anew)}},
    ),
    *bugs(
        "method dynamic_surgery by a share",
        moving_laws,
        {
            "the sparsity asked for is reached": {
                "half goes whatever is asked for": instead(select, "everywhere", halved)
            }
        },
    ),
    *bugs(
        "method sparse_training",
        regrowing_laws,
        {"the sparsity asked for is reached": {"weights go and none come": instead(sparse, "regrow", none_come)}},
    ),
    *bugs(
        "method surgery",
        surgery_laws,
        {
            SAME_BITS: {"dense training not saved": without(dense=False)},
            SEEN_MASKED: {
                "dense weights in the forward pass": instead(
                    training, "_seen_through", lambda run, batch, update: update(run, batch)
                ),
                "dense weights evaluated": instead(training, "_through", dense_metrics),
            },
        },
    ),
    *bugs(
        "method ticket",
        ticket_laws,
        {
            SAME_BITS: {
                "what is remembered is not copied": instead(running, "cloned", lambda value: value),
                "what is remembered is computed anew": instead(Run, "remember", computed_anew),
            },
            SEEN_MASKED: {"removed weights come back when rewinding": instead(Run, "rewind", let_go_when_rewinding)},
        },
    ),
    *bugs(
        "checkpoint",
        files.laws,
        {
            "what goes in comes out: values, types, shapes, order": {
                "tuples come back as lists": instead(checkpoint, "_put_together", tuples_as_lists)
            },
            "a file with any byte changed is refused": {
                "the tensors left out of the digest": instead(checkpoint, "_metadata", names_only)
            },
            "a file that is cut short, or foreign, is refused": {
                "a bad file taken for an empty one": instead(checkpoint, "decode", empty_if_bad)
            },
            "a write that fails leaves the old file and nothing else": {
                "written in place": instead(disk, "replacing", in_place),
                "what was written beside is left there": instead(disk, "replacing", left_beside),
            },
            "equal trees have one fingerprint, unequal ones have two": {
                "a digest of bytes without names, types and shapes": instead(checkpoint, "digest", bytes_only)
            },
        },
    ),
)
