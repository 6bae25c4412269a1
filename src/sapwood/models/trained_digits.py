"""trained_digits: a small convolutional network that comes trained, with the digits that it reads. For first steps.

Three convolutions of 64, 64 and 128 channels with batch norms, 116,810 parameters, on scikit-learn's 8 x 8 digits. The
weights lie beside this file, in float16; `python docs/write_trained_digits.py` trained them on 1,154 images in seconds.
"""

from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sapwood.data import digits
from sapwood.errors import InputError
from sapwood.models.conv import conv
from sapwood.training.samples import Batch, Data

WEIGHTS = Path(__file__).with_suffix(".npz")
CHECKSUM = "b719d68bd5ca4ef0c74828fc4dbcef797d195b0a701a35fa67962996bc4c1e31"
network = partial(conv, 1, 64, 64, 128, side=8, classes=10, norms=True)


def trained_digits() -> tuple[nn.Sequential, Data]:
    """The trained network in evaluation mode, and its data: `train`, `valid` and `test`, each with inputs and targets.

    About 99 % of the test images are answered right. The data comes with scikit-learn: pip install "sapwood[study]".
    InputError if scikit-learn is missing, or if the file of weights is not the one that was shipped.
    """
    written = WEIGHTS.read_bytes()
    if sha256(written).hexdigest() != CHECKSUM:
        raise InputError(f"{WEIGHTS} is not the file that came with sapwood; install sapwood again")
    with np.load(BytesIO(written), allow_pickle=False) as arrays:
        weights = {name: torch.from_numpy(arrays[name]).float() for name in arrays.files}
    model = network()
    model.load_state_dict(model.state_dict() | weights)
    return model.eval(), _data()


def _data() -> Data:
    """Images [N, 1, 8, 8] from 0 to 1; the first 288 for training validate, as in the task conv_digits."""
    images = digits.load()
    inputs, labels = images.train_images.unsqueeze(1) / 16, images.train_labels
    test = Batch(images.test_images.unsqueeze(1) / 16, images.test_labels)
    return Data(Batch(inputs[288:], labels[288:]), Batch(inputs[:288], labels[:288]), test)
