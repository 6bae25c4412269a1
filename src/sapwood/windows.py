"""Windows: samples cut from one long text, where each token's target is the token after it."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.processes import digest
from sapwood.samples import Batch

IGNORED = -100  # as a target: nothing to predict here; torch's cross_entropy passes over it, and the count must, too


@dataclass(frozen=True, eq=False)
class Windows:
    """Samples of `length` tokens each, side by side in `tokens` [N], whole numbers of 0 or more; bytes are uint8.

    Sample i has tokens i L, ..., i L + L - 1 for inputs and the tokens after these for targets, both int64 [B, L]:
    every token but the first is a target once. The last window is filled up, inputs with 0, targets with IGNORED.
    """

    tokens: Tensor
    length: int

    def __post_init__(self) -> None:
        tokens, length = self.tokens, self.length
        if type(length) is not int or length < 1:
            raise InputError(f"the windows' length is {length!r}; give a whole number of tokens, at least 1")
        if tokens.dim() != 1 or tokens.is_floating_point() or tokens.is_complex() or tokens.dtype is torch.bool:
            raise InputError(f"tokens are {tokens.dtype} of shape {tuple(tokens.shape)}; give whole numbers in a row")
        if len(tokens) < 2 or int(tokens.min()) < 0:
            low = f"the lowest is {int(tokens.min())}" if len(tokens) else "none"
            raise InputError(f"there are {len(tokens)} tokens ({low}); give at least two, of 0 or more")

    def __len__(self) -> int:
        return -(-(len(self.tokens) - 1) // self.length)

    @property
    def device(self) -> torch.device:
        """Where the tokens are."""
        return self.tokens.device

    def take(self, index: Tensor | slice) -> Batch:
        """Return the windows at `index`, whole numbers [B] or a slice."""
        rows = self._rows[index] if isinstance(index, slice) else self._rows[index.to(self.device)]
        rows = rows.long()
        return Batch(rows[:, :-1].clamp(min=0), rows[:, 1:])

    def digest(self) -> bytes:
        """Return a fingerprint of all tokens and of the length."""
        return digest({"tokens": self.tokens, "length": torch.tensor(self.length)})

    def to(self, device: torch.device | str) -> "Windows":
        """Return the same windows on another device; itself if they are there."""
        tokens = self.tokens.to(device)
        return self if tokens is self.tokens else Windows(tokens, self.length)

    @cached_property
    def _rows(self) -> Tensor:
        """Every window and the token after it, [windows, length + 1]: a view, in which neighbours share a token."""
        small = torch.int16 if self.tokens.dtype is torch.uint8 else torch.int64
        whole = torch.full((len(self) * self.length + 1,), IGNORED, dtype=small, device=self.device)
        whole[: len(self.tokens)] = self.tokens
        return whole.unfold(0, self.length + 1, self.length)


def tokens(batch: Batch) -> int:
    """Return how many targets of a batch are to be predicted: for `Task.count`."""
    return int((batch.targets != IGNORED).sum())


def next_token_loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
    """Cross-entropy of logits [B, T, symbols] with the tokens [B, T] that follow, mean over those that are there."""
    return F.cross_entropy(outputs.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)


def next_token_bits(outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    """How many bits a code by the network's probabilities takes for the tokens; per byte where tokens are bytes."""
    logits, targets = outputs.flatten(0, 1), batch.targets.flatten()
    return {"bits": F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum") / math.log(2)}
