"""Life: what happens to a model while a trainer trains it: observed, pruned, held, released, made smaller."""

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from sapwood import processes
from sapwood.adapters.chosen import Wish
from sapwood.adapters.due import Due
from sapwood.adapters.noted import Noted, read, written
from sapwood.adapters.small import shrink_, there, together
from sapwood.currency import Keep, Masks
from sapwood.errors import InputError
from sapwood.masking import masks as mask
from sapwood.masking.holding import Held, hold
from sapwood.scoring.evidence import Evidence
from sapwood.scoring.observation import observing

_busy: "WeakKeyDictionary[nn.Module, ref[Life]]" = WeakKeyDictionary()  # who prunes a model just now


class Life:
    """Prunes a model from `begin` to `finish`; adapters call what is here, in their trainers' words."""

    _model: nn.Module | None = None  # these four while it is trained
    _training: object = None
    _held: Held | None = None
    _watching: ExitStack | None = None

    def __init__(self, due: Due, wish: Wish, shrink: bool) -> None:
        self.due, self.wish, self.shrink = due, wish, shrink
        self.masks: Masks = {}  # {parameter: bool, True stays}
        self.units: Keep = {}  # {site: bool [units]}, where whole units go
        self._seen: Evidence = {}
        self._of: ref[nn.Module] | None = None  # the model that the masks belong to
        self._optimizers: Sequence[Any] = ()
        self._last = self._watched = -1

    def begin(
        self,
        model: nn.Module,
        optimizers: Sequence[Any],
        training: object,
        over: int,
        epochs: int | None,
        noted: object,
    ) -> None:
        """Training begins, or goes on after `over` of its `epochs` with what a checkpoint has `noted`."""
        self._claim(model, training)
        if self._of is None or self._of() is not model:  # masks of another model are not its
            self._of, self.masks, self.units = ref(model), {}, {}
        self._optimizers, self._seen, self._last = optimizers, {}, -1
        if noted is not None:
            old = read(noted)
            self._last, self._watched, self.masks, self.units, self._seen = *old[:4], there(old.mine, model)
        self.due.refuse_never(over if noted is None and not self.masks else 0, epochs)
        self._layers = self.wish.watched(model, self.due.whole_units)
        if self.due.whole_units and not self.masks:
            self.wish.refuse_unreachable(model, self.due, epochs)
        self._hold()

    def watch(self, epoch: int) -> None:
        """Epoch `epoch`, counted from 0, begins or goes on: it is observed if pruning after it needs that."""
        model = self._model
        if model is None or self._watching is not None or self.due.amount(epoch + 1) is None or not self.wish.by.needs:
            return
        if epoch != self._watched:
            self._seen.clear()
        self._watched, self._watching = epoch, ExitStack()
        look = observing(model, *self.wish.by.needs, only=self._layers, training=True, into=self._seen)
        self._watching.enter_context(look)

    def look_away(self) -> None:
        """No layer is observed any more; what was seen stays."""
        if self._watching is not None:
            self._watching.close()
            self._watching = None

    @torch.no_grad()
    def prune(self, epochs: int) -> bool:
        """So many epochs are over: prune if that is due, and say whether it was."""
        amount, model = self.due.amount(epochs), self._model
        if amount is None or epochs <= self._last or model is None:
            return False
        self.look_away()
        seen = processes.add_up(self._seen)
        if self.wish.by.needs and not seen:
            raise InputError(f"no epoch was observed before the pruning after {epochs} epochs; set at= later")
        if self.due.whole_units:
            self.units, masks = self.wish.units(model, self.due.kind, amount, seen, self.units)
        else:
            masks = self.wish.weights(model, self._layers, amount, seen, self.masks)
        self._last, self.masks = epochs, masks
        self._seen.clear()
        self._hold()
        return True

    def finish(self, epochs: int) -> None:
        """Training is over: zeros are zeros for the last time, masks are released, the model becomes smaller."""
        model, optimizers, left = self._model, self._optimizers, list(self.due.amounts(epochs + 1, None).values())
        self.release()
        if left:
            said = f"{self.due.kind}={left[0]:g} was not done: training ended after {epochs} epochs, before it was due"
            warnings.warn(said, UserWarning, stacklevel=3)
        if model is None or not self.masks:
            return
        mask.apply_(dict(model.named_parameters()), self.masks)
        if self.shrink and self.wish.example is not None:
            shrink_(model, optimizers, self.wish.example, self.units)
            self.masks, self.units, self._of = {}, {}, None

    def release(self) -> None:
        """Masks are held no longer and nothing is observed; weights stay as they are. Also after an exception."""
        self.look_away()
        if self._held is not None:
            self._held.release()
        if self._model is not None and (known := _busy.get(self._model)) is not None and known() is self:
            del _busy[self._model]
        self._held = self._model = self._training = None
        self._optimizers = ()

    def notes(self, everybody: bool) -> str:
        """What a checkpoint has to hold so that training goes on from it; `everybody`: all processes ask for it now."""
        seen = processes.add_up(self._seen) if everybody else self._seen
        whole = everybody or processes.world() == 1
        return written(Noted(self._last, self._watched, self.masks, self.units, seen, whole))

    def _hold(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None
        if self.masks and self._model is not None:
            self._held = hold(self._model, together(self._optimizers), self.masks)

    def _claim(self, model: nn.Module, training: object) -> None:
        known = _busy.get(model)
        other = None if known is None else known()
        if other is not None and other is not self:
            if other._training is training:
                raise InputError(f"two callbacks prune one {type(model).__name__}; give the trainer one of them")
            other.release()  # its training was broken off, and nobody said so
        self.release()
        self._model, self._training = model, training
        _busy[model] = ref(self)
