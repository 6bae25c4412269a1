"""Images in folders: the pixels that were written, the laws of samples, training, and one error for what is wrong."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sapwood import InputError, Task, start, train
from sapwood.checks import broken, check_samples, check_task
from sapwood.data import cifar10
from sapwood.data.image_folder import ImageFolder, folders_of_images

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
AS_IT_IS = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def written(root, pixels, labels):
    """uint8 [N, 3, H, W] as files, a folder for each class; the numbers of the images in the order of their files."""
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = root / f"class{int(label)}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:05}.png")
    return sorted(range(len(labels)), key=lambda number: (int(labels[number]), number))


@pytest.fixture(scope="module")
def noise():
    luck = torch.Generator().manual_seed(0)
    return torch.randint(256, (60, 3, 8, 8), generator=luck, dtype=torch.uint8), torch.arange(60) % 3


@pytest.fixture
def root(tmp_path, noise):
    pixels, labels = noise
    written(tmp_path / "train", pixels[:40], labels[:40])
    written(tmp_path / "val", pixels[40:], labels[40:])
    return tmp_path


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize("threads", [1, 4])
def test_what_is_read_is_what_was_written(tmp_path, noise, threads):
    pixels, labels = noise
    order = written(tmp_path, pixels, labels)
    samples = ImageFolder(tmp_path, 8, threads=threads, **AS_IT_IS)
    assert samples.classes == ("class0", "class1", "class2")
    whole = samples.take(slice(None))
    assert torch.equal(whole.inputs, pixels[order] / 255)
    assert torch.equal(whole.targets, labels[order])
    index = torch.tensor([59, 3, 3, 20])
    assert torch.equal(samples.take(index).inputs, whole.inputs[index])
    assert len(samples.take(slice(0, 0))) == 0
    usual = ImageFolder(tmp_path, 8).take(slice(0, 2)).inputs
    mean, std = (torch.tensor(each)[:, None, None] for each in (cifar10.MEAN, cifar10.STD))
    assert torch.allclose(usual, (whole.inputs[:2] - mean) / std)


def test_images_of_other_sizes_are_cut_from_their_middle(tmp_path):
    (tmp_path / "one").mkdir()
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(tmp_path / "one" / "wide.png")
    Image.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / "one" / "grey.png")
    (tmp_path / "one" / "notes.txt").write_text("no image")
    grey, middle = ImageFolder(tmp_path, 4, **AS_IT_IS).take(slice(None)).inputs * 255
    assert middle.round().unique().tolist() == [200]
    assert grey.round().unique().tolist() == [9]


def test_folders_obey_the_laws_of_samples_and_make_a_task(root):
    data = folders_of_images(root, 8, valid=0.25)
    assert [len(each) for each in (data.train, data.valid, data.test)] == [30, 10, 20]
    used = [{path for path, _ in split.files} for split in (data.train, data.valid)]
    assert not used[0] & used[1]
    assert broken(check_samples("folder", data.train, data.valid)) == []
    task = Task("own", network, data, partial(torch.optim.SGD, lr=0.1), batch_size=8, classes=3)
    assert broken(check_task("own", task)) == []
    memory = replace(task, data=replace(data, train=data.train.take(slice(None))))
    ends = []
    for each in (task, memory):
        run = start(each)
        ends.append([now.loss for now in train(run, epochs=2)])
    assert ends[0] == ends[1]


def test_three_folders_are_three_splits(root, noise):
    written(root / "test", *(part[:6] for part in noise))
    data = folders_of_images(root, 8)
    assert [len(each) for each in (data.train, data.valid, data.test)] == [40, 20, 6]


def test_what_is_wrong_is_one_error(root):
    with pytest.raises(
        InputError, match=r"cannot read the folder .*nowhere: .*; give one with a folder for each class"
    ):
        ImageFolder(root / "nowhere", 8)
    with pytest.raises(InputError, match="size is 0; give a whole number, at least 1"):
        ImageFolder(root / "train", 0)
    with pytest.raises(InputError, match="give three numbers of each, std above 0"):
        ImageFolder(root / "train", 8, std=(1.0, 1.0, 0.0))
    with pytest.raises(InputError, match=r"class0 has no folders; give one"):
        ImageFolder(root / "train" / "class0", 8)
    (root / "empty" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no image is in .*empty; its folders must hold files that end in \.jpg"):
        ImageFolder(root / "empty", 8)
    samples = ImageFolder(root / "train", 8)
    with pytest.raises(InputError, match=r"samples 2 to 40 of .* were asked for; give numbers from 0 to 39"):
        samples.take(torch.tensor([2, 40]))
    path = samples.files[5][0]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=rf"{path.name} cannot be read as an image: .*; mend it or take it out"):
        samples.take(slice(5, 6))
    with pytest.raises(InputError, match=r"valid is 0\.0; give a share of the 40 training images"):
        folders_of_images(root, 8, valid=0.0)
    (root / "val" / "class7").mkdir()
    with pytest.raises(InputError, match="have other classes: class7 in one of them only"):
        folders_of_images(root, 8)
    with pytest.raises(InputError, match="has neither test nor val beside train"):
        folders_of_images(_alone(root), 8)


def _alone(root):
    """A folder with training images only."""
    (root / "alone").mkdir()
    (root / "train").rename(root / "alone" / "train")
    return root / "alone"


@pytest.mark.data
def test_cifar10_as_files_is_cifar10(tmp_path):
    images = cifar10.load()
    pixels, labels = images.train_images[:300], images.train_labels[:300]
    order = written(tmp_path, pixels, labels)
    read = ImageFolder(tmp_path, 32, cifar10.MEAN, cifar10.STD).take(slice(None))
    mean, std = (torch.tensor(each)[:, None, None] for each in (cifar10.MEAN, cifar10.STD))
    assert torch.equal(read.inputs, (pixels[order] / 255).sub_(mean).div_(std))
    assert torch.equal(read.targets, labels[order])
