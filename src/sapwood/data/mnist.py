"""MNIST: 60,000 + 10,000 grey 28 x 28 handwritten digits in 10 classes.

*Paper:* LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), doi 10.1109/5.726791.
*Licence:* CC BY-SA 3.0, as usually stated.
"""

from functools import lru_cache

from sapwood.data.files import Progress, find
from sapwood.data.images import Images, from_idx

FOLDER = "mnist"
FILES = {  # SHA-256 of the official .gz files
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist",)  # the original site no longer serves them


def fetch(progress: Progress | None = None) -> None:
    """Download the files that neither $SAPWOOD_DATA nor the cache has."""
    find(FOLDER, FILES, URLS, download=True, progress=progress)


@lru_cache(maxsize=1)
def load() -> Images:
    """The whole set, decoded once per process."""
    return from_idx(find(FOLDER, FILES, URLS))
