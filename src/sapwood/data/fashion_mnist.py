"""Fashion-MNIST: 60,000 + 10,000 grey 28 x 28 images of clothing, 6,000 + 1,000 in each of 10 classes.

Classes 0-9: T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot.

*Paper:* Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", arXiv 1708.07747.
*Licence:* MIT, copyright 2017 Zalando SE.
"""

from functools import lru_cache

from sapwood.data.files import Progress, find
from sapwood.data.images import Images, from_idx

FOLDER = "fashion-mnist"
FILES = {  # SHA-256 of the official .gz files
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
URLS = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",)  # has no https; the checksums stand in for it


def fetch(progress: Progress | None = None) -> None:
    """Download the files that neither $SAPWOOD_DATA nor the cache has."""
    find(FOLDER, FILES, URLS, download=True, progress=progress)


@lru_cache(maxsize=1)
def load() -> Images:
    """The whole set, decoded once per process."""
    return from_idx(find(FOLDER, FILES, URLS))
