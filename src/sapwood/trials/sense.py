"""Sense: what of a trial's options cannot be meant, told when the trial is made and not once it has been trained."""

import inspect
from collections.abc import Mapping

from sapwood.criteria import CRITERIA
from sapwood.errors import InputError, unknown
from sapwood.methods import METHODS, METHODS_BY_WEIGHTS
from sapwood.trials.values import Value

SHARES = ("sparsity", "initial")  # options that are the fraction removed, whatever the method
ALSO = {"at_init": ("grasp", "synflow")}  # criteria that a method has besides those of the table


def refuse_senseless(method: str, options: Mapping[str, Value]) -> None:
    """InputError if an option of a method has the right type, and a value that no method of sapwood can use."""
    for name in SHARES:
        value = options.get(name, 0.0)
        if isinstance(value, float) and not 0 <= value < 1:
            percent = f": {value / 100:g} for {value:g} %" if 2 <= value < 100 else ""
            raise InputError(
                f"option {name!r} of method {method!r} is {value:g}; give the fraction removed, in [0, 1){percent}"
            )
    criterion = options.get("criterion")
    if isinstance(criterion, str) and criterion not in ALSO.get(method, ()) and _ours(method):
        _refuse_criterion(method, criterion)


def _ours(method: str) -> bool:
    """Whether it is a method of sapwood; what another does with its options, nobody knows."""
    return str(getattr(METHODS[method], "__module__", "")).startswith("sapwood.")


def _refuse_criterion(method: str, name: str) -> None:
    if name not in CRITERIA:
        raise InputError(f"{unknown('criterion', name, CRITERIA)}; one of your own goes into sapwood.CRITERIA first")
    if method in METHODS_BY_WEIGHTS and CRITERIA[name].needs:
        others = [each for each in METHODS if each not in METHODS_BY_WEIGHTS and _takes_criterion(each)]
        raise InputError(
            f"method {method!r} scores by weights alone, and criterion {name!r} needs "
            f"{', '.join(map(str, CRITERIA[name].needs))}; take a method that gathers it: {', '.join(others)}"
        )


def _takes_criterion(method: str) -> bool:
    return _ours(method) and "criterion" in inspect.signature(METHODS[method]).parameters
