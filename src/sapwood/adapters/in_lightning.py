"""In Lightning: a callback that prunes a LightningModule while its Trainer trains it."""

from typing import Any

from sapwood.adapters.outside import found
from sapwood.adapters.pruner import Pruner

_callbacks: Any = found(__name__, "lightning.pytorch.callbacks", "pytorch_lightning.callbacks")
NOTED = "pruning"


class Prune(Pruner, _callbacks.Callback):  # type: ignore[misc]  # Lightning is not always there
    __doc__ = Pruner.__doc__
    _noted: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Masks of the checkpoint are held again."""
        epochs = trainer.max_epochs if (trainer.max_epochs or -1) > 0 else None
        noted, self._noted = self._noted, None
        self.begin(pl_module, trainer.optimizers, trainer, trainer.current_epoch, epochs, noted)
        self.on_train_epoch_start(trainer, pl_module)  # which is not called where an epoch goes on

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Here, and not where the last epoch ended: by now its metrics and its checkpoint are of one network."""
        self.prune(trainer.current_epoch)
        self.watch(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Nothing of the evaluation is observed."""
        self.look_away()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """After the last epoch no other begins."""
        self.prune(trainer.current_epoch)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """By now averages of weights have been copied back, which had no masks before the first pruning."""
        if self._noted is not None:  # the checkpoint was of the end, so that nothing was trained
            self.on_train_start(trainer, pl_module)
            self.on_train_end(trainer, pl_module)
        self.finish(trainer.current_epoch)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The model is as free as it was before."""
        self.release()

    def state_dict(self) -> dict[str, Any]:
        """For the trainer's checkpoint."""
        return {NOTED: self.notes(everybody=True)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint; used when training begins."""
        self._noted = state_dict.get(NOTED)
