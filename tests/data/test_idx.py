"""idx: every type in, every malformed file out with one error."""

import gzip
import struct

import numpy as np
import pytest
import torch

from sapwood.data import idx
from sapwood.errors import InputError


def encode(array: np.ndarray, code: int, on_disk: str) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.astype(on_disk).tobytes()


CUBE = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
PLAIN = encode(CUBE, 8, "u1")


@pytest.mark.parametrize(
    ("code", "on_disk", "dtype", "values"),
    [
        (0x08, "u1", torch.uint8, [0, 1, 255]),
        (0x09, "i1", torch.int8, [0, -128, 127]),
        (0x0B, ">i2", torch.int16, [1, -1000, 1000]),
        (0x0C, ">i4", torch.int32, [1, -70_000, 70_000]),
        (0x0D, ">f4", torch.float32, [0.5, -1.25, 3e10]),
        (0x0E, ">f8", torch.float64, [0.1, -1.25, 3e100]),
    ],
)
def test_every_type_is_read_from_its_big_endian_bytes(code, on_disk, dtype, values):
    read = idx.decode(encode(np.array(values), code, on_disk))
    assert read.dtype is dtype
    assert torch.equal(read, torch.tensor(values, dtype=dtype))


def test_values_are_in_c_order_and_gzip_makes_no_difference():
    assert torch.equal(idx.decode(PLAIN), torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4))
    assert torch.equal(idx.decode(gzip.compress(PLAIN, mtime=0)), idx.decode(PLAIN))


def test_a_file_is_read_plain_and_gzipped(tmp_path):
    (tmp_path / "plain").write_bytes(PLAIN)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(PLAIN, mtime=0))
    assert idx.read(tmp_path / "plain").shape == (2, 3, 4)
    assert torch.equal(idx.read(str(tmp_path / "packed.gz")), idx.read(tmp_path / "plain"))


def test_what_is_read_can_be_written_to():
    assert idx.decode(PLAIN).add_(1)[0, 0, 0] == 1


def test_an_array_without_samples_is_an_empty_tensor():
    assert idx.decode(encode(np.zeros((0, 28, 28)), 8, "u1")).shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "truncated: 0 bytes"),
        (PLAIN[:3], "truncated: 3 bytes"),
        (PLAIN[:10], "truncated: its header promises 3 dimensions"),
        (PLAIN[:-1], "truncated: shape"),
        (PLAIN[:16], "24 bytes of values, it holds 0"),
        (PLAIN + b"\0", "too long"),
        (b"\0\1" + PLAIN[2:], "not an idx file"),
        (b"\0\0\7" + PLAIN[3:], "not an idx file"),
        (b"<html>no such file</html>", "not an idx file"),
        # mtime=0: these bytes are part of the name of the test, which must be the same in every process.
        (gzip.compress(PLAIN, mtime=0)[:-9], "damaged gzip"),
        (gzip.compress(PLAIN, mtime=0)[:5], "damaged gzip"),
        (gzip.compress(PLAIN, mtime=0)[:-8] + b"\0" * 8, "damaged gzip"),
        (gzip.compress(PLAIN, mtime=0)[:10] + b"\xff" * 20, "damaged gzip"),
        (gzip.compress(PLAIN, mtime=0) + b"rubbish", "damaged gzip"),
        (gzip.compress(PLAIN[:-1], mtime=0), "truncated: shape"),
        (struct.pack(">BBBB4I", 0, 0, 8, 4, *[2**32 - 1] * 4), "truncated: shape"),
        (b"\0\0\x08\x21" + struct.pack(">33I", *[1] * 33) + b"x", "has 33 dimensions; 32 can be read"),
        (b"\0\0\x08\xff", "has 255 dimensions; 32 can be read"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "cannot be an array: its header promises shape"),
        (struct.pack(">BBBB3I", 0, 0, 14, 3, 2**31, 0, 2**31), "cannot be an array: its header promises shape"),
        (gzip.compress(struct.pack(">BBBB3I", 0, 0, 14, 3, 2**31, 0, 2**31), mtime=0), "cannot be an array"),
    ],
)
def test_malformed_data_is_one_error_that_names_the_source(raw, said):
    with pytest.raises(InputError, match=said) as caught:
        idx.decode(raw, source="labels of something")
    assert "labels of something" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_as_many_dimensions_as_numpy_has_are_read():
    assert idx.decode(b"\0\0\x08\x20" + struct.pack(">32I", *[1] * 32) + b"x").shape == (1,) * 32
    assert idx.decode(b"\0\0\x08\0x").shape == ()


def test_what_is_longer_than_its_header_says_is_not_unpacked_whole(monkeypatch):
    taken, real = [], gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda file, size: taken.append(size) or real(file, size))
    with pytest.raises(InputError, match="too long"):
        idx.decode(gzip.compress(PLAIN + bytes(50_000_000), 1, mtime=0))
    assert sum(taken) < 1_000
    shape = (3, 1_000_000)
    whole = idx.decode(gzip.compress(encode(np.ones(shape), 8, "u1"), 1, mtime=0))
    assert whole.shape == shape
    assert whole.all()


def test_a_gz_file_that_is_not_gzip_is_refused_by_name(tmp_path):
    (tmp_path / "train.gz").write_bytes(PLAIN)
    with pytest.raises(InputError, match=r"train\.gz is called \.gz but is not gzip"):
        idx.read(tmp_path / "train.gz")


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*absent"):
        idx.read(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot read"):
        idx.read(tmp_path)
