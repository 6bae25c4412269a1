"""Reloadable: a LightningModule whose checkpoints say its sizes, so that `load_from_checkpoint` gives it again."""

from typing import Any

import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.export.network import content_without, fit_
from sapwood.shrinking.tracing.graph import named_tensors

ENTRY = "sapwood-network"  # of a checkpoint: the sizes of the network, as bytes in a tensor


class Reloadable:
    """A mixin for a LightningModule that was pruned: its checkpoints load by `load_from_checkpoint`, at its sizes.

        class Lit(export.Reloadable, lightning.LightningModule):

    Nothing else changes. A checkpoint of a pruned one also holds its sizes, and what pruning changed on modules; its
    weights stand there once. Loading builds the class from its hyperparameters, as always, and cuts it to these sizes
    before the weights are loaded. Training resumes from it too, in the pruned module and in a fresh one.

    Hyperparameters must be saved (`self.save_hyperparameters()`), since the class builds the original from them;
    otherwise write `original`. A class with an `on_save_checkpoint` or `on_load_checkpoint` of its own calls `super()`.
    """

    def original(self) -> nn.Module:
        """A module as it was before pruning; only its shapes and plain numbers are looked at."""
        hyperparameters: Any = getattr(self, "hparams", {})
        try:
            with torch.random.fork_rng(devices=()):
                made: nn.Module = type(self)(**hyperparameters)  # type: ignore[assignment]
        except TypeError as error:
            raise InputError(
                f"{type(self).__name__} is not made from its saved hyperparameters ({error}); call "
                "self.save_hyperparameters() in __init__, or write a method original(self) that makes it"
            ) from error
        return made

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put sizes into a checkpoint, if they are not those that the class gives."""
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        original: Any = self.original()
        if _shapes(original) != _shapes(self):
            content = content_without(self, original, checkpoint["state_dict"].keys())  # type: ignore[arg-type]
            checkpoint[ENTRY] = torch.frombuffer(bytearray(content), dtype=torch.uint8)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Cut this module to the sizes in a checkpoint, before Lightning loads the weights."""
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        if ENTRY in checkpoint:
            content = checkpoint[ENTRY].numpy().tobytes()
            fit_(self, content, checkpoint["state_dict"], "the checkpoint")  # type: ignore[arg-type]


def _shapes(model: Any) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in named_tensors(model)}
