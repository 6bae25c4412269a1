"""Image folder: photographs in files, a folder for each class, read when they are needed; for sets of one's own.

    root/train/cat/1.jpg   root/train/dog/1.png   ...   root/val/cat/9.jpg   ...

This is the layout that torchvision's `ImageFolder` reads, with the same numbers for the classes: their names in order.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sapwood import disk
from sapwood.errors import InputError
from sapwood.extras import optional
from sapwood.training.draws import luck
from sapwood.training.samples import EVERY, Batch, Data, Samples

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, what most trained networks were given
EVALUATED = ("val", "valid", "validation")


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Samples of the images in `root`, as inputs [B, 3, size, size], (pixel / 255 - mean) / std, and class numbers [B].

    An image is made smaller or larger until its short side has `size` pixels, then cut to a square from its middle; one
    that is `size` pixels square is taken as it is. Images of one channel become three.
    root: a folder with a folder for each class, in which images lie, in folders of their own or not.
    threads: how many files are read at once; what is read does not depend on it.
    only: the numbers of the images that count, in their order; None means all.
    """

    root: Path | str
    size: int
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD
    threads: int = 4
    device: torch.device | str = "cpu"
    only: Sequence[int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("size", "threads"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"{name} is {value!r}; give a whole number, at least 1")
        if not (len(self.mean) == len(self.std) == 3) or min(self.std) <= 0:
            raise InputError(f"mean is {self.mean} and std {self.std}; give three numbers of each, std above 0")
        if not self.files:
            raise InputError(
                f"no image is in {self.root}; its folders must hold files that end in {', '.join(ENDINGS)}"
            )

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a class's number is its place."""
        try:
            found = sorted(each.name for each in Path(self.root).iterdir() if each.is_dir())
        except OSError as error:
            raise InputError(
                f"cannot read the folder {self.root}: {disk.reason(error)}; give one with a folder for each class"
            ) from error
        if not found:
            raise InputError(f"{self.root} has no folders; give one with a folder for each class")
        return tuple(found)

    @cached_property
    def files(self) -> tuple[tuple[Path, int], ...]:
        """Each image's file and class, in order."""
        every = tuple(self._every())
        return every if self.only is None else tuple(every[number] for number in self.only)

    def _every(self) -> Iterator[tuple[Path, int]]:
        for number, name in enumerate(self.classes):
            for path in sorted((Path(self.root) / name).rglob("*")):
                if path.suffix.lower() in ENDINGS and path.is_file():
                    yield path, number

    def __len__(self) -> int:
        return len(self.files)

    def take(self, index: Tensor | slice) -> Batch:
        """Return the samples at `index`, whole numbers [B] or a slice, in that order."""
        numbers = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        if numbers and not 0 <= min(numbers) <= max(numbers) < len(self):
            raise InputError(
                f"samples {min(numbers)} to {max(numbers)} of {self.root} were asked for; give numbers from 0 to "
                f"{len(self) - 1}"
            )
        chosen = [self.files[number] for number in numbers]
        pixels = np.zeros((len(chosen), 3, self.size, self.size), np.uint8)
        for place, image in enumerate(self._pool.map(self._pixels, (path for path, _ in chosen))):
            pixels[place] = image
        inputs = torch.from_numpy(pixels) / 255
        inputs.sub_(torch.tensor(self.mean)[:, None, None]).div_(torch.tensor(self.std)[:, None, None])
        return Batch(inputs, torch.tensor([number for _, number in chosen], dtype=torch.int64)).to(self.device)

    def digest(self) -> bytes:
        """Return a fingerprint of all names, classes and sizes of files, of every 97th file's content, and of how
        images become inputs."""
        state = blake2b(digest_size=16)
        state.update(f"{self.size}|{tuple(self.mean)}|{tuple(self.std)}".encode())
        for place, (path, number) in enumerate(self.files):
            name = path.relative_to(self.root).as_posix()
            state.update(f"|{name}|{number}|{path.stat().st_size}".encode(errors="surrogateescape"))
            if place % EVERY == 0:
                state.update(disk.read(path))
        return state.digest()

    def to(self, device: torch.device | str) -> "ImageFolder":
        """Return samples that are read to another device; itself if that is where they come."""
        return self if torch.device(device) == torch.device(self.device) else replace(self, device=device)

    def part(self, numbers: Sequence[int]) -> "ImageFolder":
        """Return the same samples, these of them alone."""
        mine = range(len(self)) if self.only is None else self.only
        return replace(self, only=[mine[number] for number in numbers])

    def _pixels(self, path: Path) -> "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]":
        """An image uint8 [3, size, size]."""
        with optional("reading images"):
            from PIL import Image, ImageOps
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{path} cannot be read as an image: {error}; mend it or take it out") from error
        if image.size != (self.size, self.size):
            image = ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(image).transpose(2, 0, 1)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="images")


def folders_of_images(
    root: Path | str,
    size: int,
    *,
    valid: float = 0.1,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    threads: int = 4,
) -> Data:
    """The three splits of the images in root/train and root/test, or root/val where there is no root/test.

    With root/train, root/val and root/test, each is a split. With two of them, `valid`, a share of the training images
    that is drawn once and for all, validates, and the other folder is for the last number: decisions are not to be made
    on the images that it is told of.
    """
    root = Path(root)
    train = ImageFolder(root / "train", size, mean, std, threads)
    held = [replace(train, root=root / name) for name in EVALUATED if (root / name).is_dir()][:1]
    last = [replace(train, root=root / "test")] if (root / "test").is_dir() else held
    if not last:
        raise InputError(f"{root} has neither test nor val beside train; the last number needs images of its own")
    for other in (*held, *last):
        if other.classes != train.classes:
            odd = sorted({*other.classes} ^ {*train.classes})
            raise InputError(f"{other.root} and {train.root} have other classes: {', '.join(odd)} in one of them only")
    if held and last is not held:
        return Data(train, held[0], last[0])
    return Data(*_parted(train, valid), last[0])


def _parted(train: ImageFolder, valid: float) -> tuple[Samples, Samples]:
    """What trains, and the share that validates."""
    count = round(valid * len(train))
    if not 0 < count < len(train):
        raise InputError(f"valid is {valid}; give a share of the {len(train)} training images that is some and not all")
    order = torch.randperm(len(train), generator=luck(0, "validation images", 0)).tolist()
    return train.part(sorted(order[count:])), train.part(sorted(order[:count]))
