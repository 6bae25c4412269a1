"""The arms of the study: every method at every compression under one budget, tuning, controls, the originals' points.

    METHOD, FOLD        one of METHODS with 1 / FOLD of the 266,200 weights kept; of CONTROLS, at CONTROLLED folds
    dense               the same budget, nothing removed
    as ...              the point that a method's own paper reports, with a length of its own
    tune METHOD, FOLD, RATE   with a seed of its own; what has the lowest validation error is in `rates`

The budget: 10 epochs of 459 steps, the learning rate falling by a cosine in every phase of training. The rate itself is
each method's own. A seed's arms are neighbours, so that a study cut short has fewer seeds, not fewer methods.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sapwood.study.budgets import Connected, sparsity
from sapwood.study.folds import Folds, label
from sapwood.trials.trial import Trial, Value

from . import rates
from .rates import DENSE, point, rate

TASK = "lenet300_mnist"
NETWORK = Connected((784, 300, 100, 10))
FOLDS = (2, 4, 8, 16, 32, 64, 94, 128, 200)
CONTROLLED = (8, 32, 94, 200)
BATCH = 120
Options = dict[str, Value]


class Plan(NamedTuple):
    """A method and its options at one compression."""

    method: str
    options: Options
    recipe: tuple[tuple[str, Value], ...] = ()
    tuned: str = ""  # whose rate it has, when it is not on the curve itself
    decayed: str = ""  # whose weight decay it has


class Length(NamedTuple):
    """What a scale changes in the arms."""

    epochs: int
    folds: tuple[int, ...]
    seeds: int
    tuning: tuple[int, ...] = ()
    originals: bool = False


LENGTHS = {
    "smoke": Length(4, (32,), 1),
    "small": Length(8, (8, 32, 94), 2),
    "paper": Length(10, FOLDS, 5, rates.TUNING_SEEDS, originals=True),
}


def _dense(epochs: int, fold: int) -> Plan:
    """Nothing removed."""
    return Plan("dense", {"stop": "epochs", "epochs": epochs})


def _narrow(fold: int) -> str:
    """The widths of the dense network that has as many weights as are left."""
    return " ".join(map(str, NETWORK.narrow(fold)))


def _gradual(epochs: int, fold: int, **options: Value) -> Plan:
    """From 5 % to 70 % of the training."""
    ramp: Options = {"begin": 0.05 * epochs, "end": 0.7 * epochs, "output": True, "epochs": epochs}
    return Plan("gradual_magnitude", {"sparsity": sparsity(fold), **ramp, **options})


def _once(epochs: int, fold: int) -> Plan:
    """In one step, after half of the training."""
    return _gradual(epochs, fold, begin=0.5 * epochs, end=0.5 * epochs, scope="everywhere")


def _rounds(epochs: int, fold: int) -> Plan:
    """Trained, then pruned three times."""
    length: Options = {"first_epochs": epochs - 3 * (epochs // 4), "round_epochs": epochs // 4}
    options: Options = {"sparsity": sparsity(fold), "rounds": 3, "scope": "everywhere", "rate": 0.5}
    return Plan("iterative_magnitude", {**options, **length})


def _surgery(epochs: int, fold: int) -> Plan:
    """A quarter dense, half surgery, a quarter under the masks."""
    length: Options = {"dense_epochs": epochs // 4, "surgery": epochs // 2, "epochs": epochs - epochs // 4}
    return Plan("dynamic_surgery", {"sparsity": sparsity(fold), "scope": "everywhere", **length})


def _ticket(epochs: int, fold: int, control: str = "none") -> Plan:
    """Five trainings, four prunes."""
    rounds = 4 if epochs >= 5 else 1
    options: Options = {"each": NETWORK.each_round(fold, rounds), "rounds": rounds, "control": control}
    return Plan("lottery_ticket", {**options, "round_epochs": epochs // (rounds + 1)})


def _variational(epochs: int, fold: int) -> Plan:
    """Four fifths with noise, its price rising until two fifths, then tuned under the masks."""
    long = epochs * 4 // 5
    ramp: Options = {"begin": 0.1 * epochs, "end": 0.4 * epochs}
    return Plan("variational_dropout", {"sparsity": sparsity(fold), "epochs": long, "tune": epochs - long, **ramp})


def _active(method: str, criterion: str) -> Callable[[int, int], Plan]:
    """Locally, the second layer is due after two epochs: beyond 64-fold the accuracy of before is never had again."""
    more: Options = {"base_of": "prunable"} if method == "global_activation" else {"probe": 1024, "wait": 2}

    def plan(epochs: int, fold: int) -> Plan:
        fixed: Options = {"stop": "epochs", "epochs": epochs, "plateau": 2, "criterion": criterion}
        return Plan(method, {"sparsity": NETWORK.hidden_sparsity(fold), **fixed, **more})

    return plan


def _plain(method: str, **options: Value) -> Callable[[int, int], Plan]:
    """Nothing but sparsity and length depends on the compression."""
    return lambda epochs, fold: Plan(method, {"sparsity": sparsity(fold), "epochs": epochs, **options})


METHODS: dict[str, Callable[[int, int], Plan]] = {
    "gradual magnitude": lambda epochs, fold: _gradual(epochs, fold, scope="everywhere"),
    "gradual magnitude, ERK": lambda epochs, fold: _gradual(epochs, fold, scope="erk"),
    "gradual LAMP": lambda epochs, fold: _gradual(epochs, fold, scope="everywhere", criterion="lamp"),
    "iterative magnitude": _rounds,
    "dynamic surgery": _surgery,
    "lottery ticket": _ticket,
    "variational dropout": _variational,
    "global activation, N": _active("global_activation", "activity"),
    "global activation, N & W": _active("global_activation", "active_magnitude"),
    "local activation, N": _active("local_activation", "activity"),
    "local activation, N & W": _active("local_activation", "active_magnitude"),
    "SNIP": _plain("at_init", criterion="snip"),
    "GraSP": _plain("at_init", criterion="grasp"),
    "SynFlow": _plain("at_init", criterion="synflow", rounds=100),
    "RigL": _plain("sparse_training", grow="gradient"),
    "SET": _plain("sparse_training", grow="random"),
}
CONTROLS: dict[str, Callable[[int, int], Plan]] = {
    "one-shot magnitude": _once,
    "ticket, reinitialised": lambda epochs, fold: _ticket(epochs, fold, "reinitialised"),
    "ticket, mask shuffled": lambda epochs, fold: _ticket(epochs, fold, "shuffled"),
    "random mask": _plain("at_init", criterion="random_", scope="per_layer"),
    "random mask, ERK": _plain("sparse_training", grow="none"),
    "narrow dense": lambda epochs, fold: _dense(epochs, fold)._replace(recipe=(("hidden", _narrow(fold)),)),
}
EVERY = METHODS | CONTROLS
CURVES = Folds(EVERY, FOLDS, NETWORK.weights, DENSE)
ORIGINALS: dict[str, Plan] = {  # the papers' own lengths are in `claims`
    "as Han 2015": Plan("iterative_magnitude", {
        "sparsity": sparsity(12), "scope": "everywhere", "rounds": 5, "first_epochs": 20, "round_epochs": 10,
    }, tuned="iterative magnitude", decayed="as Han 2015"),
    "as deep compression": Plan("deep_compression", {
        "sparsity": 0.92, "scope": "everywhere", "rounds": 8, "rate": 0.5, "bits": "6", "share_rate": 0.1,
        "first_epochs": 15, "round_epochs": 6, "share_epochs": 8,
    }, tuned="iterative magnitude", decayed="as Han 2015"),
    "as Guo 2016": Plan("dynamic_surgery", {
        "sparsity": sparsity(56), "scope": "everywhere", "dense_epochs": 11, "surgery": 27, "epochs": 32,
    }, tuned="dynamic surgery", decayed="as Guo 2016"),
    "as Molchanov 2017": Plan("variational_dropout", {"epochs": 100}, (("course", "constant"),)),
    "as Frankle 2019": Plan("lottery_ticket", {"each": 0.2, "rounds": 15, "round_epochs": 8}, tuned="lottery ticket"),
    **{
        f"as Lee 2019, {fold}-fold": Plan("at_init", {
            "sparsity": sparsity(fold), "criterion": "snip", "epochs": 40,
        }, tuned="SNIP", decayed="as Lee 2019, 20-fold")
        for fold in (20, 50)
    },
}  # fmt: skip


def trials(scale: str) -> Iterator[Trial]:
    """Tuning first, then every arm seed by seed."""
    length = LENGTHS[scale]
    for seed in length.tuning:
        yield from _tuning(seed, length.epochs)
    for seed in range(length.seeds):
        yield made(DENSE, _dense(length.epochs, 1), seed, rate(DENSE))
        for fold in length.folds:
            for method in METHODS | CONTROLS if fold in CONTROLLED else METHODS:
                yield made(label(method, fold), EVERY[method](length.epochs, fold), seed, rate(method, fold))
        for arm, plan in ORIGINALS.items() if length.originals else ():
            yield original(arm, plan, seed, rates.DECAYS.get(plan.decayed))


def original(arm: str, plan: Plan, seed: int, decay: float | None) -> Trial:
    """The trial of a paper's own point."""
    return made(arm, plan._replace(recipe=(*plan.recipe, ("weight_decay", decay))), seed, rate(plan.tuned))


def made(arm: str, plan: Plan, seed: int, at: float | None) -> Trial:
    """The trial of a plan; variational dropout has its own name for the rate of its first phase."""
    options = plan.options
    if plan.method == "variational_dropout" and at is not None:
        options = options | {"lr": at}
    trial = Trial.make(plan.method, TASK, seed, arm, **options)
    usual: Options = {"course": "cosine", "batch_size": BATCH, "learning_rate": at}
    return trial.under(**usual | dict(plan.recipe))


def _tuning(seed: int, epochs: int) -> Iterator[Trial]:
    for candidate in rates.CANDIDATES:
        for method, plan in ({DENSE: _dense} | EVERY).items():
            for fold in rates.tuned_at(method):
                yield made(rates.BY_RATE.tried(point(method, fold), candidate), plan(epochs, fold), seed, candidate)
    for arm in rates.DECAYS:
        for decay in rates.DECAY_CANDIDATES:
            yield original(rates.BY_DECAY.tried(arm, decay), ORIGINALS[arm], seed, decay)
