"""Observing: sums over samples of what layers see, by hooks that leave no trace."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.scoring import batches as batching
from sapwood.scoring.evidence import Adds, Evidence, Sight, Statistic, Sums, settled, touched
from sapwood.scoring.gradients import along, differentiable, refuse_unused
from sapwood.scoring.layers import Weight, uses, weights
from sapwood.scoring.modes import eagerly, evaluating

Hook = Callable[..., Any]
Call = tuple[nn.Module, Tensor, Tensor]  # a layer, what it read, what it gave
Calls = dict[str, list[Call]]
Wanted = dict[str, list[Tensor]]  # what each layer gave, call after call; taken from the front when it is looked at
_pass = torch._C._current_graph_task_id  # -1 unless we are inside of a backward pass, which computes things again
_wrapped = torch._C._functorch.is_functorch_wrapped_tensor


@checked()
@contextmanager
def observing(
    model: nn.Module,
    *statistics: Statistic,
    only: Iterable[str] | None = None,
    training: bool | None = None,
    into: Evidence | None = None,
    wanted: Wanted | None = None,
) -> Iterator[Evidence]:
    """Evidence, {layer: {statistic: sum}}, added up over every forward pass inside the block; no hook is left behind.

    `training=True` counts only passes in training mode, so that evaluating inside the block is not seen. What
    activation checkpointing computes twice counts once. Compiled models run uncompiled inside the block, since compiled
    ones call no hooks. A layer that never runs is an error at the end, unless the sums go `into` evidence you hold.
    `wanted` is what `recording` noted of the original network's passes, one for each pass in here.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> with observing(net, statistics.count, only=["0"]) as seen:
    ...     for _ in range(5):
    ...         _ = net(torch.rand(8, 2))
    >>> seen["0"]["count"]
    tensor(40)
    """
    for statistic in statistics:
        if _refuse_stranger(statistic).backward:
            raise InputError(f"statistic {str(statistic)!r} looks at gradients; use observe(..., loss=...)")
    evidence: Evidence = {} if into is None else into
    watched, ran = weights(model, only), set[str]()
    hooks = _hooked(model, watched, lambda name, mine: _adding(name, mine, statistics, evidence, training, ran, wanted))
    try:
        with eagerly():
            yield evidence
        if into is None:
            _refuse_unseen(watched, ran, "inside observing(...)")
    finally:
        _remove(hooks)
        evidence.update(settled(evidence))


@checked(batches="a list of batches, or a DataLoader")
def observe(
    model: nn.Module,
    batches: Iterable[Any],
    *statistics: Statistic,
    loss: Callable[[Any, Any], Tensor] | None = None,
    only: Iterable[str] | None = None,
    wanted: nn.Module | None = None,
) -> Evidence:
    """Statistics over `batches`, in evaluation mode; the model is left as it was.

    Batches are what a DataLoader gives, moved to the model's device: `Batch(inputs, targets)`; a tensor; a tuple or
    list, whose last part is the target unless forward needs all of them; or a dict of forward's keywords, others left
    out. Backward statistics need `loss(outputs, batch)`, the *sum* of losses over the batch as it was given; gradients
    are not accumulated, and frozen layers have theirs like any other. A layer that is never seen is an error.
    `wanted` is the original network, from which `model` was pruned: it runs on the same batches, and statistics may
    look at what its layers give (`Sight.wanted_NO`).

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> net[0].weight.data, net[0].bias.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.zeros(2)
    >>> seen = observe(net, [torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])], statistics.active)
    >>> seen["0"]["active"]  # how many of the three samples each neuron fires for
    tensor([2, 1])
    """
    backward = any([_refuse_stranger(statistic).backward for statistic in statistics])
    if backward and loss is None:
        raise InputError("a statistic looks at gradients; give observe() a loss")
    evidence: Evidence = {}
    watched, ran = weights(model, only), set[str]()
    look = not statistics or not all(statistic.of_weight for statistic in statistics)
    gave: Wanted = {}
    with evaluating(model), evaluating(wanted or model), eagerly():
        for batch, arguments in batching.each(model, batches, "observe()"):
            if wanted is not None:
                gave.clear()
                with recording(wanted, [weight.name for weight in watched], into=gave), torch.no_grad():
                    arguments.call(wanted)
            if backward and loss is not None:
                for name, sight in _looking_back(model, watched, (arguments, batch), loss, ran if look else None):
                    sight.wanted = _next(gave, name)
                    _add(evidence, name, statistics, sight)
                continue
            hooks = _hooked(
                model, watched, lambda name, mine: _adding(name, mine, statistics, evidence, None, ran, gave)
            )
            try:
                with torch.no_grad():
                    arguments.call(model)
            finally:
                _remove(hooks)
    if look:
        _refuse_unseen(watched, ran, "in any batch")
    refuse_unused([each.name for each in watched if each.name not in evidence])
    return settled(evidence)


@contextmanager
def recording(model: nn.Module, only: Iterable[str] | None, *, into: Wanted | None = None) -> Iterator[Wanted]:
    """Notes what the layers give in every pass inside the block, {layer: outputs, call after call}."""
    gave: Wanted = {} if into is None else into

    def noting(name: str, mine: nn.Module) -> Hook:
        return lambda layer, inputs, kwargs, y: gave.setdefault(name, []).append(y.detach().clone())  # may be reused

    hooks = _hooked(model, weights(model, only), noting)
    try:
        with eagerly():
            yield gave
    finally:
        _remove(hooks)


def _next(wanted: Wanted | None, name: str) -> Tensor | None:
    if not wanted or name not in wanted:
        return None
    if not wanted[name]:
        raise InputError(f"layer {name!r} ran more often than in the original network; it must run on the same batches")
    return wanted[name].pop(0)


def _refuse_stranger(statistic: object) -> Statistic:
    if not isinstance(statistic, Statistic):
        raise InputError(f"{statistic!r} is not a statistic; give Statistics one by one, as in *criterion.needs")
    return statistic


def _hooked(
    model: nn.Module, watched: Sequence[Weight], make: Callable[[str, nn.Module], Hook]
) -> list[RemovableHandle]:
    """Hooks on the calls of all layers that multiply with a weight, before others' hooks, which may change outputs."""
    attention = {f"{n}.out_proj" for n, m in model.named_modules() if type(m).forward is nn.MultiheadAttention.forward}
    for weight in watched:
        if not weight.layers:
            raise InputError(
                f"{weight.name!r} is a parameter of no Linear or Conv layer; only its gradient can be seen"
            )
        if weight.name in attention:
            raise InputError(
                f"layer {weight.name!r} is never called: nn.MultiheadAttention reads its weight by itself, so that "
                "only its gradient can be seen; leave it out, naming the others with only=[...]"
            )
    pairs = [(layer, weight.name) for weight in watched for layer in uses(weight)]
    return [layer.register_forward_hook(make(name, layer), prepend=True, with_kwargs=True) for layer, name in pairs]


def _looking_back(
    model: nn.Module,
    watched: Sequence[Weight],
    given: tuple[batching.Arguments, Any],
    loss: Callable[[Any, Any], Tensor],
    ran: set[str] | None,
) -> Iterator[tuple[str, Sight]]:
    """What each call of a layer showed in one batch, with the gradients of its outputs; the first with its weight's.

    Without `ran`, calls are not looked at: only weights' gradients.
    """
    calls: Calls = {weight.name: [] for weight in watched}
    with differentiable(model, watched) as used:
        hooks = _hooked(model, watched, lambda name, mine: _noting(name, mine, calls, ran)) if ran is not None else []
        try:
            outputs = given[0].call(model)
        finally:
            _remove(hooks)
        made = [y for each in calls.values() for _, _, y in each if y.requires_grad]
        slopes, of_outputs = along(loss(outputs, given[1]), used, made)
    gradients = {id(y): gradient for y, gradient in zip(made, of_outputs, strict=True)}
    for weight in watched:
        gw = slopes[weight.name]
        why = f"layer {weight.name!r} shows no such thing: it ran without gradients, or the loss does not depend on it"
        for layer, x, y in calls[weight.name]:
            yield weight.name, Sight(layer, x, y, gradients.get(id(y)), gw, why)
            gw = None if gw is None else torch.zeros_like(gw)
        if ran is None and gw is not None:
            yield weight.name, Sight(weight.layer, None, None, None, gw, why)


def _noting(name: str, mine: nn.Module, calls: Calls, ran: set[str]) -> Hook:
    """Keeps what a layer read and gave. The pass goes on with a copy, which may be overwritten."""

    def hook(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], y: Tensor) -> Tensor:
        x = args[0] if args else next(iter(kwargs.values()))
        if _pass() == -1 and _is(mine, layer, name):
            _refuse_unreadable(name, y)
            ran.add(name)
            # Others may write on the input, too; saved for its own backward pass it is already safe from that.
            calls[name].append((layer, x.detach().clone(), y))
        return y.clone()

    return hook


def _adding(
    name: str,
    mine: nn.Module,
    statistics: Sequence[Statistic],
    evidence: Evidence,
    training: bool | None,
    ran: set[str],
    wanted: Wanted | None = None,
) -> Hook:
    # Called in every step of training: what happens once only is asked once only.
    def hook(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], y: Tensor) -> None:
        if _pass() != -1 or (layer is not mine and not _is(mine, layer, name)):
            return
        if name not in ran:
            _refuse_unreadable(name, y)
            if y.numel():
                ran.add(name)
        if training is None or layer.training == training:
            sight = Sight(layer, args[0] if args else next(iter(kwargs.values())), y)
            if wanted:
                sight.wanted = _next(wanted, name)
            if y.requires_grad or not torch.is_inference_mode_enabled():
                _add(evidence, name, statistics, sight)
            else:
                with torch.inference_mode(False):
                    _add(evidence, name, statistics, sight)

    hook._torchdynamo_disable = True  # type: ignore[attr-defined]  # what is compiled inside the block calls it, too
    hook.looks_only = True  # type: ignore[attr-defined]  # it may be called after the pass, with what it would have seen
    if wanted is None:
        hook.adds = Adds(name, tuple(statistics), evidence, training)  # type: ignore[attr-defined]
    return hook


def _add(evidence: Evidence, name: str, statistics: Sequence[Statistic], sight: Sight) -> None:
    sums = evidence.get(name)
    if not isinstance(sums, Sums):
        sums = evidence[name] = Sums(sums or {})
    touched(evidence, name, sums)
    for statistic in statistics:
        sums.see(statistic, sight)


def _is(mine: nn.Module, layer: nn.Module, name: str) -> bool:
    """Whether a layer that calls a hook is the one it was set on: copies of layers have hooks copied, too."""
    if "_is_replica" in layer.__dict__:
        raise InputError(
            f"layer {name!r} ran as one of DataParallel's copies; observe the module inside, on one device"
        )
    return layer is mine


def _refuse_unreadable(name: str, y: object) -> None:
    if not isinstance(y, Tensor) or y.is_nested:
        kind = "nested tensor" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(f"layer {name!r} gave a {kind}; only layers that give one tensor can be observed")
    if _wrapped(y):
        raise InputError(f"layer {name!r} ran inside of torch.func's vmap or grad; observe a pass of the model itself")


def _refuse_unseen(watched: Sequence[Weight], ran: set[str], where: str) -> None:
    unseen = [weight.name for weight in watched if weight.name not in ran]
    if unseen and not ran:
        raise InputError(
            f"no layer was seen to run {where}: the model was not called, or a compiled, traced or copied one was, or "
            "layer.forward(x), which calls no hooks; observe what is called, as layer(x)"
        )
    if unseen:
        raise InputError(
            f"layer {', '.join(map(repr, unseen))} saw nothing {where}: never used, its weight read by another module, "
            "or called as layer.forward(x), which calls no hooks; leave it out, naming the others with only=[...]"
        )


def _remove(hooks: Iterable[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
