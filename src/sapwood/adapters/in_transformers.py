"""In transformers: a callback that prunes a model while Hugging Face's Trainer trains it."""

from typing import Any

from sapwood.adapters.outside import found
from sapwood.adapters.pruner import Pruner
from sapwood.errors import InputError

_callbacks: Any = found(__name__, "transformers.trainer_callback")
found(__name__, "accelerate")  # without which its Trainer does nothing

NEAR = 1e-6  # the trainer counts epochs in parts of one, and rounds


class Prune(Pruner, _callbacks.TrainerCallback, _callbacks.ExportableState):  # type: ignore[misc]  # not always there
    __doc__ = Pruner.__doc__

    def on_init_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """What the trainer would make anew has no criterion and no example."""
        if getattr(args, "restore_callback_states_from_checkpoint", False):
            raise InputError(
                "restore_callback_states_from_checkpoint=True makes callbacks anew from text; leave it out: Prune "
                "finds its masks in the checkpoint without it"
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **given: Any) -> None:
        """Masks of the checkpoint are held again; what is due now is done."""
        noted = state.stateful_callbacks.get(type(self).__name__)
        state.stateful_callbacks.setdefault(type(self).__name__, {})  # the trainer looks for it when it saves
        text = noted["attributes"]["noted"] if noted and state.global_step else None
        over = _over(state)
        self.begin(model, [given["optimizer"]], state, over, state.num_train_epochs, text)
        self._prune(state)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Also where an epoch goes on in the middle."""
        self.watch(_over(state))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Evaluation and checkpoint follow, and are of the pruned network."""
        self.look_away()
        self._prune(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The best checkpoint has been loaded by now, if that was asked for."""
        self.finish(_over(state))

    def state(self) -> dict[str, Any]:
        """For the trainer's checkpoint, which process 0 writes."""
        return {"args": {}, "attributes": {"noted": self.notes(everybody=False)}}

    def _prune(self, state: Any) -> None:
        """At the end of an epoch. The best checkpoint so far was of another network, so it is forgotten."""
        over = _over(state)
        if abs((state.epoch or 0) - over) < NEAR and self.prune(over):
            state.best_metric = state.best_model_checkpoint = state.best_global_step = None


def _over(state: Any) -> int:
    """How many epochs are over."""
    return int((state.epoch or 0) + NEAR)
