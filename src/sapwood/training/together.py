"""Together: several optimisers as one, for networks whose parts are trained by different rules or objectives."""

from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from copy import copy, deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood.errors import InputError


class Together(Optimizer):
    """Several optimisers that step, are saved and are held as one; each keeps its own rule.

    `param_groups` and `state` are those of the parts, one after another: a learning rate set here is set there. A
    parameter that got no gradient is not moved, so leaving gradients out makes a step of one part alone.
    of: the model, for the names that errors give. A parameter in two optimisers is an InputError.
    Example: `run.become(gated, Together(Adam(gated.gates.parameters()), SGD(gated.model.parameters(), lr=0.1)))`.
    """

    def __init__(self, *optimizers: Optimizer, of: nn.Module | None = None) -> None:
        if not optimizers:
            raise InputError("Together was given no optimiser; give the ones that train the parts of the model")
        _refuse_twice(optimizers, of)
        self.optimizers = optimizers
        self.defaults = {}
        self._states = _States(optimizers)
        self.__setstate__({})  # hooks, and `step` runs them: what Optimizer.__init__ does besides its own groups

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The parts' own groups; a new list each time, since `load_state_dict` replaces a part's."""
        return [group for each in self.optimizers for group in each.param_groups]

    @property
    def state(self) -> "_States":  # type: ignore[override]
        """The parts' own states as one mapping."""
        return self._states

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each; the closure, if any, is called once, before the first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for each in self.optimizers:
            each.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Each part gets back what `state_dict` said of it, by its own rules."""
        found = copy(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            found = hook(self, found) or found
        for part, mine in zip(self.optimizers, self._divided(found), strict=True):
            part.load_state_dict(mine)
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused: a new group belongs to one of the parts."""
        raise InputError("Together does not know which optimiser a new group is for; add it to one of its `optimizers`")

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))

    def _divided(self, whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The saved groups and states of each part, its parameters numbered from 0."""
        groups = deepcopy(whole["param_groups"])
        counts = [[len(group["params"]) for group in each.param_groups] for each in self.optimizers]
        if [len(group["params"]) for group in groups] != [count for part in counts for count in part]:
            raise InputError(
                f"the saved state has {len(groups)} parameter groups that are not those of the {len(counts)} "
                "optimisers together; give them in the order and with the parameters they were saved with"
            )
        for part in counts:
            mine, groups = groups[: len(part)], groups[len(part) :]
            number = {old: new for new, old in enumerate(old for group in mine for old in group["params"])}
            for group in mine:
                group["params"] = [number[old] for old in group["params"]]
            yield {
                "state": {number[old]: kept for old, kept in whole["state"].items() if old in number},
                "param_groups": mine,
            }


class _States(MutableMapping[Tensor, Any]):
    """What several optimisers remember, by parameter; a parameter's memory lies with the one that trains it."""

    def __init__(self, optimizers: tuple[Optimizer, ...]) -> None:
        self._optimizers = optimizers

    def __getitem__(self, parameter: Tensor) -> Any:
        return self._of(parameter)[parameter]

    def __setitem__(self, parameter: Tensor, value: Any) -> None:
        self._of(parameter)[parameter] = value

    def __delitem__(self, parameter: Tensor) -> None:
        del self._of(parameter)[parameter]

    def __iter__(self) -> Iterator[Tensor]:
        return (parameter for each in self._optimizers for parameter in each.state)

    def __len__(self) -> int:
        return sum(len(each.state) for each in self._optimizers)

    def __contains__(self, parameter: object) -> bool:
        return any(parameter in each.state for each in self._optimizers)

    def _of(self, parameter: Tensor) -> MutableMapping[Tensor, Any]:
        for each in self._optimizers:
            if parameter in each.state or any(p is parameter for group in each.param_groups for p in group["params"]):
                return each.state
        raise KeyError(parameter)


def _refuse_twice(optimizers: tuple[Optimizer, ...], model: nn.Module | None) -> None:
    names = {} if model is None else {id(p): name for name, p in model.named_parameters()}
    owners = [{id(p): p for group in each.param_groups for p in group["params"]} for each in optimizers]
    often = Counter(number for mine in owners for number in mine)
    for number, count in often.items():
        if count > 1:
            several = [type(one).__name__ for one, mine in zip(optimizers, owners, strict=True) if number in mine]
            shape = tuple(next(mine[number] for mine in owners if number in mine).shape)
            which = repr(names[number]) if number in names else f"of shape {shape}"
            raise InputError(
                f"parameter {which} is in {len(several)} optimisers ({', '.join(several)}), which would each move it; "
                "give it to one of them"
            )
