"""Laws of an epoch's metrics and of random draws, and bugs planted in them."""

from importlib import import_module
from itertools import chain

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_task
from sapwood.methods import METHODS
from sapwood.training import draws
from sapwood.training.run import start

training = import_module("sapwood.training.loop")
surgery, cycles, sparse = (
    import_module(f"sapwood.{name}")
    for name in ("methods.dynamic_surgery", "methods.parts.cycles", "methods.sparse_training")
)
EASY = {"stop": "spikes", "epochs": 3, "target": 1.0}
ACTING = {  # methods that change the network at an epoch's end, some after a rule has looked at the validation loss
    "nuclear": {"strength": 0.3, "every": 4} | EASY,
    "global_activation": {"first": 0.01, "cycles": 2, "sparsity": 0.5} | EASY,
    "local_activation": {"first": 0.01, "sparsity": 0.5} | EASY,
    "gradual_magnitude": {"begin": 0, "end": 2, "every": 3, "epochs": 3},
    "dynamic_surgery": {"sparsity": 0.5, "dense_epochs": 0, "surgery": 2, "epochs": 3},
    "sparse_training": {"every": 2, "epochs": 3},
}
original_drawn, epoch_metrics = draws.drawn, training._epoch_metrics
KINDS = ("data order", "augmentation", "probe", "surgery", "moving weights")
ONCE = ("samples at initialisation", "shuffled masks", "other initial weights")
STEPS = 100_000  # of each of two seeds, for each kind: a million draws
OLD = {"surgery": 8_191, "probe": 7_919, "moving weights": 6_007}  # what the seed was multiplied with


def metrics_laws() -> Laws:
    """Whatever a method does at an epoch's end, and whoever has read the metrics before."""
    return {"metrics: an epoch's are those of the network that the method left": _of_what_is_left}


def _of_what_is_left() -> None:
    for name, options in ACTING.items():
        run = start(tiny_task())
        for now in METHODS[name](run, **options):
            if now.ends_epoch:
                said, left = now.metrics["valid_loss"], training.evaluate(run)["loss"]
                demand(said == left, f"{name}, epoch {now.epoch}: {said}, the network that is left has {left}")


def luck_laws() -> Laws:
    """Of two seeds, at all steps, for everything that is drawn."""
    return {
        "luck: two seeds never draw the same": _apart,
        "luck: a draw is a function of seed, purpose and step": _function,
    }


def _apart() -> None:
    """A million generators by what they are made of, a thousand by the numbers that come out."""
    first, second = (set(chain(_made(seed, STEPS))) for seed in (0, 1))
    expected = len(KINDS) * STEPS + len(ONCE)
    demand(len(second) == expected, f"{expected - len(second)} of {expected} draws of seed 1 are equal")
    demand(not first & second, f"{len(first & second)} draws of seed 0 are draws of seed 1")
    ours, theirs = (
        {_numbers(seed, what, step) for what in KINDS for step in (*range(50), *OLD.values())} for seed in (0, 1)
    )
    demand(not ours & theirs, f"{len(ours & theirs)} times the same numbers came out")


def _made(seed: int, steps: int):
    for what in KINDS:
        for step in range(steps):
            yield draws.drawn(seed, what, step)
    for what in ONCE:
        yield draws.drawn(seed, what)


def _numbers(seed: int, what: str, step: int) -> tuple[int, ...]:
    return tuple(torch.randint(2**62, (4,), generator=draws.luck(seed, what, step)).tolist())


def _function() -> None:
    torch.manual_seed(3)
    there = _numbers(5, "probe", 7)
    demand(_numbers(5, "probe", 7) == there, "asked again, it is another")
    others = [_numbers(*each) for each in ((6, "probe", 7), (5, "surgery", 7), (5, "probe", 8))]
    demand(there not in others and len(set(others)) == 3, "another seed, purpose or step gives the same")


def early(run):
    """Evaluated when the epoch ends, before the method acts."""
    found = epoch_metrics(run)
    found.settle()
    return found


def without_seed(seed, what, step=0):
    return original_drawn(0, what, step)


def by_a_prime(seed, what, step=0):
    """As it was: seed 0 at step 8191 + n draws what seed 1 draws at step n."""
    return (seed * OLD.get(what, 1_000_003) + step).to_bytes(16, "big")


def without_step(seed, what, step=0):
    return original_drawn(seed, what, 0)


MUTANTS = (
    *bugs(
        "metrics",
        metrics_laws,
        {
            "an epoch's are those of the network that the method left": {
                "metrics evaluated before the method acts": instead(training, "_epoch_metrics", early),
                "metrics not evaluated again once they were read": instead(training, "_standing", lambda run: b"same"),
            }
        },
    ),
    *bugs(
        "luck",
        luck_laws,
        {
            "two seeds never draw the same": {
                "luck without the seed": instead(draws, "drawn", without_seed),
                "the seed times a prime, plus the step": instead(draws, "drawn", by_a_prime),
            },
            "a draw is a function of seed, purpose and step": {
                "luck without the step": instead(draws, "drawn", without_step),
            },
        },
    ),
)
