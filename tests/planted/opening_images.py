"""Bugs planted in images that lie in folders: their order, their numbers, their middle, and what validates."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from planted.mutant import bugs, instead

from sapwood.checks.law import demand
from sapwood.data import image_folder
from sapwood.data.image_folder import ImageFolder, folders_of_images

every = ImageFolder._every


def laws():
    """Of images in folders; each image's grey tells which it is."""
    return {
        "images: they come by class and name": lambda: _in("train", _by_name),
        "images: a part of a part has the images that it names": lambda: _in("train", _part),
        "images: no training image validates, and all images do one of both": lambda: _in("", _splits),
        "images: a square is cut from the middle": lambda: _in("wide", _middle),
    }


def _in(name, law):
    from PIL import Image

    with TemporaryDirectory() as folder:
        for split, first in (("train", 0), ("test", 100)):
            for number in range(12):
                place = Path(folder) / split / "ba"[number % 2]
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((4, 4), first + number, np.uint8)).save(place / f"{11 - number:02}.png")
        wide = np.zeros((4, 12), np.uint8)
        wide[:, 4:8] = 200
        (Path(folder) / "wide" / "a").mkdir(parents=True)
        Image.fromarray(wide).save(Path(folder) / "wide" / "a" / "wide.png")
        law(Path(folder) / name)


def _greys(samples):
    return (samples.take(slice(None)).inputs[:, 0, 0, 0] * 255).round().int().tolist()


def _as_it_is(root):
    return ImageFolder(root, 4, (0.0,) * 3, (1.0,) * 3)


def _by_name(root):
    found = _greys(_as_it_is(root))
    demand(found == [11, 9, 7, 5, 3, 1, 10, 8, 6, 4, 2, 0], f"they come as {found}")


def _part(root):
    found = _greys(_as_it_is(root).part([6, 7, 2]).part([2, 0]))
    demand(found == [7, 10], f"of the third and the first of three, it has {found}")


def _splits(root):
    data = folders_of_images(root, 4, valid=0.25)
    train, valid = ([path for path, _ in split.files] for split in (data.train, data.valid))
    demand((len({*train, *valid}), len(train), len(valid)) == (12, 9, 3), f"{len(train)} and {len(valid)} of 12")


def _middle(root):
    found = (_as_it_is(root).take(slice(None)).inputs * 255).round().int().unique().tolist()
    demand(found == [200], f"its middle is 200, and the square has {found}")


def from_the_corner(folder, path):
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB").crop((0, 0, 4, 4))).transpose(2, 0, 1)


def of_all(folder, numbers):
    return image_folder.replace(folder, only=list(numbers))


def twice(train, valid):
    return train, train.part(range(round(valid * len(train))))


CLAIMS = {
    "they come by class and name": {
        "as the file system gives them": instead(ImageFolder, "_every", lambda folder: reversed([*every(folder)])),
        "classes one after another, image by image": instead(
            ImageFolder, "_every", lambda folder: sorted(every(folder), key=lambda found: found[0].name)
        ),
    },
    "a part of a part has the images that it names": {
        "a part of all": instead(ImageFolder, "part", of_all),
    },
    "no training image validates, and all images do one of both": {
        "what validates trains, too": instead(image_folder, "_parted", twice),
    },
    "a square is cut from the middle": {
        "from its corner": instead(ImageFolder, "_pixels", from_the_corner),
    },
}

MUTANTS = bugs("images", laws, CLAIMS)
