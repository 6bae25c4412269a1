"""Laws of holding masks, for any optimiser: exact zeros after every step, no memory of dead weights, no trace."""

import copy
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.hold import Held, hold, seen_through
from sapwood.masks import Masks

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


def check_holding(name: str, make: MakeOptimizer) -> list[Result]:
    """The laws of holding masks, tried with the optimiser that `make` returns."""
    return tried(laws(name, make))


def laws(name: str, make: MakeOptimizer) -> Laws:
    """The laws of holding masks under the optimiser that `make` returns, not yet tried."""
    bodies: dict[str, Callable[[MakeOptimizer], None]] = {
        "pruned weights are exactly 0 after every step": _zeros,
        "pruned weights have no optimiser state after any step": _state,
        "kept weights go on learning": _learns,
        "frozen layers stay frozen": _frozen,
        "names, copies and state_dict are those of the plain model": _same_model,
        "a second mask replaces the first": _second_round,
        "released weights may grow back": _released,
        "looking through a mask gives the dense weights back, also on failure": _looked_through,
    }
    return {f"holding with {name}: {law}": partial(body, make) for law, body in bodies.items()}


def _mask(model: nn.Module, seed: int = 0, density: float = 0.4) -> Masks:
    """In turn: single weights, whole neurons, whole inputs."""
    luck = torch.Generator().manual_seed(seed)
    drawn = {n: torch.rand(p.shape, generator=luck) < density for n, p in model.named_parameters() if p.dim() > 1}
    whole = (lambda keep: keep, lambda keep: keep[:, :1], lambda keep: keep[:1])
    return {n: whole[at % 3](keep).expand_as(keep).clone() for at, (n, keep) in enumerate(drawn.items())}


def _steps(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
    samples = tiny_samples()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(samples.inputs), samples.targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _held(make: MakeOptimizer, dense_steps: int = 3) -> tuple[nn.Module, Optimizer, Held]:
    """A network that has trained densely first, so that the optimiser remembers weights which the mask then removes."""
    model = seeded_model()
    optimizer = make(model.parameters())
    _steps(model, optimizer, dense_steps)
    return model, optimizer, hold(model, optimizer, _mask(model))


def _dead(model: nn.Module, held: Held) -> list[Tensor]:
    parameters = dict(model.named_parameters())
    return [parameters[n][~keep] for n, keep in held.masks.items()]


def _zeros(make: MakeOptimizer) -> None:
    model, optimizer, held = _held(make)
    for step in range(6):
        demand(all(bool((w == 0).all()) for w in _dead(model, held)), f"a pruned weight is not 0 after {step} steps")
        _steps(model, optimizer, 1)


def _state(make: MakeOptimizer) -> None:
    model, optimizer, held = _held(make)
    for step in range(4):
        parameters = dict(model.named_parameters())
        for name, keep in held.masks.items():
            for key, value in optimizer.state[parameters[name]].items():
                shaped = isinstance(value, Tensor) and value.shape == keep.shape
                demand(not shaped or bool((value[~keep] == 0).all()), f"{key} of {name} is not 0 after {step} steps")
        _steps(model, optimizer, 1)


def _learns(make: MakeOptimizer) -> None:
    model, optimizer, held = _held(make)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    _steps(model, optimizer, 3)
    moved = [(p != before[n])[held.masks[n]].any() for n, p in model.named_parameters() if n in held.masks]
    demand(bool(torch.stack(moved).all()), "kept weights did not move")


def _frozen(make: MakeOptimizer) -> None:
    model = seeded_model()
    for p in model[0].parameters():
        p.requires_grad_(False)
    optimizer = make(p for p in model.parameters() if p.requires_grad)
    held = hold(model, optimizer, _mask(model))
    before = dict(model.named_parameters())["0.weight"].detach().clone()
    _steps(model, optimizer, 3)
    after = dict(model.named_parameters())["0.weight"]
    demand(torch.equal(before, after) and not after.requires_grad, "the frozen layer moved or thawed")
    demand(all(bool((w == 0).all()) for w in _dead(model, held)), "a pruned weight is not 0")


def _same_model(make: MakeOptimizer) -> None:
    model, optimizer, held = _held(make)
    _steps(model, optimizer, 1)
    twin = copy.deepcopy(model)
    demand(list(model.state_dict()) == list(seeded_model().state_dict()), "the state_dict has other names")
    demand(not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()), "hooks are on the model")
    demand(all(bool((w == 0).all()) for w in _dead(twin, held)), "a copy has lost the mask")
    fresh = seeded_model(1)
    fresh.load_state_dict(model.state_dict())
    demand(all(bool((w == 0).all()) for w in _dead(fresh, held)), "the state_dict has lost the mask")


def _second_round(make: MakeOptimizer) -> None:
    model, optimizer, held = _held(make)
    _steps(model, optimizer, 2)
    held.release()
    second = hold(model, optimizer, {n: k & _mask(model, 1)[n] for n, k in held.masks.items()})
    _steps(model, optimizer, 2)
    demand(all(bool((w == 0).all()) for w in _dead(model, second)), "the second mask does not hold")
    demand(all(bool((w == 0).all()) for w in _dead(model, held)), "the second mask let go of the first")


def _released(make: MakeOptimizer) -> None:
    model, optimizer, held = _held(make)
    held.release()
    _steps(model, optimizer, 4)
    demand(any(bool((w != 0).any()) for w in _dead(model, held)), "weights are still held after release")


def _looked_through(make: MakeOptimizer) -> None:
    model = seeded_model()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    masks = _mask(model)
    try:
        with seen_through(model, masks):
            inside = dict(model.named_parameters())
            demand(all(bool((inside[n][~k] == 0).all()) for n, k in masks.items()), "not masked inside")
            raise KeyError
    except KeyError:
        pass
    demand(all(torch.equal(p, before[n]) for n, p in model.named_parameters()), "dense weights did not come back")
