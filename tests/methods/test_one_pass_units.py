"""One pass over units as a method: it goes on with the network that `one_shot_units` gives."""

from functools import partial

import pytest
import torch
from torch.optim import SGD

from sapwood import one_shot_units
from sapwood.errors import InputError
from sapwood.methods.one_pass import calibration
from sapwood.methods.one_pass_units import one_pass_units
from sapwood.models.gpt import first_weights, gpt
from sapwood.training.goal import BITS
from sapwood.training.loop import evaluate
from sapwood.training.run import start
from sapwood.training.task import Data, Task
from sapwood.training.windows import Windows, next_token_bits, next_token_loss, tokens

NET = partial(gpt, symbols=32, context=16, width=16, heads=2, blocks=2, dtype=torch.float64)


def task():
    def text(count, factor):
        return Windows(torch.arange(count) * factor % 29, 16)

    data = Data(text(161, 5), text(49, 7), text(49, 11))
    return Task("numbers", NET, data, partial(SGD, lr=0.1), 4, loss=next_token_loss, metrics=next_token_bits,
                count=tokens, goal=BITS, fresh=first_weights, at_once=4)  # fmt: skip


def test_it_is_one_shot_units_on_training_samples_drawn_by_the_seed():
    options = {"sparsity": 0.4, "multiple": 4}
    run = start(task(), 3)
    wanted = one_shot_units(run.model, calibration(run, 6), **options)
    list(one_pass_units(run, samples=6, **options))
    assert [p.shape for p in run.model.parameters()] == [p.shape for p in wanted.model.parameters()]
    for p, q in zip(run.model.parameters(), wanted.model.parameters(), strict=True):
        assert torch.equal(p, q)
    assert run.cuts[0].keep.keys() == wanted.keep.keys()
    assert run.notes["blocks_removed"] == wanted.sparsity == pytest.approx(0.4, abs=0.05)
    assert [run.notes[f"error_{n}"] for n in range(1, 5)] == [each.error for each in wanted.layers]
    assert run.notes["error_worst"] < run.notes["masked_mean"]
    assert run.notes["cut_valid_bits"] == evaluate(run)["bits"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": 0}, "samples=0"),
        ({"rate": -1.0}, r"rate=-1\.0"),
        ({"sparsity": 1.0}, r"sparsity is 1\.0"),
        ({"by": "luck"}, "unknown by 'luck'"),
        ({"multiple": 0}, "multiple is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        list(one_pass_units(start(task()), **{"samples": 2} | options))
