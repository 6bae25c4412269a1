"""Tasks: each in the table, each epoch every training sample once, each batch a function of (seed, epoch)."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sapwood.data import DATASETS, cifar10, mnist
from sapwood.data.augment import crop_and_flip
from sapwood.data.images import Images
from sapwood.errors import InputError
from sapwood.scoring.answers import hidden
from sapwood.scoring.layers import prunable
from sapwood.tasks import TASK_DATA, TASK_VERSIONS, TASKS
from sapwood.tasks.split import first, split
from sapwood.training.task import Batch, Data, Task

TEXTS = ("smollm2_wikitext", "text", "text_smoke", "text_sru", "text_sru_smoke")  # see test_text.py
ALL = [
    name if name == "mlp_digits" else pytest.param(name, marks=pytest.mark.data) for name in TASKS if name not in TEXTS
]


CIFAR = [name for name in TASKS if TASK_DATA[name] == "cifar10"]
FEW = {"resnet8_cifar_smoke": (32, 2_500, 500, 1_000), "vgg6_cifar_narrow": (64, 10_000, 1_000, 10_000)}
CIFAR_RANGE = (-0.485 / 0.229, (1 - 0.406) / 0.225)  # of no red, and of all blue

ORDERS = [(0, 0), (0, 1), (1, 0), (1, 1)]  # (seed, epoch)


def tell_apart(batch):
    """A number for each sample, of its pixels and label, that another sample hardly has."""
    return batch.inputs.flatten(1).sum(1, dtype=torch.float64) + 1_000 * batch.targets


def numbered(train=10, test=4):
    """Images whose pixels and labels say which sample they are; those for testing are numbered from 100."""
    first = torch.cat([torch.arange(train), torch.arange(100, 100 + test)])
    pixels = first.to(torch.uint8)[:, None, None].expand(-1, 2, 3)
    return Images(pixels[:train], first[:train], pixels[train:], first[train:])


def test_every_task_has_a_version_and_a_data_set_that_is_known():
    assert set(TASKS) == set(TASK_VERSIONS) == set(TASK_DATA)  # and these are the files: tests/test_tables.py
    assert all(version >= 1 for version in TASK_VERSIONS.values())
    assert set(TASK_DATA.values()) <= set(DATASETS)


def test_importing_the_tasks_reads_no_data_and_no_scikit_learn():
    program = (
        "import sys, sapwood.tasks, sapwood.data as data\n"
        "assert not any(name.startswith('sklearn') for name in sys.modules)\n"
        "assert all(s.load.cache_info().currsize == 0 for s in data.DATASETS.values())"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_first_images_validate_and_the_rest_train():
    data = split(numbered(), valid=3, white=10)
    assert data.valid.targets.tolist() == [0, 1, 2]
    assert data.train.targets.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert data.test.targets.tolist() == [100, 101, 102, 103]
    for part in (data.train, data.valid, data.test):
        assert torch.equal(part.inputs, part.targets[:, None].expand(-1, 6) / 10)


def test_the_same_split_of_images_that_stay_images():
    flat, images = (split(numbered(), valid=3, white=10, flat=flat) for flat in (True, False))
    for part in ("train", "valid", "test"):
        one, other = getattr(flat, part), getattr(images, part)
        assert other.inputs.shape == (len(one.targets), 1, 2, 3)
        assert torch.equal(other.inputs.flatten(1), one.inputs)
        assert torch.equal(other.targets, one.targets)


def test_inputs_are_standardised_channel_by_channel():
    colours = numbered().train_images[:, None] * torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None, None]
    images = Images(colours, torch.arange(10), colours[:4], torch.arange(4))
    plain = split(images, valid=3, white=10, flat=False)
    data = split(images, valid=3, white=10, flat=False, mean=(0.1, 0.2, 0.3), std=(1, 2, 4))
    flat = split(images, valid=3, white=10, mean=(0.1, 0.2, 0.3), std=(1, 2, 4))
    assert torch.equal(plain.test.inputs, colours[:4] / 10)
    for part, first_one in ((data.valid, 0), (data.train, 3), (data.test, 0)):
        for channel in range(3):
            values = (channel + 1) * (torch.arange(len(part.targets)) + first_one - 1) / (10 * 2**channel)
            expected = values[:, None, None].expand(-1, 2, 3)
            torch.testing.assert_close(part.inputs[:, channel], expected, rtol=0, atol=1e-6)  # a few float32 roundings
    assert torch.equal(flat.train.inputs, data.train.inputs.flatten(1))


@pytest.mark.parametrize(("mean", "std"), [((0.5,), ()), ((), (0.5,)), ((0.5,) * 3, (0.5,) * 3), ((0.5,), (0.0,))])
def test_means_and_deviations_that_do_not_fit_are_refused(mean, std):
    with pytest.raises(InputError, match=r"of images with 1 channels, give so many") as caught:
        split(numbered(), valid=3, mean=mean, std=std)
    assert f"mean is {mean} and std {std}" in str(caught.value)


@pytest.mark.parametrize("valid", [-1, 0, 10, 11])
def test_a_validation_part_that_leaves_nothing_is_refused(valid):
    with pytest.raises(InputError, match=f"valid is {valid}; of 10"):
        split(numbered(), valid=valid)


def test_a_subset_is_the_beginning():
    few = first(numbered(), train=5, test=2)
    assert [part.shape[0] for part in few] == [5, 5, 2, 2]
    assert few.train_labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ALL)
def test_the_task_fits_together(real_data, name):
    task = real_data(TASKS[name])
    assert task.name == name == TASKS[name].__name__
    network = task.model()
    for part in (task.data.train, task.data.valid, task.data.test):
        few = part.take(slice(0, 3))
        outputs = network(few.inputs)
        assert outputs.shape == (3, task.classes)
        assert bool(torch.isfinite(task.loss(network, few, outputs)))
        darkest, brightest = float(part.inputs.min()), float(part.inputs.max())
        if TASK_DATA[name] == "cifar10":
            assert (darkest, brightest) == pytest.approx(CIFAR_RANGE)
        else:
            assert 0 <= darkest < 0.1
            assert brightest == 1
        assert sorted(part.targets.unique().tolist()) == list(range(10))
    assert len(task.optimizer(network.parameters()).param_groups[0]["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize("name", ALL)
def test_an_epoch_shows_every_training_sample_once(real_data, name):
    task = replace(real_data(TASKS[name]), augment=None)
    batches = list(task.batches(seed=3, epoch=1))
    assert len(batches) == task.steps_per_epoch
    assert all(len(batch.targets) == task.batch_size for batch in batches[:-1])
    seen, train = torch.cat([tell_apart(batch) for batch in batches]), tell_apart(task.data.train)
    assert not torch.equal(seen, train)
    torch.testing.assert_close(seen.sort().values, train.sort().values, rtol=0, atol=0)


@pytest.mark.parametrize("first_batch", [0, 1, 63, 64, 65, 72])
def test_batches_from_the_middle_are_the_tail_of_the_whole(first_batch):
    task = TASKS["mlp_digits"]()
    whole = list(task.batches(seed=5, epoch=2))
    tail = list(task.batches(seed=5, epoch=2, first=first_batch))
    assert len(whole) == 73
    assert len(tail) == len(whole) - first_batch
    for one, other in zip(tail, whole[first_batch:], strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)


def test_other_seeds_and_other_epochs_are_other_orders():
    task = TASKS["mlp_digits"]()
    orders = [torch.cat([batch.targets for batch in task.batches(seed, epoch)]) for seed, epoch in ORDERS]
    assert not any(torch.equal(one, other) for one, other in pairwise(orders))
    assert torch.equal(orders[0], torch.cat([batch.targets for batch in task.batches(*ORDERS[0])]))


def pictures(count=40, batch_size=16, augment=crop_and_flip):
    """A task on random pictures."""
    part = Batch(torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + 1, torch.arange(count) % 4)
    return Task("pictures", torch.nn.Flatten, Data(part, part, part), torch.optim.SGD, batch_size, augment=augment)


def test_what_is_done_to_a_batch_is_a_function_of_seed_epoch_and_step():
    task = pictures()
    whole = list(task.batches(seed=5, epoch=2))
    torch.manual_seed(1)  # what others draw must not matter
    for first_batch in range(4):
        tail = list(task.batches(seed=5, epoch=2, first=first_batch))
        assert len(tail) == 3 - first_batch
        for one, other in zip(tail, whole[first_batch:], strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)


def test_every_step_of_every_epoch_and_seed_has_luck_of_its_own():
    seen = []
    task = pictures(augment=lambda batch, luck: seen.append(int(torch.randint(2**40, (), generator=luck))) or batch)
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 1_000_003)):
        list(task.batches(seed, epoch))
    assert len(set(seen)) == len(seen) == 15


def test_augmentation_changes_training_batches_only_and_neither_order_nor_labels():
    plain, task = pictures(augment=None), pictures()
    before = task.data.train.inputs.clone()
    for one, other in zip(plain.batches(3, 1), task.batches(3, 1), strict=True):
        assert torch.equal(one.targets, other.targets)
        assert one.inputs.shape == other.inputs.shape
        assert not torch.equal(one.inputs, other.inputs)
        values = other.inputs.flatten(1)
        assert bool(torch.isin(values[values != 0], one.inputs).all())
    assert torch.equal(task.data.train.inputs, before)
    assert torch.equal(plain.data.train.inputs, before)


@pytest.mark.data
def test_the_activation_pruning_paper_s_split_and_recipe(real_data):
    task = real_data(TASKS["mlp_fashion"])
    train, valid = task.data.train, task.data.valid
    assert (len(train.targets), len(valid.targets), len(task.data.test.targets)) == (54_000, 6_000, 10_000)
    assert int((train.targets == 0).sum()) == 5_440
    assert int((valid.targets == 0).sum()) == 560
    assert (task.batch_size, task.steps_per_epoch) == (32, 1_688)
    options = task.optimizer(task.model().parameters()).defaults
    assert [options[name] for name in ("lr", "momentum", "weight_decay", "nesterov")] == [0.01, 0, 0, False]


@pytest.mark.data
@pytest.mark.parametrize(("name", "like"), [("mlp_mnist", "mlp_fashion"), ("lenet300_mnist_sgd", "lenet300_mnist")])
def test_mnist_as_that_paper_trains(real_data, name, like):
    """The network of one task, on the images of MNIST, with the recipe of mlp_fashion."""
    task, network, recipe = real_data(TASKS[name]), real_data(TASKS[like]), real_data(TASKS["mlp_fashion"])
    shapes = [[tuple(p.shape) for p in each.model().parameters()] for each in (task, network)]
    assert shapes[0] == shapes[1]
    options = [each.optimizer(each.model().parameters()).defaults for each in (task, recipe)]
    assert options[0] == options[1]
    assert (task.batch_size, task.steps_per_epoch, task.fresh) == (32, 1_688, recipe.fresh)
    images, labels = mnist.load()[:2]
    assert torch.equal(task.data.train.inputs[:9], images[6_000:6_009].flatten(1) / 255)
    assert torch.equal(task.data.valid.targets, labels[:6_000])


@pytest.mark.data
def test_the_smoke_task_is_the_beginning_of_the_whole_with_its_network(real_data):
    whole, smoke = real_data(TASKS["mlp_fashion"]), real_data(TASKS["mlp_fashion_smoke"])
    assert [len(part.targets) for part in (smoke.data.train, smoke.data.valid, smoke.data.test)] == [5_400, 600, 1_000]
    assert torch.equal(smoke.data.valid.inputs, whole.data.valid.inputs[:600])
    assert torch.equal(smoke.data.test.targets, whole.data.test.targets[:1_000])
    shapes = [[tuple(p.shape) for p in task.model().parameters()] for task in (whole, smoke)]
    assert shapes[0] == shapes[1]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("mlp_fashion_narrow", "mlp_fashion"),
        ("mlp_fashion_smoke_narrow", "mlp_fashion_smoke"),
        ("conv_fashion", "mlp_fashion"),
        ("conv_fashion_smoke", "mlp_fashion_smoke"),
    ],
)
def test_a_task_that_is_compared_with_another_has_its_samples(real_data, name, like):
    mine, its = real_data(TASKS[name]).data, real_data(TASKS[like]).data
    for part in ("train", "valid", "test"):
        one, other = getattr(mine, part), getattr(its, part)
        assert torch.equal(one.inputs.flatten(1), other.inputs)
        assert torch.equal(one.targets, other.targets)


@pytest.mark.data
@pytest.mark.parametrize(
    ("narrow", "whole"), [(f"{name}_narrow", name) for name in ("mlp_fashion", "mlp_fashion_smoke")]
)
def test_a_narrow_network_has_no_more_weights_than_the_paper_s_g1_keeps(real_data, narrow, whole):
    small, large = real_data(TASKS[narrow]), real_data(TASKS[whole])
    weights, all_of_them = (
        sum(layer.weight.numel() for layer in prunable(task.model()).values()) for task in (small, large)
    )
    assert 0.995 <= weights / (all_of_them - 225_297) <= 1
    assert small.batch_size == large.batch_size
    recipes = [task.optimizer(task.model().parameters()).defaults for task in (small, large)]
    assert recipes[0] == recipes[1]


@pytest.mark.data
def test_the_convolutional_tasks_have_one_network_and_one_recipe(real_data):
    whole, smoke = real_data(TASKS["conv_fashion"]), real_data(TASKS["conv_fashion_smoke"])
    assert hidden(whole.model()) == ["conv1", "conv2", "conv3"]
    assert str(whole.model()) == str(smoke.model())
    assert whole.batch_size == smoke.batch_size == 128
    for task in (whole, smoke):
        options = task.optimizer(task.model().parameters()).defaults
        assert [options[name] for name in ("lr", "momentum", "weight_decay", "nesterov")] == [0.05, 0.9, 0, False]


@pytest.mark.data
@pytest.mark.parametrize("name", CIFAR)
def test_the_cifar_tasks_have_one_way_with_images(real_data, name):
    task = real_data(TASKS[name])
    images, labels = cifar10.load()[:2]
    batch_size, *expected = FEW.get(name, (128, 45_000, 5_000, 10_000))
    sizes = [len(part.targets) for part in (task.data.train, task.data.valid, task.data.test)]
    assert sizes == expected
    assert torch.equal(task.data.train.targets[:100], labels[sizes[1] : sizes[1] + 100])
    green = (images[7, 1] / 255 - 0.456) / 0.224
    torch.testing.assert_close(task.data.valid.inputs[7, 1], green, rtol=0, atol=1e-6)  # two float32 roundings
    assert task.augment is crop_and_flip
    assert task.batch_size == batch_size
    options = task.optimizer(task.model().parameters()).defaults
    rate = 0.001 if name.endswith("_trained") else 0.1
    assert [options[key] for key in ("lr", "momentum", "weight_decay", "nesterov")] == [rate, 0.9, 1e-4, False]


@pytest.mark.data
def test_the_cifar_tasks_share_their_images(real_data):
    one, other = real_data(TASKS["resnet20_cifar"]), real_data(TASKS["vgg16_cifar"])
    assert one.data.train.inputs.data_ptr() == other.data.train.inputs.data_ptr()


@pytest.mark.data
def test_a_trained_task_starts_afresh_each_time_with_the_trained_weights(real_data):
    task = real_data(TASKS["resnet20_cifar_trained"])
    first_one, second = task.model(), task.model()
    with torch.no_grad():
        first_one.linear.bias.zero_()
    few = task.data.test.take(slice(0, 500))
    assert int(task.metrics(second.eval()(few.inputs), few)["accuracy"]) > 440


@pytest.mark.data
def test_building_a_task_twice_decodes_its_files_once(real_data):
    real_data(mnist.load)
    before = mnist.load.cache_info().misses
    real_data(TASKS["lenet300_mnist"])
    real_data(TASKS["lenet300_mnist"])
    assert mnist.load.cache_info().misses == before


def training_accuracy(task, seed, epochs):
    """The running accuracy of each epoch, scored before each step, as the stopping rules read it."""
    torch.manual_seed(seed)
    network = task.model()
    optimizer = task.optimizer(network.parameters())
    for epoch in range(epochs):
        right = 0
        for batch in task.batches(seed, epoch):
            outputs = network(batch.inputs)
            right += int(task.metrics(outputs, batch)["accuracy"])
            optimizer.zero_grad()
            task.loss(network, batch, outputs).backward()
            optimizer.step()
        yield right / len(task.data.train.targets)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_digits_are_learned_as_the_recipe_promises(seed):
    assert any(accuracy >= 0.98 for accuracy in training_accuracy(TASKS["mlp_digits"](), seed, 20))


@pytest.mark.data
def test_the_smoke_task_of_cifar_learns(real_data):
    """Its third epoch has 0.31 where guessing has 0.10."""
    assert list(training_accuracy(real_data(TASKS["resnet8_cifar_smoke"]), 0, 3))[-1] > 0.25


@pytest.mark.data
@pytest.mark.parametrize("name", ["mlp_fashion_smoke", "conv_fashion_smoke"])
def test_the_smoke_tasks_pass_the_first_trigger_within_a_few_epochs(real_data, name):
    assert any(accuracy >= 0.80 for accuracy in training_accuracy(real_data(TASKS[name]), 0, 6))
