"""Laws of what a study runs, and bugs planted in it: what ends a run, what validates, bands, controls."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from unittest.mock import patch

import torch
from archives import KEPT, ROOT, STUDIES, part
from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.data.images import Images
from sapwood.methods.parts import phases
from sapwood.study.study import find
from sapwood.training.loop import Moment
from sapwood.training.task import Batch, Data

splits = import_module("sapwood.tasks.split")  # the package may give this name to the function in it
arms, claims = (part("activation_pruning", name) for name in ("arms", "claims"))
lenet = part("lenet300", "claims")
split, tolerance, retrained, controls = splits.split, claims.tolerance, arms._retrained, arms.controls
STUDY_OF = {name: find(str(ROOT / "studies" / file)) for name, file in STUDIES.items()}

BANDS = {  # what a claim's words have in them, the first that fits: its tolerance; None: half of a printed digit
    "class 0 among the five best": 15.0,
    "predicted as class 0": 3.0,
    "retrained: share of zero weights": 5.0,
    "share of zero weights": None,
    "kFLOPs": 0.5,
    "that PCA to its ranks takes": 2.0,
    "PCA to its ranks: accuracy": 2.0,
    "S: accuracy": 4.0,
    "accuracy": 1.0,
}
LENET_BANDS = [0.2, 0.3, 0.3, 6, 0.3, 15, 0.3, 0.3]  # of the claims that have two ends, as they come
SCORES = {  # control: what it differs in from G1, and in nothing else
    "C random neuron": {"criterion": "random_neuron"},
    "C column norm": {"criterion": "magnitude", "per_neuron": True},
    "C magnitude": {"criterion": "magnitude"},
    "C inactive": {"criterion": "inactive"},
    "C mean activation": {"criterion": "mean_activation"},
}


def phases_laws() -> Laws:
    """When training is over, asked as the methods ask."""
    return {
        "phases: a run is over at its training accuracy, no other": _over_at_the_training_accuracy,
        "phases: the rule is asked at epochs' ends, with the validation loss": _over_by_the_rule,
        "phases: under 'epochs' nothing ends a run": lambda: demand(
            not _ending(stop="epochs")(_run(), _moment(train=1.0, valid=1.0)), "it ended before its epochs were over"
        ),
    }


def _ending(stop: str) -> Callable[[SimpleNamespace, Moment], bool]:
    return phases.ending(target=0.9, stop=stop)


def _run() -> SimpleNamespace:
    stores = defaultdict(dict)
    return SimpleNamespace(memory=stores, store=stores.__getitem__)


def _moment(train: float = 0.5, valid: float = 0.5, loss: float = 1.0, *, ends_epoch: bool = True) -> Moment:
    seen = {"train_loss": 9.0, "train_accuracy": train, "valid_loss": loss, "valid_accuracy": valid}
    return Moment(10, 1, ends_epoch, 9.0, seen if ends_epoch else {}, 0)


def _over_at_the_training_accuracy() -> None:
    for train, valid, over in ((0.5, 0.99, False), (0.9, 0.5, True), (0.95, 0.1, True), (0.89, 0.95, False)):
        said = _ending(stop="none")(_run(), _moment(train, valid))
        demand(said == over, f"training accuracy {train}, validation accuracy {valid}, target 0.9: over is {said}")


def _over_by_the_rule() -> None:
    ended, run = _ending(stop="spikes"), _run()
    said = []
    for loss in (1.0, 1.2, 1.3, 1.4):
        for ends_epoch in (False, True):
            said.append(ended(run, _moment(loss=loss, ends_epoch=ends_epoch)))
    demand(said == [False] * 7 + [True], f"three rises of the validation loss: over is {said} step by step")


def split_laws() -> Laws:
    """The parts of a data set whose images, training and test, all say which one they are."""
    return {"split: the first training images validate, the others train, test images do neither": _parts}


def _parts() -> None:
    pixels = torch.arange(14, dtype=torch.uint8)[:, None, None].expand(-1, 2, 2)
    images = Images(pixels[:10], torch.arange(10), pixels[10:], torch.arange(10, 14))
    data = splits.split(images, valid=3, white=1)
    for name, wanted in (("valid", range(3)), ("train", range(3, 10)), ("test", range(10, 14))):
        batch = getattr(data, name)
        demand(batch.targets.tolist() == list(wanted), f"{name} has the labels of {batch.targets.tolist()}")
        demand(batch.inputs[:, 0].tolist() == list(wanted), f"{name} has the pixels of {batch.inputs[:, 0].tolist()}")


def study_laws() -> Laws:
    """What the paper's study fixes, against a second list of it, and against the kept trials."""
    return {
        "study: tolerances are those that are written down": _bands,
        "study: LeNet's bands are those that are written down": _lenet_bands,
        "study: a control differs from G1 in the score that it is named for": _scores,
        "study: retraining ends as the standard network does": _retraining,
        "study: its trials are those whose rows are kept": _trials,
    }


def _bands() -> None:
    for claim in (claims.claim(*cell) for cell in claims.cells_of(claims.PRINTED)):  # anew, as the code is now
        fit = next((band for words, band in BANDS.items() if words in claim.text), _rest(claim))
        band = fit or _of_zeros(claim)
        demand(claim.tolerance == band, f"{claim.where}, {claim.text}: ± {claim.tolerance}, not {band}")


def _rest(claim) -> float:
    return 0.3 * claim.value if "epochs" in claim.text else max(2.0, 0.1 * claim.value)


def _of_zeros(claim) -> float:
    if claim.where.startswith(("Table 8", "Table 9")):
        return 0.01
    return 0.5 if isinstance(claim.value, int) else 0.005


def _lenet_bands() -> None:
    found = [claim.tolerance for claim in lenet.CLAIMS if claim.tolerance < lenet.WIDE]
    demand(found == LENET_BANDS, f"the bands are {found}")
    ends = [
        claim.value - claim.tolerance for claim in lenet.CLAIMS if claim.tolerance == lenet.WIDE and claim.value > 0
    ]
    demand([round(end) for end in ends] == [3, 35], f"what is to be reached at least is {ends}")


def _paper() -> dict[str, object]:
    return {trial.arm: trial for trial in arms.trials("paper") if trial.seed == 0}


def _scores() -> None:
    trials = _paper()
    for label, differs in SCORES.items():
        wanted = trials["G1"].all_options() | differs
        demand(trials[label].all_options() == wanted, f"{label} has the options {trials[label].options}")


def _retraining() -> None:
    trials = _paper()
    for label in arms.PRUNED:
        said = trials[f"{label} retrained"].all_options()
        demand(said == trials["S"].all_options(), f"{label} retrained has the options {said}")


def _trials() -> None:
    for name, study in STUDY_OF.items():
        trials = list(arms.trials("paper") if name == "activation_pruning" else study.at("paper"))
        mine = {each.id: each.as_of(before=False) for trial in trials for each in (trial, trial.as_of(before=True))}
        with (KEPT / name / "trials.csv").open(newline="") as file:
            there = {line["trial"] for line in csv.DictReader(file)}
        whole = name != "lenet300_record"  # that has been run in part
        demand(there <= mine.keys(), f"{name}: {len(there - mine.keys())} kept trials are none of the study's")
        missing = set(trials) - {mine[each] for each in there}
        demand(not missing or not whole, f"{name}: {len(missing)} trials of the study have no kept rows")


def ended_by(metric: str, at: Callable[[Moment], bool] = lambda now: now.ends_epoch):
    """`ending` with another number asked for the target, or at other times."""

    def ending(*, target, stop):
        rule = phases.stopping.named(stop)

        def over(run, now):
            state = run.memory.setdefault("state", {})
            return at(now) and (rule(state, now.metrics["valid_loss"]) or now.metrics[metric] >= target)

        return over if stop != "epochs" else lambda run, now: False

    return ending


def beyond_the_target(*, target, stop):
    return ended_by("train_accuracy")(target=target + 1e-9, stop=stop)


def by_training_loss(*, target, stop):
    rule = phases.stopping.named(stop)
    return lambda run, now: (
        now.ends_epoch
        and (
            rule(run.memory.setdefault("state", {}), now.metrics["train_loss"])
            or now.metrics["train_accuracy"] >= target
        )
    )


def target_even_so(*, target, stop):
    return ended_by("train_accuracy")(target=target, stop="none" if stop == "epochs" else stop)


def test_images_validate(images, *, valid, **options):
    data = split(images, valid=valid, **options)
    return Data(data.train, Batch(data.test.inputs[:valid], data.test.targets[:valid]), data.test)


def all_train(images, *, valid, **options):
    data = split(images, valid=valid, **options)
    both = (torch.cat([getattr(part, name) for part in (data.valid, data.train)]) for name in ("inputs", "targets"))
    return Data(Batch(*both), data.valid, data.test)


def five_for_one(table, label, column, value):
    usual = tolerance(table, label, column, value)
    return 5.0 if usual == 1.0 else usual


def retrained_to(target: float):
    def planted(length, paper) -> Iterator[object]:
        for trial in retrained(length, paper):
            yield trial.make(
                trial.method, trial.task, trial.seed, trial.arm, **dict(trial.options) | {"target": target}
            ).after(**dict(trial.uses))

    return planted


def with_other_marks(length, g1):
    for trial in controls(length, g1):
        other = {"first": 0.7} if trial.arm in SCORES else {}
        made = trial.make(trial.method, trial.task, trial.seed, trial.arm, **dict(trial.options) | other)
        yield made.after(**dict(trial.uses))


def wider(bands):
    return tuple(
        claim if claim.tolerance != 0.3 else type(claim)(claim.where, claim.text, claim.value, 1.0, claim.found)
        for claim in bands
    )


def control(label: str, **options):
    return partial(patch.dict, arms.CONTROLS, {label: options})


OVER = "a run is over at its training accuracy, no other"
PARTS = "the first training images validate, the others train, test images do neither"
SCORE = "a control differs from G1 in the score that it is named for"

MUTANTS = (
    *bugs(
        "phases",
        phases_laws,
        {
            OVER: {
                "a run ended by its validation accuracy": instead(phases, "ending", ended_by("valid_accuracy")),
                "training goes on at exactly the target": instead(
                    phases, "ending", beyond_the_target
                ),
            },
            "the rule is asked at epochs' ends, with the validation loss": {
                "the stopping rule sees the training loss": instead(phases, "ending", by_training_loss)
            },
            "under 'epochs' nothing ends a run": {
                "the target ends a run of a fixed length": instead(phases, "ending", target_even_so)
            },
        },
    ),
    *bugs(
        "split",
        split_laws,
        {
            PARTS: {
                "test images validate": instead(splits, "split", test_images_validate),
                "validation images are trained on as well": instead(splits, "split", all_train),
            }
        },
    ),
    *bugs(
        "study",
        study_laws,
        {
            "tolerances are those that are written down": {
                "accuracies may be five points off instead of one": instead(claims, "tolerance", five_for_one)
            },
            "LeNet's bands are those that are written down": {
                "an original's error may be a point off": instead(lenet, "CLAIMS", wider(lenet.CLAIMS))
            },
            SCORE: {
                "the random control counts activations": control("C random neuron", criterion="activity"),
                "the column-norm control removes single weights": control("C column norm", criterion="magnitude"),
                "controls prune at other marks than G1": instead(arms, "controls", with_other_marks),
            },
            "retraining ends as the standard network does": {
                "retraining ends at 0.95": instead(arms, "_retrained", retrained_to(0.95))
            },
            "its trials are those whose rows are kept": {
                "the local rows have another target than their kept rows": partial(
                    patch.dict, arms.LOCAL, {"L1": ("Neurons", 75)}
                )
            },
        },
    ),
)  # fmt: skip
