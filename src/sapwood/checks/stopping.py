"""Laws of stopping rules: what they have seen is in their state, which survives a checkpoint at any point."""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.training.stopping import Rule, State


def check_rule(name: str, rule: Rule) -> list[Result]:
    """The laws of stopping rules, tried on `rule`."""
    return tried(laws(name, rule))


def laws(name: str, rule: Rule) -> Laws:
    """The laws of stopping rules about `rule`, not yet tried."""
    bodies: dict[str, Callable[[Rule], None]] = {
        "resumed from JSON at any point, the same answers": _resumed,
        "the state holds numbers only": _numbers,
        "two runs under one rule do not disturb each other": _side_by_side,
        "a falling value never stops": _falling,
        "NaN is refused": _refuses,
    }
    return {f"rule {name}: {law}": partial(body, rule) for law, body in bodies.items()}


def traces() -> list[list[float]]:
    """Values as a validation loss gives them: falling, turning, noisy, flat, spiking, without end."""
    luck = torch.Generator().manual_seed(0)
    noise = torch.rand(3, 30, generator=luck, dtype=torch.float64)
    turning = [1 + abs(step - 10) / 5 for step in range(30)]
    return [
        turning,
        [1.0] * 12,
        [1.0, 1.2, 1.3, 1.05, 1.2, 1.3, 1.4, 0.9, 1.0, 1.1],
        [math.inf, 2.0, 1.0, math.inf, 1.0, math.inf, 0.5],
        *(noise * 0.4 + torch.linspace(1, 0.5, 30)).tolist(),
    ]


def _answers(rule: Rule, values: Sequence[float], state: State) -> list[bool]:
    return [bool(rule(state, value)) for value in values]


def _resumed(rule: Rule) -> None:
    for values in traces():
        whole = _answers(rule, values, {})
        for at in range(len(values) + 1):
            state: State = {}
            before = _answers(rule, values[:at], state)
            kept = json.dumps(state)
            _answers(rule, [9.0, 0.1, 9.0], {})  # another run in between
            again = before + _answers(rule, values[at:], json.loads(kept))
            demand(again == whole, f"restarted after {at} of {len(values)} values: {again}, not {whole}")


def _numbers(rule: Rule) -> None:
    for values in traces():
        state: State = {}
        _answers(rule, torch.tensor(values, dtype=torch.float64).unbind(), state)  # type: ignore[arg-type]
        wrong = [f"{key}: {type(value).__name__}" for key, value in state.items() if type(value) not in (int, float)]
        demand(not wrong, f"the state holds {wrong}")


def _side_by_side(rule: Rule) -> None:
    first, second = traces()[0], traces()[2]
    alone = _answers(rule, first, {})
    one: State = {}
    two: State = {}
    together = []
    for step, value in enumerate(first):
        together.append(bool(rule(one, value)))
        rule(two, second[step % len(second)])
    demand(together == alone, f"beside another run {together}, alone {alone}")


def _falling(rule: Rule) -> None:
    demand(not any(_answers(rule, [100 * 0.9**step for step in range(60)], {})), "stopped while the value fell")


def _refuses(rule: Rule) -> None:
    demand_refused(lambda: rule({}, math.nan), "NaN as the first value")
    state: State = {}
    _answers(rule, [1.0, 2.0], state)
    demand_refused(lambda: rule(state, math.nan), "NaN")
