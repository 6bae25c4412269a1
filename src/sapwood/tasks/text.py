"""text: WikiText-2 byte by byte, by a small decoder (136,960 parameters); what there is of language in this library.

Windows of 64 bytes, batches of 32 of them, Adam with learning rate 3e-3; the published parts train (168,706 windows,
5,273 steps an epoch), validate and test. Judged by bits per byte, all bytes counted but the first of each part: on the
first 20,000 of the validation part 3.3 after 300 steps on one core (26 s), where a code by the bytes' own frequencies
takes 4.7. The first recipe that was tried.

*Paper:* none.
"""

from functools import lru_cache, partial

from torch.optim import Adam

from sapwood.data import wikitext2
from sapwood.goal import BITS
from sapwood.models.gpt import first_weights, gpt
from sapwood.task import Data, Task
from sapwood.windows import Windows, next_token_bits, next_token_loss, tokens

CONTEXT = 64


def text() -> Task:
    """A language model of bytes."""
    return Task(
        "text",
        model=partial(gpt, context=CONTEXT),
        data=_data(),
        optimizer=partial(Adam, lr=3e-3, fused=True),
        batch_size=32,
        loss=next_token_loss,
        metrics=next_token_bits,
        count=tokens,
        goal=BITS,
        fresh=first_weights,
        at_once=500,
    )


def windows(train: int | None = None, others: int | None = None) -> Data:
    """The parts in windows: the first `train` bytes train, the first `others` validate and test; None: all of them."""
    text = wikitext2.load()
    parts = (text.train[:train], text.valid[:others], text.test[:others])
    return Data(*(Windows(part, CONTEXT) for part in parts))


@lru_cache(maxsize=1)
def _data() -> Data:
    """The windows, made once per process for all trials of a worker."""
    return windows()
