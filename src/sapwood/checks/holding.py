"""Laws of holding masks, for any optimiser: exact zeros whoever moves a weight, no memory of it, no trace."""

import copy
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.currency import Masks
from sapwood.masking.holding import Held, hold, seen_through

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


def check_holding(name: str, make: MakeOptimizer) -> list[Result]:
    """The laws of holding masks, tried with the optimiser that `make` returns."""
    return tried(laws(name, make))


def laws(name: str, make: MakeOptimizer) -> Laws:
    """The laws of holding masks under the optimiser that `make` returns, not yet tried."""
    bodies: dict[str, Callable[[_Case], None]] = {
        "pruned weights are exactly 0 after every step": _zeros,
        "pruned weights have no optimiser state after any step": _state,
        "gradients of pruned weights are 0 from the backward pass on": _gradients,
        "a pruned weight whose gradient was NaN is 0": _not_a_number,
        "pruned weights that somebody moved are 0 in the next forward pass": _moved,
        "a pruned weight is 0.0 when its mask is set, and has the sign of what it was moved to later": _signs,
        "copies of model and optimiser are held like the originals": _copied,
        "kept weights go on learning": _learns,
        "frozen layers stay frozen": _frozen,
        "names, copies and state_dict are those of the plain model": _same_model,
        "nothing is left behind after release": _no_trace,
        "a second mask replaces the first": _second_round,
        "released weights may grow back": _released,
        "looking through a mask gives the dense weights back, also on failure": _looked_through,
    }
    return {f"holding with {name}: {law}": partial(_tried, body, make) for law, body in bodies.items()}


def _tried(body: Callable[["_Case"], None], make: MakeOptimizer) -> None:
    """A law, after which nothing is held any longer, also where it is broken."""
    with ExitStack() as until:
        body(_Case(make, until))


@dataclass(frozen=True)
class _Case:
    """The optimiser that a law is tried with, and what is held until the law has been tried."""

    make: MakeOptimizer
    until: ExitStack

    def hold(self, model: nn.Module, optimizer: Optimizer, masks: Masks) -> Held:
        return self.until.enter_context(hold(model, optimizer, masks))

    def held(self, dense_steps: int = 3) -> tuple[nn.Module, Optimizer, Held]:
        """A network that has trained densely, so that the optimiser remembers weights which the mask then removes."""
        model = seeded_model()
        optimizer = self.make(model.parameters())
        _steps(model, optimizer, dense_steps)
        return model, optimizer, self.hold(model, optimizer, _mask(model))


def _signs(case: _Case) -> None:
    model, _, held = case.held()
    removed = {model.get_parameter(name): keep.logical_not() for name, keep in held.masks.items()}
    demand(not any(bool(w.signbit()[gone].any()) for w, gone in removed.items()), "some are -0.0 at first")
    for w in removed:
        w.data.fill_(-1.0)
    _forward(model)
    for w, gone in removed.items():
        demand(bool((w[gone] == 0).all()), "they are not 0 any more")
        demand(bool(w.signbit()[gone].all()), "they are 0.0, moved to -1")


def _mask(model: nn.Module, seed: int = 0, density: float = 0.4) -> Masks:
    """In turn: single weights, whole neurons, whole inputs."""
    luck = torch.Generator().manual_seed(seed)
    drawn = {n: torch.rand(p.shape, generator=luck) < density for n, p in model.named_parameters() if p.dim() > 1}
    whole = (lambda keep: keep, lambda keep: keep[:, :1], lambda keep: keep[:1])
    return {n: whole[at % 3](keep).expand_as(keep).clone() for at, (n, keep) in enumerate(drawn.items())}


def _forward(model: nn.Module) -> Tensor:
    output: Tensor = model(tiny_samples().inputs)
    return output


def _backward(model: nn.Module) -> None:
    loss = nn.functional.cross_entropy(_forward(model), tiny_samples().targets)
    loss.backward()  # type: ignore[no-untyped-call]


def _steps(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        _backward(model)
        optimizer.step()


def _dead(model: nn.Module, held: Held) -> list[Tensor]:
    parameters = dict(model.named_parameters())
    return [parameters[n][~keep] for n, keep in held.masks.items()]


def _zeros(case: _Case) -> None:
    model, optimizer, held = case.held()
    for step in range(6):
        demand(all(bool((w == 0).all()) for w in _dead(model, held)), f"a pruned weight is not 0 after {step} steps")
        _steps(model, optimizer, 1)


def _state(case: _Case) -> None:
    model, optimizer, held = case.held()
    for step in range(4):
        parameters = dict(model.named_parameters())
        for name, keep in held.masks.items():
            for key, value in optimizer.state[parameters[name]].items():
                shaped = isinstance(value, Tensor) and value.shape == keep.shape
                demand(not shaped or bool((value[~keep] == 0).all()), f"{key} of {name} is not 0 after {step} steps")
        _steps(model, optimizer, 1)


def _gradients(case: _Case) -> None:
    model, optimizer, held = case.held()
    optimizer.zero_grad()
    for _ in range(2):  # accumulated
        _backward(model)
        parameters = dict(model.named_parameters())
        for name, keep in held.masks.items():
            gradient = parameters[name].grad
            assert gradient is not None
            demand(bool((gradient[~keep] == 0).all()), f"the gradient of {name} is not masked")
            demand(bool((gradient[keep] != 0).any()), f"the gradient of {name} is lost")


def _not_a_number(case: _Case) -> None:
    """As a gradient that overflowed leaves it: of removed weights alone, put there by hand."""
    model, optimizer, held = case.held()
    for bad in (float("nan"), float("inf")):
        optimizer.zero_grad()
        _backward(model)
        with torch.no_grad():
            for name, keep in held.masks.items():
                gradient = model.get_parameter(name).grad
                assert gradient is not None
                gradient.masked_fill_(~keep, bad)
        optimizer.step()
        demand(all(bool((w == 0).all()) for w in _dead(model, held)), f"a gradient of {bad} is left in a pruned weight")
    _steps(model, optimizer, 1)
    demand(all(bool(p.isfinite().all()) for p in model.parameters()), "what the optimiser remembers is not finite")


def _moved(case: _Case) -> None:
    """In each of the ways by which weights are moved outside of an optimiser; read as the forward pass reads them."""
    model, _, held = case.held()
    dense = {name: value + 1 for name, value in model.state_dict().items()}
    ways: dict[str, Callable[[nn.Parameter], object]] = {
        "an operation in place": lambda p: p.detach().add_(1),
        ".data": lambda p: p.data.view(-1).fill_(float("nan")),
        "another .data": lambda p: setattr(p, "data", torch.ones_like(p)),
        "load_state_dict": lambda p: model.load_state_dict(dense),
        "load_state_dict, assigning": lambda p: model.load_state_dict(dense, assign=True),
    }
    for way, move in ways.items():
        for name in held.masks:
            move(model.get_parameter(name))
        _forward(model)
        demand(all(bool((w == 0).all()) for w in _dead(model, held)), f"pruned weights moved by {way} are not 0")
    arrays = [model.get_parameter(name).detach().numpy() for name in held.masks]
    for _ in range(2):  # the second time nobody asks for the memory any more
        for array in arrays:
            array.fill(3.0)
        _forward(model)
        demand(all(bool((w == 0).all()) for w in _dead(model, held)), "pruned weights moved through an array are not 0")


def _copied(case: _Case) -> None:
    model, optimizer, held = case.held()
    _steps(model, optimizer, 1)
    model, optimizer = copy.deepcopy((model, optimizer))
    for step in range(3):
        _steps(model, optimizer, 1)
        demand(
            all(bool((w == 0).all()) for w in _dead(model, held)), f"a copy's pruned weight is not 0 after {step + 1}"
        )
        with torch.no_grad():
            for name in held.masks:
                model.get_parameter(name).data.add_(1)
    _forward(model)
    demand(all(bool((w == 0).all()) for w in _dead(model, held)), "a copy's pruned weights that were moved are not 0")


def _no_trace(case: _Case) -> None:
    """Released in any order; a copy made meanwhile is free as well."""
    model = seeded_model()
    optimizer = case.make(model.parameters())
    before = _traces(model)
    first, second = case.hold(model, optimizer, _mask(model)), case.hold(model, optimizer, _mask(model, 1))
    twin = copy.deepcopy(model)
    _forward(twin)
    first.release()
    second.release()
    demand(_traces(model) == before, "hooks are left behind")
    for each in (model, twin):
        for name in first.masks:
            each.get_parameter(name).data.fill_(1)
        _forward(each)
        demand(all(bool((w == 1).all()) for w in _dead(each, first)), "weights are still held after release")
    demand(_traces(twin) == before, "hooks are left on a copy")


def _traces(model: nn.Module) -> list[int]:
    """How many hooks there are on modules and weights, of every kind that holding uses."""
    modules = [len(m._forward_pre_hooks) + len(m._load_state_dict_post_hooks) for m in model.modules()]
    weights = [len(p._post_accumulate_grad_hooks or ()) for p in model.parameters()]
    return [*modules, *weights]


def _learns(case: _Case) -> None:
    model, optimizer, held = case.held()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    _steps(model, optimizer, 3)
    moved = [(p != before[n])[held.masks[n]].any() for n, p in model.named_parameters() if n in held.masks]
    demand(bool(torch.stack(moved).all()), "kept weights did not move")


def _frozen(case: _Case) -> None:
    model = seeded_model()
    for p in model[0].parameters():
        p.requires_grad_(False)
    optimizer = case.make(p for p in model.parameters() if p.requires_grad)
    held = case.hold(model, optimizer, _mask(model))
    before = dict(model.named_parameters())["0.weight"].detach().clone()
    _steps(model, optimizer, 3)
    after = dict(model.named_parameters())["0.weight"]
    demand(torch.equal(before, after) and not after.requires_grad, "the frozen layer moved or thawed")
    demand(all(bool((w == 0).all()) for w in _dead(model, held)), "a pruned weight is not 0")


def _same_model(case: _Case) -> None:
    model, optimizer, held = case.held()
    _steps(model, optimizer, 1)
    twin = copy.deepcopy(model)
    demand(list(model.state_dict()) == list(seeded_model().state_dict()), "the state_dict has other names")
    demand(all(bool((w == 0).all()) for w in _dead(twin, held)), "a copy has lost the mask")
    fresh = seeded_model(1)
    fresh.load_state_dict(model.state_dict())
    demand(all(bool((w == 0).all()) for w in _dead(fresh, held)), "the state_dict has lost the mask")


def _second_round(case: _Case) -> None:
    model, optimizer, held = case.held()
    _steps(model, optimizer, 2)
    held.release()
    second = case.hold(model, optimizer, {n: k & _mask(model, 1)[n] for n, k in held.masks.items()})
    _steps(model, optimizer, 2)
    demand(all(bool((w == 0).all()) for w in _dead(model, second)), "the second mask does not hold")
    demand(all(bool((w == 0).all()) for w in _dead(model, held)), "the second mask let go of the first")


def _released(case: _Case) -> None:
    model, optimizer, held = case.held()
    held.release()
    _steps(model, optimizer, 4)
    demand(any(bool((w != 0).any()) for w in _dead(model, held)), "weights are still held after release")


def _looked_through(case: _Case) -> None:
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
