"""Text: a language model learns, is judged by bits per byte, and is pruned by a method that knows nothing of text."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from sapwood import METHODS, evaluate, start, train
from sapwood.checks import broken, check_method, check_task
from sapwood.goal import BITS
from sapwood.models.gpt import first_weights, gpt
from sapwood.run import fingerprint
from sapwood.study.grid import overview, short
from sapwood.study.run import run_trial
from sapwood.study.table import by_seed, read
from sapwood.study.trial import Trial
from sapwood.task import Data, Task
from sapwood.tasks import TASKS, goal_of
from sapwood.windows import Windows, next_token_bits, next_token_loss, tokens

RHYME = "the cat sat on the mat, the rat sat on the cat, and that was that. "


def tiny() -> Task:
    """Seven windows of a rhyme, the last one short, in float64; three steps an epoch."""
    numbers = torch.tensor([ord(letter) for letter in (RHYME * 2)[:100]], dtype=torch.uint8)
    train, other = Windows(numbers, 16), Windows(numbers[:40], 16)
    return Task(
        "tiny text", partial(gpt, symbols=128, context=16, width=8, heads=2, blocks=1, dtype=torch.float64),
        Data(train, other, Windows(numbers[30:60], 16)), partial(torch.optim.Adam, lr=0.01), 3,
        loss=next_token_loss, metrics=next_token_bits, count=tokens, goal=BITS, fresh=first_weights,
    )  # fmt: skip


def order_0(train: Windows, valid: Windows) -> float:
    """Bits per byte of a code by the training bytes' own frequencies, each counted once more than it occurs."""
    counts = torch.bincount(train.tokens.long(), minlength=256).double() + 1
    return float(-(counts / counts.sum()).log2()[valid.tokens[1:].long()].mean())


def test_a_task_on_text_obeys_the_laws_of_tasks():
    assert broken(check_task("tiny text", tiny())) == []


def test_bits_are_the_loss_in_another_unit():
    metrics = evaluate(start(tiny()))
    assert metrics["bits"] == pytest.approx(metrics["loss"] / math.log(2), rel=1e-12)
    assert metrics["bits"] == pytest.approx(7, abs=0.1)  # 128 symbols, nothing learned


METHODS_ON_TEXT = {
    "iterative_magnitude": {"sparsity": 0.5, "rounds": 2, "first_epochs": 1, "round_epochs": 1},
    "gradual_magnitude": {"sparsity": 0.5, "begin": 0, "end": 2, "every": 2, "epochs": 2},
    "local_activation": {"criterion": "active_magnitude", "first": 6.99, "target": 5.0, "epochs": 3, "wait": 1,
                         "sparsity": 0.5, "stop": "epochs"},
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS_ON_TEXT)
def test_methods_obey_their_laws_on_text(name):
    assert broken(check_method(name, METHODS[name], task=tiny(), **METHODS_ON_TEXT[name])) == []


@pytest.mark.data
@pytest.mark.parametrize("name", ["text", "text_smoke"])
def test_the_tasks_fit_together(real_data, name):
    task = real_data(TASKS[name])
    assert task.name == name == TASKS[name].__name__
    assert task.goal == goal_of(name) == BITS
    whole = name == "text"
    assert task.steps_per_epoch == (5_273 if whole else 98)
    assert len(task.data.valid) == math.ceil((1_121_681 if whole else 20_000) / 64 - 1 / 64)
    few = task.data.test.take(slice(-2, None))
    assert task.forward(task.model(), few).shape == (2, 64, 256)
    assert tokens(task.data.train.take(slice(-1, None))) == ((10_797_148 if whole else 200_000) - 1) % 64 or 64


@pytest.mark.data
@pytest.mark.slow
def test_bits_fall_below_those_of_a_code_by_frequencies(real_data):
    task = real_data(TASKS["text_smoke"])
    run, bits = start(task), []
    for now in train(run, steps=240):
        if now.ends_epoch:
            bits.append(now.metrics["valid_bits"])
    bits.append(evaluate(run)["bits"])
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < order_0(task.data.train, task.data.valid) - 1


@pytest.mark.data
@pytest.mark.slow
def test_a_trial_on_text_is_recorded_by_its_goal(real_data, tmp_path):
    real_data(TASKS["text_smoke"])
    said, options = [], METHODS_ON_TEXT["iterative_magnitude"] | {"rounds": 1, "rate": 1.0}
    trial = Trial.make("iterative_magnitude", "text_smoke", 0, "one shot", **options)
    run_trial(trial, tmp_path / trial.id, tell=lambda progress: said.append(progress.text))
    rows = read(tmp_path)
    assert any(text.startswith("epoch 2, valid bits 3.") for text in said)
    last, best = (by_seed(rows, "bits", split)["one shot"][0] for split in ("valid", "best valid"))
    each = {
        row["epoch"]: row["value"]
        for row in rows
        if (row["split"], row["metric"], row["phase"]) == ("valid", "bits", 1)
    }
    assert last == pytest.approx(each[2], abs=1e-6)
    assert best <= last < 4
    assert by_seed(rows, "sparsity_hidden", "network")["one shot"][0] == pytest.approx(0.5, abs=0.01)
    assert "test bits (per byte)" in overview(rows).columns
    assert "test bits" in short(rows).columns
    assert not any("accuracy" in column or "top-5" in column for column in overview(rows).columns)


def test_another_window_length_is_another_task():
    one = tiny()
    longer = replace(one, data=replace(one.data, train=Windows(one.data.train.tokens, 17)))
    assert fingerprint(one) != fingerprint(longer)
    assert fingerprint(one) == fingerprint(tiny())
