"""Draws: where random numbers come from that are not torch's own stream - a function of seed, purpose and step.

A digest of all three fills the whole state of a generator. `torch.Generator.manual_seed` looks at 32 bits only, so that
of a million generators some hundred would be equal; here none ever are.
"""

from hashlib import blake2b, shake_128

import numpy as np
import torch

from sapwood.called import checked

WORDS = 624  # of the Mersenne twister; in torch's state each takes 8 bytes, after 24 bytes that say where it stands
BEGIN = 3

# Kinds that were drawn by a formula before `luck`, and keep their bits: seed * factor + plus + step, below `steps` and
# 32 bits. No two of one kind are equal then, nor any of seed 0 and seed 1. {kind: (factor, plus, steps)}
FIRST: dict[str, tuple[int, int, int]] = {
    "data order": (1_000_003, 0, 5_000),
    "samples at initialisation": (5_003, 1, 1),
    "shuffled masks": (6_101, 1, 1),
    "other initial weights": (6_101, 2, 1),
}


@checked()
def luck(seed: int, what: str, step: int = 0) -> torch.Generator:
    """A generator on the CPU for one purpose at one step: the same for the same arguments, another for any others.

    what: the purpose in words, for example "probe". Draws of seed 0 and of seed 1 never coincide, whatever the steps.
    """
    generator = torch.Generator()
    word = first_word(seed, what, step)
    if word is not None:
        return generator.manual_seed(word)
    words = np.frombuffer(shake_128(drawn(seed, what, step)).digest(4 * WORDS), dtype="<u4")
    state = generator.manual_seed(0).get_state()  # twisted before the first number, as one that was just seeded
    state.numpy().view("<u8")[BEGIN : BEGIN + WORDS] = words
    return generator.set_state(state)


def first_word(seed: int, what: str, step: int = 0) -> int | None:
    """What seeds a kind of `FIRST`; None where the formula could meet itself, and for all other kinds."""
    if what not in FIRST:
        return None
    factor, plus, steps = FIRST[what]
    word = seed * factor + plus + step
    return word if 0 <= step < steps and word < 2**32 else None


def drawn(seed: int, what: str, step: int = 0) -> bytes:
    """What a generator is made of: 16 bytes, other ones for other arguments."""
    word = first_word(seed, what, step)
    return blake2b(f"{seed}|{step}|{what}".encode() if word is None else f"{word}".encode(), digest_size=16).digest()
