"""Recipes: another learning rate, and one that follows a course over each call of `train`."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from sapwood import METHODS, Batch, Data, Task, losses, start, train
from sapwood.errors import InputError
from sapwood.models.mlp import mlp
from sapwood.selection.schedule import COURSES
from sapwood.tasks.recipe import taught, with_recipe


@pytest.fixture
def task():
    luck = torch.Generator().manual_seed(0)
    samples = Batch(torch.randn(20, 6, generator=luck), torch.arange(20) % 3)
    return Task("toy", partial(mlp, 6, 5, 3), Data(samples, samples, samples), partial(torch.optim.Adam, lr=0.3), 5)


def rates(run, **length):
    """The learning rate of each step of one call of train."""
    return [run.optimizer.param_groups[0]["lr"] for _ in train(run, **length)]


def test_by_default_nothing_changes(task):
    assert with_recipe(task) is task
    assert rates(start(task, seed=0), epochs=2) == [0.3] * 8


def test_another_rate_is_every_optimisers(task):
    run = start(with_recipe(task, learning_rate=0.02), seed=0)
    run.become(run.model)
    assert rates(run, steps=3) == [0.02] * 3


def test_weight_decay_is_the_optimisers_own(task):
    """One step of SGD from w along g: w - lr (g + decay w), biases too."""
    task = replace(task, optimizer=partial(torch.optim.SGD, lr=0.3))
    plain, decayed = (start(with_recipe(task, weight_decay=decay), seed=0) for decay in (0.0, 0.25))
    before = {name: p.detach().clone() for name, p in plain.model.named_parameters()}
    for run in (plain, decayed):
        list(train(run, steps=1))
    for name, p in decayed.model.named_parameters():
        other = plain.model.get_parameter(name)
        assert torch.allclose(p, other - 0.3 * 0.25 * before[name], rtol=0, atol=1e-6), name


def test_an_optimiser_without_weight_decay_is_refused(task):
    without = replace(task, optimizer=torch.optim.Rprop)
    with pytest.raises(InputError, match=r"weight_decay is 0\.1, but task '\w+' trains by Rprop, which has none"):
        start(with_recipe(without, weight_decay=0.1), seed=0)


def test_a_cosine_falls_over_a_call_of_train_and_begins_anew_in_the_next(task):
    run = start(with_recipe(task, learning_rate=0.5, course="cosine"), seed=0)
    for length in (8, 4):
        wanted = [0.5 * (1 + math.cos(math.pi * step / length)) / 2 for step in range(length)]
        assert rates(run, steps=length) == pytest.approx(wanted, rel=1e-12)


def test_a_straight_course_and_a_methods_own_factor(task):
    run = start(with_recipe(task, course="straight"), seed=0)
    for group in run.optimizer.param_groups:
        group["lr"] *= 0.1
    assert rates(run, steps=4) == pytest.approx([0.03, 0.0225, 0.015, 0.0075], rel=1e-12)


def test_drops_come_at_half_and_at_three_quarters(task):
    run = start(with_recipe(task, learning_rate=0.5, course="drops"), seed=0)
    assert rates(run, steps=8) == pytest.approx([0.5] * 4 + [0.05] * 2 + [0.005] * 2, rel=1e-12)


@pytest.mark.parametrize("name", COURSES)
def test_courses_begin_at_1_end_at_0_or_a_hundredth_and_never_rise(name):
    values = [COURSES[name](step / 100) for step in range(101)]
    assert values[0] == 1
    assert values[-1] == pytest.approx(0.01 if name == "drops" else 0, abs=1e-15)
    assert values == sorted(values, reverse=True)


def test_an_interruption_changes_no_bit(task, tmp_path):
    task, options = with_recipe(task, course="cosine"), {"rounds": 2, "first_epochs": 2, "round_epochs": 2}
    whole = start(task, seed=0)
    steps = [now.step for now in METHODS["iterative_magnitude"](whole, **options)]
    for last in steps[:-1]:
        run = start(task, seed=0)
        run.between = lambda run: run.save(tmp_path / "saved.safetensors")
        moments = METHODS["iterative_magnitude"](run, **options)
        while next(moments).step <= last:
            pass
        moments.close()
        again = start(task, seed=0, saved=tmp_path / "saved.safetensors")
        assert [now.step for now in METHODS["iterative_magnitude"](again, **options)][-1] == steps[-1]
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, again.model.state_dict()[name]), f"after step {last}: {name}"


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0; give a finite number above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; give a finite number of 0 or more"),
        ({"weight_decay": math.nan}, "weight_decay is nan"),
        ({"course": "cosin"}, "cosine"),
        ({"blank": 1.0}, r"blank is 1.0; give a share in \[0, 1\)"),
        ({"blank": -0.1}, "blank is -0.1"),
        ({"blank": math.nan}, "blank is nan"),
        ({"batch_size": 0}, "batch_size is 0; give a whole number, at least 1"),
        ({"precision": "float16"}, "float16.*bfloat16"),
    ],
)
def test_bad_recipes(task, recipe, says):
    with pytest.raises(InputError, match=says):
        with_recipe(task, **recipe)


def test_other_batches_are_of_that_size_and_nothing_else(task):
    large = with_recipe(task, batch_size=8)
    assert [len(batch.targets) for batch in large.batches(0, 0)] == [8, 8, 4]
    assert (large.data, large.optimizer, large.model) == (task.data, task.optimizer, task.model)


class _Told(torch.nn.Module):
    """A convolution that says in which precision and layout it was asked."""

    def __init__(self):
        super().__init__()
        self.conv, self.asked = torch.nn.Conv2d(3, 4, 3), []

    def forward(self, x):
        out = self.conv(x)
        self.asked.append((out.dtype, x.is_contiguous(memory_format=torch.channels_last)))
        return out.mean((2, 3))


def test_bfloat16_is_for_training_only_and_weights_gradients_and_answers_stay_float32(task):
    low, model = with_recipe(task, precision="bfloat16"), _Told()
    batch = Batch(torch.randn(5, 3, 6, 6), torch.zeros(5, dtype=torch.int64))
    trained, plain = low.forward(model, batch), task.forward(model, batch)
    trained.sum().backward()
    evaluated = low.forward(model.eval(), batch)
    assert model.asked == [(torch.bfloat16, True), (torch.float32, False), (torch.float32, False)]
    assert {trained.dtype, model.conv.weight.dtype, model.conv.weight.grad.dtype} == {torch.float32}
    assert torch.equal(evaluated, plain)
    assert not torch.equal(trained, plain)
    torch.testing.assert_close(trained, plain, atol=0.02, rtol=0.02)
    assert with_recipe(task, precision="float32") is task


def test_blanks_come_after_the_tasks_own_augmentation_and_not_into_what_is_evaluated(task):
    half = with_recipe(replace(task, augment=lambda batch, luck: Batch(batch.inputs / 2, batch.targets)), blank=0.5)
    batch, plain = next(half.batches(0, 0)), next(task.batches(0, 0))
    kept = batch.inputs != 0
    assert 0 < kept.count_nonzero() < kept.numel()
    assert torch.equal(batch.inputs[kept], plain.inputs[kept])  # halved, then divided by the half that is kept
    assert torch.equal(half.data.valid.inputs, task.data.valid.inputs)


def test_another_width_is_a_network_of_that_width_and_nothing_else(task):
    narrow = with_recipe(task, hidden="2")
    assert [tuple(p.shape) for p in narrow.model().parameters()] == [(2, 6), (2,), (3, 2), (3,)]
    assert (narrow.data, narrow.optimizer, narrow.course) == (task.data, task.optimizer, None)


@pytest.mark.parametrize("hidden", ["2 2", "0", "two", "-1", "2.5"])
def test_widths_that_the_network_cannot_have_are_refused(task, hidden):
    with pytest.raises(InputError, match="give 1 whole numbers of 1 or more, as in '5'"):
        with_recipe(task, hidden=hidden)


def test_the_width_of_what_is_no_mlp_is_refused(task):
    with pytest.raises(InputError, match="the network of task 'toy' is no mlp"):
        with_recipe(replace(task, model=lambda: torch.nn.Linear(6, 3)), hidden="2")


def test_a_pupil_learns_from_its_teacher_and_the_teacher_does_not(task):
    teacher = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Dropout(0.5))
    pupil = taught(task, teacher, temperature=2.0, soft=0.7)
    run = start(pupil, seed=0)
    batch = next(task.batches(0, 0))
    outputs = run.model(batch.inputs)
    wanted = losses.distil(outputs, teacher(batch.inputs), batch.targets, 2.0, 0.7)
    assert torch.equal(pupil.loss(run.model, batch, outputs), wanted)
    before = [p.detach().clone() for p in teacher.parameters()]
    for _ in train(run, epochs=1):
        pass
    assert all(torch.equal(p, was) and p.grad is None for p, was in zip(teacher.parameters(), before, strict=True))


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"temperature": math.nan}, {"soft": 1.1}, {"soft": -0.1}])
def test_bad_teaching_is_refused(task, bad):
    with pytest.raises(InputError, match="give a number above 0, and a share in"):
        taught(task, torch.nn.Linear(6, 3), **bad)
