"""Samples, and what a task makes of them: laws, several inputs, goals, measures, fresh weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sapwood import InputError, evaluate, start, train
from sapwood.checks import broken, check_samples, check_task, tiny_task
from sapwood.checks.tiny import tiny_samples
from sapwood.goal import ACCURACY, Goal
from sapwood.phases import ending
from sapwood.run import fingerprint
from sapwood.samples import Batch, Data
from sapwood.study.final import final_measures
from sapwood.tasks import TASKS
from sapwood.tasks.recipe import taught, with_recipe
from sapwood.windows import Windows, tokens

BYTES = torch.randint(256, (200,), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
WORDS = torch.arange(12).reshape(6, 2) % 5


class Answer(dict):
    """As Hugging Face's models give it."""

    logits = property(lambda answer: answer["logits"])


class Two(nn.Module):
    """Two inputs, which may come by name."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.layer = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, words, weights=None):
        seen = self.table(words) if weights is None else self.table(words) * weights[..., None]
        return Answer(logits=self.layer(self.inner(seen.mean(1)).relu()))


def of_two(inputs):
    batch = Batch(inputs, torch.arange(6) % 3)
    return replace(tiny_task(), name="two", model=Two, data=Data(batch, batch, batch), batch_size=4, classes=3)


@pytest.mark.parametrize(
    "samples",
    [
        (tiny_samples(), tiny_samples(seed=1)),
        *((Windows(BYTES, length), Windows(BYTES + 1, length)) for length in (1, 7, 199, 300)),
        (Windows(BYTES.long(), 7), Windows(BYTES.long(), 8)),
        *(
            (Batch(each, torch.arange(6)), Batch(each, torch.ones(6)))
            for each in ((WORDS, WORDS / 2), {"words": WORDS})
        ),
    ],
)
def test_samples_obey_their_laws(samples):
    assert broken(check_samples("samples", *samples)) == []


@pytest.mark.parametrize(
    "task",
    [tiny_task(), TASKS["mlp_digits"](), TASKS["conv_digits"](), replace(TASKS["mlp_digits"](), batch_size=1_000)],
)
def test_tasks_obey_their_laws(task):
    assert broken(check_task(task.name, task)) == []


@pytest.mark.parametrize("inputs", [(WORDS, torch.ones(6, 2)), {"words": WORDS, "weights": torch.ones(6, 2)}, WORDS])
def test_a_model_of_several_inputs_is_called_as_it_wants(inputs):
    task = of_two(inputs)
    run = start(task)
    moments = list(train(run, epochs=1))
    assert set(moments[-1].metrics) == {"train_loss", "train_accuracy", "valid_loss", "valid_accuracy"}
    assert run.hidden() == ["inner"]
    assert fingerprint(task) != fingerprint(of_two((WORDS,)))


def test_the_length_of_a_batch_is_its_samples_and_it_unpacks_into_two():
    batch = tiny_samples(5)
    inputs, targets = batch
    assert len(batch) == len(inputs) == len(targets) == 5
    assert batch._replace(targets=targets + 1).targets.equal(targets + 1)
    assert batch.to("cpu") is batch
    data = Data(batch, batch, batch)
    assert data.to("cpu") is data


def test_the_old_name_of_take_warns():
    batch = tiny_samples(5)
    with pytest.warns(FutureWarning, match="called take now"):
        assert batch.rows(slice(2)).targets.equal(batch.targets[:2])


def test_a_task_moves_nothing_when_its_data_are_in_place():
    task = tiny_task()
    assert start(task).task is task


def test_a_run_by_a_loss_as_its_goal_ends_when_it_is_low_enough():
    task = replace(tiny_task(), goal=("loss", "down"))
    assert task.goal == Goal("loss", "down")
    ended = ending(target=0.9, stop="none", goal=task.goal)
    over = [ended(run, now) for run in [start(task)] for now in train(run, epochs=6) if now.ends_epoch]
    values = [now.metrics["train_loss"] for now in train(start(task), epochs=6) if now.ends_epoch]
    assert over == [value <= 0.9 for value in values]
    assert {True, False} == set(over)


def test_what_is_better_follows_the_goal():
    assert ACCURACY.better(0.9, 0.8)
    assert not ACCURACY.better(0.8, 0.8)
    bits = Goal("bits", "down")
    assert bits.better(1.9, 2.0)
    assert bits.reached(2.0, 2.0)
    assert not bits.reached(2.1, 2.0)


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (("loss", "lower"), "goal 'loss' goes 'lower'; give \"up\""),
        (("loss",), "goal is \\('loss',\\); give \\(metric"),
        (("", "up"), "goal is \\('', 'up'\\)"),
    ],
)
def test_a_goal_that_is_none_is_refused(goal, says):
    with pytest.raises(InputError, match=says):
        replace(tiny_task(), goal=goal)


def test_a_goal_that_is_no_metric_is_refused_when_it_is_asked_for():
    run = start(replace(tiny_task(), metrics=lambda outputs, batch: {}))
    *_, last = train(run, epochs=1)
    with pytest.raises(InputError, match="goal is 'accuracy', but its metrics are train_loss, valid_loss; give"):
        ending(target=0.9, stop="none")(run, last)


def test_measures_are_taken_once_and_are_means_over_samples():
    seen = []

    def wrong(model, batch):
        seen.append((model.training, len(batch)))
        return (model(batch.inputs).argmax(1) != batch.targets).sum()

    task = replace(tiny_task(), measures={"wrong": wrong}, at_once=20)
    found = {(each.split, each.metric): each.value for each in final_measures(start(task))}
    for split in ("train", "valid", "test"):
        assert found[split, "wrong"] == pytest.approx(1 - found[split, "accuracy"], abs=1e-12)
    assert seen == [(False, 20), (False, 20), (False, 8), (False, 16), (False, 16)]


def test_windows_of_other_lengths_weigh_by_their_tokens():
    """Worked by hand: 4 targets with loss log 2, one with 0: the mean over tokens is 0.8 log 2."""
    logits = torch.zeros(2, 4, 2)
    logits[1, 0, 1] = 1e9
    targets = torch.tensor([[0, 1, 0, 1], [1, -100, -100, -100]])
    split = Batch(torch.arange(2), targets)
    task = replace(
        tiny_task(), classes=None, at_once=1, model=lambda: Fixed(logits), data=Data(split, split, split),
        loss=lambda model, batch, outputs: nn.functional.cross_entropy(outputs.flatten(0, 1), batch.targets.flatten()),
        metrics=lambda outputs, batch: {"tokens": (batch.targets >= 0).sum()}, count=tokens,
    )  # fmt: skip
    assert evaluate(start(task)) == {"loss": pytest.approx(0.8 * 0.6931471805599453), "tokens": 1.0}


class Fixed(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits, self.weight = logits, nn.Parameter(torch.zeros(1))

    def forward(self, numbers):
        return self.logits[numbers] + self.weight


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Windows(BYTES, 0), "length is 0; give a whole number of tokens"),
        (lambda: Windows(BYTES / 2, 3), "tokens are torch.float32 of shape"),
        (lambda: Windows(BYTES[:1], 3), "there are 1 tokens"),
        (lambda: Windows(BYTES.long() - 300, 3), "the lowest is -"),
    ],
)
def test_what_no_windows_can_be_cut_from_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_blanks_in_words_are_refused():
    blanked = with_recipe(of_two(WORDS), blank=0.5)
    with pytest.raises(InputError, match=r"inputs are torch.int64, in which 0 is no blank; leave blank out"):
        blanked.batch(0, 0)


def test_a_teacher_of_several_inputs_is_called_as_it_wants():
    task = of_two({"words": WORDS, "weights": torch.ones(6, 2)})
    *_, last = train(start(taught(task, Two())), epochs=1)
    assert last.metrics["valid_loss"] > 0


def test_fresh_weights_fit_a_smaller_network_and_leave_it_where_it_is():
    task, luck = TASKS["mlp_digits"](), torch.get_rng_state()
    small = TASKS["mlp_digits"]().model()
    small.hidden1 = nn.Linear(64, 50)
    small.hidden2 = nn.Linear(50, 80)
    luck = torch.get_rng_state()
    weight = small.hidden1.weight
    task.init(small, 3)
    once = weight.clone()
    task.init(small, 3)
    assert torch.equal(small.hidden1.weight, once)
    assert small.hidden1.weight is weight
    assert not small.hidden1.bias.any()
    task.init(small, 4)
    assert not torch.equal(weight, once)
    assert torch.equal(torch.get_rng_state(), luck)


def test_a_parameter_that_no_rule_draws_is_named():
    with pytest.raises(
        InputError, match=r"no layer of Fixed has a reset_parameters that draws 'weight'; give the task"
    ):
        tiny_task().init(Fixed(torch.zeros(1)), 0)


def test_attention_is_drawn_as_its_constructor_draws_it():
    torch.manual_seed(3)
    network = nn.MultiheadAttention(8, 2)
    other = nn.MultiheadAttention(8, 2)
    tiny_task().init(network, 7)
    tiny_task().init(other, 7)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not network.out_proj.bias.any()
