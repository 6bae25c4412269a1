"""WikiText-2: 600 articles of Wikipedia to train on, 60 to validate and 60 to test, as bytes of UTF-8.

10,797,148 + 1,121,681 + 1,256,449 bytes. Rare words are <unk>, words and signs are separated by spaces, an article's
lines by line ends: the version whose words are counted in most papers, here read byte by byte.

*Paper:* Merity, Xiong, Bradbury, Socher 2016, "Pointer Sentinel Mixture Models", arXiv 1609.07843.
*Licence:* CC BY-SA.
"""

from functools import lru_cache

import numpy as np
import torch

from sapwood.data.files import Progress, find_form
from sapwood.data.packed import unpacked
from sapwood.data.text import Text

FOLDER = "text/wikitext-2"
PACKED = {  # SHA-256 of the files packed with xz
    "train.txt.xz": "7f5b03a0219b81adcc680f2d8bd24b7b3f19e4a01ac52f9533ca18cc807ac2bd",
    "valid.txt.xz": "1322771e23310248961e17b3c55df138cd3e5c57f2e36ac1d131e9c6158ccd74",
    "test.txt.xz": "306c08b989e77ca6d5587c58d90bf8f8fa3be85671b0eda75315de9f68584fbe",
}
PLAIN = {  # of the same, as they are served
    "train.txt": "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
    "valid.txt": "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
    "test.txt": "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
}
URLS = ("https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2",)
LARGEST = 10_797_148  # bytes of the largest


def fetch(progress: Progress | None = None) -> None:
    """Download the three files, 13 MB, if neither $SAPWOOD_DATA nor the cache has them in any form."""
    find_form(FOLDER, (PACKED, PLAIN), URLS, download=True, progress=progress)


@lru_cache(maxsize=1)
def load() -> Text:
    """The whole set, read once per process."""
    paths = find_form(FOLDER, (PACKED, PLAIN), URLS)
    raw = {name.partition(".")[0]: unpacked(path, LARGEST) for name, path in paths.items()}
    return Text(*(torch.from_numpy(np.frombuffer(raw[part], np.uint8).copy()) for part in Text._fields))
