"""Train the small network that comes with sapwood, and write its weights beside `sapwood.models.trained_digits`.

python docs/write_trained_digits.py     prints the test accuracy and the checksum that belongs into that file

SGD at 0.1, falling to 0 along half a cosine, batches of 16, 20 epochs, seed 0; nothing was tuned. On another kind of
processor the bits differ, and so does the checksum.
"""

from dataclasses import replace
from hashlib import sha256
from io import BytesIO

import numpy as np

from sapwood import evaluate, schedule, start, train
from sapwood.models.trained_digits import WEIGHTS, network
from sapwood.tasks.conv_digits import conv_digits


def main() -> None:
    """Train, write, and say what came out."""
    task = replace(conv_digits(), name="trained_digits", model=network, course=schedule.cosine)
    run = start(task, seed=0)
    for _ in train(run, epochs=20):
        pass
    named = {name: value for name, value in run.model.state_dict().items() if not name.endswith("num_batches_tracked")}
    file = BytesIO()
    np.savez_compressed(file, **{name: value.half().numpy() for name, value in named.items()})
    WEIGHTS.write_bytes(file.getvalue())
    print(f"test accuracy {evaluate(run, 'test')['accuracy']:.4f}, {len(file.getvalue()):,} bytes")
    print(f"CHECKSUM = {sha256(file.getvalue()).hexdigest()}")


if __name__ == "__main__":
    main()
