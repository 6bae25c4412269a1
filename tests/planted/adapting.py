"""Bugs planted in the adapters: what a checkpoint notes, what is held, what is left behind, what becomes smaller."""

from adapters.rehearsal import adapter_laws
from planted.mutant import Mutant, bugs, instead

from sapwood.adapters import chosen, life, noted, small
from sapwood.adapters.life import Life

selected, hold_anew, become = chosen.selected, Life._hold, small.become_


def _without(**part):
    return instead(life, "written", lambda each: noted.written(each._replace(**part)))


def _once(self):
    if self._held is None:
        hold_anew(self)


MUTANTS: tuple[Mutant, ...] = bugs(
    "adapters",
    adapter_laws,
    {
        "going on from any step gives the same masks and the same bits": {
            "a checkpoint does not note what was observed so far": _without(evidence={}),
            "a checkpoint does not note the masks": _without(masks={}),
        },
        "removed weights are 0 in every forward pass": {
            "the masks of the second pruning are not held": instead(Life, "_hold", _once),
        },
        "what was removed stays removed": {
            "a later pruning does not know of the earlier one": instead(
                chosen, "selected", lambda *given, among: selected(*given, among=None)
            ),
        },
        "a training that broke off leaves no hook and no mask behind": {
            "a training that broke off goes on being observed": instead(Life, "look_away", lambda self: None),
        },
        "the smaller model stands where the model stood, and its optimiser trains it": {
            "the optimiser trains the weights of the larger model on": instead(
                small, "become_", lambda model, optimizers, made: become(model, [], made)
            ),
        },
    },
)
