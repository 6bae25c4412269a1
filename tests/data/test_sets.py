"""The data sets themselves: counts, classes and pixels are the published ones."""

import hashlib
import pkgutil
import struct

import pytest
import torch

from sapwood import data
from sapwood.data import digits, fashion_mnist, mnist, wikitext2
from sapwood.data.files import MissingData
from sapwood.data.images import from_idx
from sapwood.errors import InputError

MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_every_file_of_a_set_is_in_the_table():
    others = {"augment", "files", "idx", "image_folder", "images", "packed", "shards", "text"}
    assert {module.name for module in pkgutil.iter_modules(data.__path__)} - others == set(data.DATASETS)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "train", "test", "mean", "std"),
    [
        ("mnist", MNIST_TRAIN, MNIST_TEST, 0.1307, 0.3081),
        ("fashion_mnist", [6000] * 10, [1000] * 10, 0.2860, 0.3530),
    ],
)
def test_counts_and_pixels_are_the_published_ones(real_data, name, train, test, mean, std):
    got = real_data(data.DATASETS[name].load)
    assert got.train_images.shape == (60_000, 28, 28)
    assert got.test_images.shape == (10_000, 28, 28)
    assert got.train_images.dtype is got.test_images.dtype is torch.uint8
    assert got.train_labels.dtype is got.test_labels.dtype is torch.int64
    assert got.train_labels.bincount().tolist() == train
    assert got.test_labels.bincount().tolist() == test
    pixels = got.train_images.double() / 255
    assert float(pixels.mean()) == pytest.approx(mean, abs=5e-5)  # published with four decimals
    assert float(pixels.std(correction=0)) == pytest.approx(std, abs=5e-5)


@pytest.mark.data
def test_the_text_is_the_published_one(real_data):
    """Counted by the authors: 2,088,628 and 217,646 and 245,569 words, each line's end one of them."""
    parts = real_data(wikitext2.load)
    assert [len(part) for part in parts] == [10_797_148, 1_121_681, 1_256_449]
    for part, words in zip(parts, (2_088_628, 217_646, 245_569), strict=True):
        text = part.numpy().tobytes().decode()
        assert len(text.replace("\n", " <eos> ").split()) == words
    assert bytes(parts.train[:24]) == b" \n = Valkyria Chronicles"


@pytest.mark.data
@pytest.mark.parametrize("module", [mnist, fashion_mnist, wikitext2])
def test_a_set_is_decoded_once(real_data, module):
    assert real_data(module.load) is real_data(module.load)


def test_absent_data_skips_a_test_unless_the_variable_promises_it(real_data, monkeypatch, tmp_path):
    def absent():
        raise MissingData("not here")

    monkeypatch.setenv("SAPWOOD_DATA", str(tmp_path))
    with pytest.raises(MissingData):
        real_data(absent)
    monkeypatch.delenv("SAPWOOD_DATA")
    with pytest.raises(pytest.skip.Exception, match="not here"):
        real_data(absent)


@pytest.mark.data
def test_class_0_is_shared_out_as_in_the_activation_pruning_paper(real_data):
    labels = real_data(fashion_mnist.load).train_labels
    assert int((labels[:6_000] == 0).sum()) == 560
    assert int((labels[6_000:] == 0).sum()) == 5_440


def test_the_digits_are_the_ones_the_split_was_made_for():
    got = digits.load()
    assert got.train_images.shape == (1_442, 8, 8)
    assert got.test_images.shape == (355, 8, 8)
    assert int(got.train_images.max()) == 16
    digest = hashlib.sha256()
    for part in got:
        digest.update(part.numpy().tobytes())
    assert digest.hexdigest() == "86e31c2ecbd8915e92a6bd3c14e776ede04d2f795c560ebb07daa656096f9670"


def test_every_fifth_digit_of_each_class_is_for_testing():
    all_images, all_labels = digits._published()
    got = digits.load()
    for label in range(10):
        of_class = all_images[all_labels == label]
        assert torch.equal(got.test_images[got.test_labels == label], of_class[4::5])
        assert int((got.train_labels == label).sum()) == len(of_class) - len(of_class) // 5


def test_where_scikit_learn_keeps_its_file_elsewhere_the_digits_are_the_same(monkeypatch, tmp_path):
    read = digits._published()
    monkeypatch.setattr(digits, "_folder", lambda: tmp_path)
    assert all(torch.equal(*pair) for pair in zip(read, digits._published(), strict=True))
    assert [part.dtype for part in read] == [torch.uint8, torch.int64]


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    digits.load.cache_clear()
    with pytest.raises(InputError, match=r'pip install "sapwood\[study\]"'):
        data.fetch("digits")


def four_files(folder, train, test, labels):
    """The paths of four idx files with so many zeros: 2 x 2 images, and so many labels in each part."""
    sizes = {"train-images-idx3": (train, 2, 2), "train-labels-idx1": (labels,)}
    sizes |= {"t10k-images-idx3": (test, 2, 2), "t10k-labels-idx1": (labels,)}
    paths = {f"{name}-ubyte.gz": folder / name for name in sizes}  # not gzipped, so not called .gz
    for path, shape in zip(paths.values(), sizes.values(), strict=True):
        header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        path.write_bytes(header + bytes(torch.Size(shape).numel()))
    return paths


def test_images_and_labels_that_pair_up_are_a_set(tmp_path):
    got = from_idx(four_files(tmp_path, train=3, test=3, labels=3))
    assert [tuple(part.shape) for part in got] == [(3, 2, 2), (3,), (3, 2, 2), (3,)]


@pytest.mark.parametrize(("train", "test", "which"), [(4, 3, "train"), (3, 4, "t10k")])
def test_images_and_labels_that_do_not_pair_up_are_refused(tmp_path, train, test, which):
    with pytest.raises(InputError, match=rf"{which}-images-idx3 has shape \(4, 2, 2\) .* has \(3,\)"):
        from_idx(four_files(tmp_path, train, test, labels=3))
