"""CIFAR-10: the published images in every form they come in, and one error for what is not them."""

import hashlib
import io
import lzma
import tarfile

import pytest
import torch

from sapwood import data
from sapwood.data import cifar10
from sapwood.data.files import MissingData, cache
from sapwood.errors import InputError

DELTA = [{"id": lzma.FILTER_DELTA, "dist": 1}, {"id": lzma.FILTER_LZMA2, "preset": 0}]


def records(number):
    """Two records: of class `number` with pixels that count up, and of class 9 with nothing but `number`."""
    return bytes([number]) + bytes(i % 256 for i in range(3072)) + bytes([9]) + bytes([number]) * 3072


MADE_UP = {name: records(number) for number, name in enumerate(cifar10.RECORDS)}


def tarball(files):
    """A tarball laid out as the official one."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in {"readme.html": b"<html>", **files}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return {next(iter(cifar10.TARBALL)): packed.getvalue()}


FORMS = {
    "RECORDS": MADE_UP,
    "PACKED": {f"{name}.xz": lzma.compress(raw, filters=DELTA) for name, raw in MADE_UP.items()},
    "TARBALL": tarball(MADE_UP),
}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A local folder and a cache of their own, and checksums of the made-up files, which are forgotten afterwards."""
    monkeypatch.setenv("SAPWOOD_DATA", str(tmp_path / "local"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for form, files in FORMS.items():
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        monkeypatch.setattr(cifar10, form, checksums)
    cifar10.load.cache_clear()
    yield tmp_path / "local" / "cifar-10", cache("cifar-10")
    cifar10.load.cache_clear()


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_set(places, form, place):
    put(places[place], FORMS[form])
    got = data.DATASETS["cifar10"].load()
    assert [tuple(part.shape) for part in got] == [(10, 3, 32, 32), (10,), (2, 3, 32, 32), (2,)]
    assert got.train_images.dtype is got.test_images.dtype is torch.uint8
    assert got.train_labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert got.test_labels.tolist() == [5, 9]
    for image in got.train_images[::2]:
        assert image.flatten().tolist() == [i % 256 for i in range(3072)]  # red, green, blue, each row by row
    assert got.train_images[3::2].amin((1, 2, 3)).tolist() == [1, 2, 3, 4]
    assert got.test_images[1].unique().tolist() == [5]


def test_what_is_unpacked_comes_first_and_the_tarball_last(places):
    for form in ("TARBALL", "PACKED"):
        put(places[1], FORMS[form])
        cifar10.fetch()  # would fail if it had to download
    put(places[0], {name: b"something else" for name in MADE_UP})
    with pytest.raises(InputError, match=r"local/cifar-10/data_batch_1\.bin is damaged or another version"):
        cifar10.load()


def test_a_form_that_is_not_whole_does_not_count(places):
    put(places[0], {name: raw for name, raw in MADE_UP.items() if name != "test_batch.bin"})
    with pytest.raises(MissingData) as caught:
        cifar10.load()
    for said in ("(cifar-10-binary.tar.gz)", "--download", cifar10.URLS[0], str(places[1]), "data_batch_5.bin, test",
                 "(not found: test_batch.bin)", "data_batch_1.bin.xz"):  # fmt: skip
        assert said in str(caught.value)
    put(places[1], FORMS["TARBALL"])
    assert len(cifar10.load().test_labels) == 2


@pytest.mark.parametrize(
    ("form", "files", "said"),
    [
        ("RECORDS", MADE_UP | {"test_batch.bin": records(1)[:-1]}, "test_batch.bin holds 6145 bytes"),
        ("RECORDS", MADE_UP | {"test_batch.bin": b""}, "test_batch.bin holds 0 bytes"),
        ("RECORDS", MADE_UP | {"data_batch_2.bin": records(10)}, "data_batch_2.bin holds class 10"),
        ("PACKED", FORMS["PACKED"] | {"data_batch_3.bin.xz": b"not xz"}, r"cannot read .*data_batch_3\.bin\.xz"),
        ("TARBALL", {"cifar-10-binary.tar.gz": b"not gzip"}, r"cannot read .*cifar-10-binary\.tar\.gz"),
        ("TARBALL", {"cifar-10-binary.tar.gz": FORMS["TARBALL"]["cifar-10-binary.tar.gz"][:-90]}, "cannot read"),
        ("TARBALL", tarball({"test_batch.bin": records(1)}), "does not hold data_batch_1.bin, .*data_batch_5.bin;"),
    ],
)
def test_files_that_are_not_records_are_one_error(places, monkeypatch, form, files, said):
    put(places[0], files)
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(cifar10, form, checksums)
    with pytest.raises(InputError, match=said):
        cifar10.load()


@pytest.mark.data
def test_counts_and_pixels_are_the_published_ones(real_data):
    got = real_data(cifar10.load)
    assert got is real_data(cifar10.load)
    assert got.train_images.shape == (50_000, 3, 32, 32)
    assert got.test_images.shape == (10_000, 3, 32, 32)
    assert got.train_labels.bincount().tolist() == [5_000] * 10
    assert got.test_labels.bincount().tolist() == [1_000] * 10
    assert got.train_labels[:5].tolist() == [6, 9, 9, 4, 1]  # a frog, two trucks, a deer, a car
    values = torch.arange(256, dtype=torch.float64) / 255
    for channel, mean, std in zip(range(3), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), strict=True):
        share = got.train_images[:, channel].flatten().int().bincount(minlength=256).double() / (50_000 * 1024)
        assert float(share @ values) == pytest.approx(mean, abs=5e-5)  # published with four decimals
        assert float((share @ values**2 - (share @ values) ** 2).sqrt()) == pytest.approx(std, abs=5e-5)
