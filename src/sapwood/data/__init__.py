"""The data sets, by name: how each is loaded, and how it is fetched beforehand. Loading never downloads."""

from collections.abc import Callable
from typing import NamedTuple

from sapwood.data import cifar10, digits, fashion_mnist, mnist, wikitext2
from sapwood.data.files import Progress
from sapwood.data.images import Images
from sapwood.data.text import Text
from sapwood.errors import Names, unknown


class DataSet(NamedTuple):
    """What can be done with a data set."""

    load: Callable[[], Images | Text]  # reads local files only
    fetch: Callable[[Progress | None], None]  # makes sure that `load` will find them


DATASETS: dict[str, DataSet] = Names(
    "data set",
    {
        "cifar10": DataSet(cifar10.load, cifar10.fetch),
        "digits": DataSet(digits.load, digits.fetch),
        "fashion_mnist": DataSet(fashion_mnist.load, fashion_mnist.fetch),
        "mnist": DataSet(mnist.load, mnist.fetch),
        "wikitext2": DataSet(wikitext2.load, wikitext2.fetch),
    },
)


def fetch(name: str, progress: Progress | None = None) -> None:
    """Download what is missing of a data set, into the cache; everything else in the library reads local files only."""
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    DATASETS[name].fetch(progress)
