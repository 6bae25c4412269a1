"""Random: luck, as a control. A hash of the weight's own bits, so no random state is read or advanced.

    s_oi = mix(bits of w_oi as float64) / 2^32      (mix: the finaliser of MurmurHash3, 32 bits)

The score is a pure function of the value: it is the same twice, follows a weight when units are permuted, and is
independent of the weight's size because the mixing spreads every input bit over all output bits.
Differs: equal weights get equal scores, which ties by position settle.
"""

import torch
from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen

MASK = 0xFFFF_FFFF


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """A number in [0, 1) that nobody can guess from |w|."""
    return mixed(w_OI).double() / 2**32


def mixed(w: Tensor) -> Tensor:
    """32 bits, as int64, that look like luck and depend on nothing but each weight's value."""
    bits = w.double().contiguous().view(torch.int64)
    h = (bits ^ (bits >> 32) * 0x9E37_79B1) & MASK
    h = ((h ^ (h >> 16)) * 0x85EB_CA6B) & MASK
    h = ((h ^ (h >> 13)) * 0xC2B2_AE35) & MASK
    return h ^ (h >> 16)


random_ = Criterion(score)
