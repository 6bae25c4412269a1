"""CIFAR-10: 50,000 + 10,000 colour 32 x 32 photographs, 5,000 + 1,000 in each of 10 classes.

Classes 0-9: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

Read from whichever is there whole: the six record files of the official binary version, as they are or packed with xz,
or the official tarball. Packed ones take 7 s and more a process, unpacked ones a fraction of it: unpack them once.

*Paper:* Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
Toronto.
*Licence:* none stated by the author; in universal research use.
"""

import tarfile
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sapwood import disk
from sapwood.data.files import Progress, find_form
from sapwood.data.images import Images
from sapwood.data.packed import unpacked, within
from sapwood.errors import InputError

FOLDER = "cifar-10"
RECORDS = {  # SHA-256 of the official record files
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
PACKED = {  # of the same, packed with xz and its delta filter
    "data_batch_1.bin.xz": "4bfc6070987c1e476eddaed51ea6f94836e4fa2efaf9e9e6fa7c8d684d3a1dd8",
    "data_batch_2.bin.xz": "be6b0939091eee05cc54830867194ad247104306010ea9532b7f4de1746022ce",
    "data_batch_3.bin.xz": "a478ee787e66582d20eeb7e1129703d49155ca505f6e25dc57192a99895bf333",
    "data_batch_4.bin.xz": "9d3fc47acc5cc4c92138e1f659bff8b7b62098e5c8d706378ab9c5f7f5315b1c",
    "data_batch_5.bin.xz": "9d20049662db98f02fb4639caee63f4c4d34578cc9fdc3f6a588df0f716b11b4",
    "test_batch.bin.xz": "0023c8a5d1bfca6a84d096a2c49ceab0125b8d7a78bb8e369a645114e5fb59c9",
}
TARBALL = {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}
URLS = ("https://www.cs.toronto.edu/~kriz",)

# Red, green and blue, of value / 255: what the tasks standardise with. These are ImageNet's, since the networks of
# models.resnet_cifar.load_trained were trained so; the training images' own are 0.4914 0.4822 0.4465 and 0.2470 0.2435
# 0.2616.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

RECORD = 1 + 3 * 32 * 32  # bytes: the class, then red, green and blue, each row by row
CLASSES = 10
LARGEST = 10_000 * RECORD  # bytes of an official file; what unpacks to more is none
ODD = (
    ValueError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    MemoryError,
)  # of tarfile

Bytes = npt.NDArray[np.uint8]


def fetch(progress: Progress | None = None) -> None:
    """Download the official tarball, 170 MB, if neither $SAPWOOD_DATA nor the cache has the set in any form."""
    find_form(FOLDER, (RECORDS, PACKED, TARBALL), URLS, download=True, progress=progress)


@lru_cache(maxsize=1)
def load() -> Images:
    """The whole set, decoded once per process; 184 MB."""
    paths = find_form(FOLDER, (RECORDS, PACKED, TARBALL), URLS)
    read = _members(paths) if paths.keys() == TARBALL.keys() else _files(paths)
    parts = [decode(read(name), source=name) for name in RECORDS]
    return Images(*_joined(parts[:-1]), *_joined(parts[-1:]))


def decode(raw: bytes, *, source: str = "CIFAR-10 records") -> tuple[Bytes, Bytes]:
    """Images uint8 [N, 3, 32, 32] and classes [N] of binary records, without a copy; `source` names them in errors."""
    if not raw or len(raw) % RECORD:
        raise InputError(f"{source} holds {len(raw)} bytes, which are no whole records of {RECORD}; fetch it again")
    rows = np.frombuffer(raw, np.uint8).reshape(-1, RECORD)
    if (largest := int(rows[:, 0].max())) >= CLASSES:
        raise InputError(f"{source} holds class {largest}; CIFAR-10 has 0 to {CLASSES - 1}: these are other records")
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def _joined(parts: Sequence[tuple[Bytes, Bytes]]) -> tuple[Tensor, Tensor]:
    images, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def _files(paths: dict[str, Path]) -> Callable[[str], bytes]:
    """Reads record files that lie one by one, packed or not."""
    by_name = {path.name.removesuffix(".xz"): path for path in paths.values()}
    return lambda name: unpacked(by_name[name], LARGEST)


def _members(paths: dict[str, Path]) -> Callable[[str], bytes]:
    """Reads record files out of the tarball, which is gone through once."""
    (path,) = paths.values()
    held = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for each in archive:
                name = Path(each.name).name
                if name in RECORDS and each.isfile() and (file := archive.extractfile(each)):
                    held[name] = within(file, LARGEST)
    except (OSError, EOFError, tarfile.TarError, zlib.error, *ODD) as error:
        raise InputError(f"cannot read {path}: {disk.reason(error)}; fetch it again") from error
    if missing := [name for name in RECORDS if name not in held]:
        raise InputError(f"{path} does not hold {', '.join(missing)}; fetch it again")
    return held.__getitem__
