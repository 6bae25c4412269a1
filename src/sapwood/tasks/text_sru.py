"""text_sru: two megabytes of WikiText-2 by bytes, by a recurrent decoder of factored layers (495,872 numbers).

Windows of 64 bytes, batches of 32 of them, read in order: each of 32 readers goes on where it was, with its state, but
without a gradient from before. Adam with learning rate 2e-3. The first 2,000,000 bytes train (31,250 windows,
977 steps an epoch), the first 300,000 of each other part validate and test, in windows of 1,024 that begin without a
state. Judged by bits per byte; perplexity per byte is 2 to that power.

*Paper:* the recipe is that of Wang, Wohlwend, Lei 2020, arXiv:1910.04732, for enwik8, at a twentieth of its size.
*Differs:* other text; 3 layers of 256 for 6 of 3056, factors of rank 128 for 512, windows of 64 for 256; a constant
learning rate for one that rises and falls; no dropout, no clipping.
"""

from functools import lru_cache, partial

from torch.optim import Adam

from sapwood.data import wikitext2
from sapwood.models.sru import first_weights, going_on, sru
from sapwood.training.goal import BITS
from sapwood.training.task import Data, Task
from sapwood.training.windows import Windows, next_token_bits, next_token_loss, tokens


def text_sru() -> Task:
    """A recurrent language model of bytes."""
    return Task(
        "text_sru",
        model=sru,
        data=_data(),
        optimizer=partial(Adam, lr=2e-3, fused=True),
        batch_size=32,
        loss=next_token_loss,
        metrics=next_token_bits,
        count=tokens,
        goal=BITS,
        carry=going_on,
        fresh=first_weights,
        at_once=32,
    )


def windows(train: int, others: int, length: int = 64, longer: int = 1_024) -> Data:
    """The parts in windows: the first `train` bytes train, the first `others` validate and test in `longer` ones."""
    text = wikitext2.load()
    return Data(
        Windows(text.train[:train], length), Windows(text.valid[:others], longer), Windows(text.test[:others], longer)
    )


@lru_cache(maxsize=1)
def _data() -> Data:
    """The windows, made once per process for all trials of a worker."""
    return windows(2_000_000, 300_000)
