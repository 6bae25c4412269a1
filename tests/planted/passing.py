"""Bugs planted in one pass as a method: it is `one_shot`, on training samples that the seed draws."""

from functools import cache, partial
from importlib import import_module

import torch
from planted.mutant import bugs, instead
from torch.optim import SGD

from sapwood import one_shot
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.models.gpt import first_weights, gpt
from sapwood.training.goal import BITS
from sapwood.training.run import start
from sapwood.training.task import Data, Task
from sapwood.training.windows import Windows, next_token_bits, next_token_loss, tokens

passing = import_module("sapwood.methods.one_pass")
SHOT, LUCK, ERRORS = passing.one_shot, passing.luck, passing.errors
NET = partial(gpt, symbols=32, context=16, width=16, heads=2, blocks=2, dtype=torch.float64)
OPTIONS = {"sparsity": 0.6, "by": "sparsegpt", "ratios": "owl", "refit": True, "samples": 6}


def text(count, factor):
    return Windows(torch.arange(count) * factor % 29, 16)


TASK = Task(
    "numbers", NET, Data(text(161, 5), text(49, 7), text(49, 11)), partial(SGD, lr=0.1), 4, loss=next_token_loss,
    metrics=next_token_bits, count=tokens, goal=BITS, fresh=first_weights, at_once=4,
)  # fmt: skip


def laws() -> Laws:
    return {
        "one pass: weights and masks are those that one_shot gives": partial(_same, OPTIONS),
        "one pass: a pattern is kept where one is asked for": partial(_same, {"pattern": "2:4", "samples": 6}),
        "one pass: it looks at training samples, as many as asked for, drawn by the seed": _drawn,
        "one pass: the errors that are noted are those of the weights that stay": _noted,
    }


def passed(options, seed=0):
    run = start(TASK, seed)
    list(passing.one_pass(run, **options))
    return run


@cache
def _wanted(**options):
    run = start(TASK)
    batches = passing.calibration(run, options.pop("samples"))
    return run.model, one_shot(run.model, batches, **options)


def _same(options):
    model, shot = _wanted(**options)
    run = passed(options)
    demand(run.masks.keys() == shot.masks.keys(), "other layers have masks")
    for name, keep in shot.masks.items():
        demand(torch.equal(run.masks[name], keep), f"the mask of {name} is another than that of one_shot")
    for name, w in model.named_parameters():
        demand(torch.equal(run.model.get_parameter(name), w), f"{name} is another than one_shot leaves")


def _drawn():
    train = TASK.data.train.take(slice(None)).inputs.tolist()
    one, other = (torch.cat(passing.calibration(start(TASK, seed), 6)).tolist() for seed in (0, 1))
    demand(len(one) == 6 and len({*map(tuple, one)}) == 6, f"{len(one)} samples, 6 different ones were asked for")
    demand(all(each in train for each in one), "a sample is not of the training split")
    demand(one != other, "seeds 0 and 1 draw the same")


def _noted():
    (_, shot), notes = _wanted(**OPTIONS), passed(OPTIONS).notes
    for number, layer in enumerate(shot.layers, start=1):
        demand(notes.get(f"error_{number}") == layer.error, f"error_{number} is not that of {layer.layer}")
    demand(notes["error_worst"] == max(layer.error for layer in shot.layers), "the worst error is another")


def without(option):
    return lambda model, batches, **options: SHOT(model, batches, **{**options, option: False})


MUTANTS = (
    *bugs("one pass", laws, {
        "weights and masks are those that one_shot gives": {
            "the weights are not refitted": instead(passing, "one_shot", without("refit")),
            "the rule is the default": instead(
                passing, "one_shot", lambda model, batches, by, **options: SHOT(model, batches, **options)
            ),
        },
        "a pattern is kept where one is asked for": {
            "the same share goes, without the pattern": instead(
                passing, "one_shot", lambda model, batches, pattern=None, **options:
                SHOT(model, batches, **({"sparsity": 0.5} if pattern else {}), **options)
            ),
        },
        "it looks at training samples, as many as asked for, drawn by the seed": {
            "the draw is that of seed 0": instead(passing, "luck", lambda seed, what: LUCK(0, what)),
            "one more sample is drawn": instead(
                passing, "calibration", lambda run, samples, of=passing.calibration: of(run, samples + 1)
            ),
        },
        "the errors that are noted are those of the weights that stay": {
            "errors are those before the refit": instead(
                passing, "errors", lambda shot: ERRORS(shot) | {
                    f"error_{n}": layer.masked for n, layer in enumerate(shot.layers, start=1)
                }
            ),
        },
    }),
)  # fmt: skip
