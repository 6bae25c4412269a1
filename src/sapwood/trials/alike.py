"""Alike: which runs can make a step together, and what has to stay as it is while they do.

Runs that can have the same key: the same kind of network on the same kind of batches, the same loss, the same rule of
optimisation. Learning rates, weight decays, masks, weights and samples may be each one's own. A run that cannot step
with others has a reason instead, in words.
"""

import copy
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import SGD, Adam, AdamW, Optimizer

from sapwood.masking.looking import Look
from sapwood.scoring.untouched import untouched
from sapwood.training.loop import descend
from sapwood.training.run import Run

RULES = (SGD, Adam, AdamW)
OWN = ("lr", "weight_decay")  # settings of an optimiser that may be each member's own
SHARED = ("momentum", "nesterov", "dampening", "betas", "eps", "amsgrad", "maximize")  # settings that all must have
LEFT_OUT = ("params", "initial_lr", "foreach", "fused", *OWN)
OFF = ("amsgrad", "maximize", "capturable", "differentiable", "dampening")  # what the steps together do not know
KNOWN = ("torch.nn.modules.", "sapwood.models.")  # whose modules keep nothing of a pass but buffers
INSIDE = frozenset(vars(nn.Module()))


class Key(NamedTuple):
    """What runs have in common that step together."""

    parts: tuple[Hashable, ...]


class Watch:
    """What a key was made of, so that each step can ask in no time whether it still holds."""

    def __init__(self, run: Run) -> None:
        self.run, self.model, self.optimizer = run, run.model, run.optimizer
        self.stands = self._standing()
        self.places = [
            (module._parameters, leaf, parameter)
            for module in run.model.modules()
            for leaf, parameter in module._parameters.items()
            if parameter is not None
        ]
        self.trained = [parameter.requires_grad for _, _, parameter in self.places]
        self.modules = list(run.model.modules())
        self.about = self._modules()
        self.observers = observers(run.model)
        self.found = likeness(run)

    def holds(self) -> bool:
        """Whether nothing has changed that a key depends on."""
        run = self.run
        return (
            run.model is self.model
            and run.optimizer is self.optimizer
            and self.stands == self._standing()
            and all(
                [  # a list, since every member asks in every step
                    owner.get(leaf) is parameter and parameter.requires_grad == trained
                    for (owner, leaf, parameter), trained in zip(self.places, self.trained, strict=True)
                ]
            )
            and self.about == self._modules()
        )

    def _standing(self) -> tuple[Any, ...]:
        run = self.run
        rule = [[*map(group.get, SHARED)] for group in run.optimizer.param_groups]
        return id(run.loss), id(run.task), run.dense, run.phase, rule

    def _modules(self) -> list[tuple[Any, ...]]:
        """Modes and hooks of all modules."""
        return [
            (m.training, *m._forward_hooks, None, *m._forward_pre_hooks, None, *m._backward_hooks) for m in self.modules
        ]


def likeness(run: Run) -> Key | str:
    """The key of a run; or why it cannot step with others."""
    for why in (*_against_the_task(run), *_against_hooks(run.model), *_against_modules(run), *_against_rule(run)):
        return why
    named = {id(p): name for name, p in run.model.named_parameters()}
    groups = [
        (tuple(named[id(p)] for p in group["params"]), *sorted(_shared(group).items()))
        for group in run.optimizer.param_groups
    ]
    tensors = [
        (name, tuple(t.shape), t.dtype, t.device, t.requires_grad)
        for name, t in (*run.model.named_parameters(), *run.model.named_buffers())
    ]
    structure = [(name, type(m), _settings(m)) for name, m in run.model.named_modules()]
    ways = (_plain(run.loss), _plain(run.task.forward))
    return Key((*ways, type(run.optimizer).__name__, *groups, *tensors, *structure))


def unlike(update: Callable[..., Any]) -> str:
    """Why an update cannot be made with others'; "" if it can."""
    if update is descend:
        return ""
    name = getattr(update, "__name__", None) or getattr(getattr(update, "func", None), "__name__", None)
    return f"its update is its own, {name or type(update).__name__}"


def observers(model: nn.Module) -> dict[str, list[tuple[nn.Module, Callable[..., Any], bool]]]:
    """The hooks that look at what modules read and give: {module: [(module, hook, with keywords)]}."""
    return {
        name: [(m, hook, key in m._forward_hooks_with_kwargs) for key, hook in m._forward_hooks.items()]
        for name, m in model.named_modules()
        if m._forward_hooks
    }


def _against_the_task(run: Run) -> Iterator[str]:
    if run.task.carry is not None:
        yield "its task carries a state from batch to batch"
    if run.loss is not run.task.loss:
        yield "its loss is its own"
    if run.dense:
        yield "its dense weights learn behind masks"


def _against_hooks(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            if not isinstance(hook, Look) or module is not model or hook.force.gradients:
                yield f"a hook looks before {name or 'the network'!r}"
        if any(not getattr(hook, "looks_only", False) for hook in module._forward_hooks.values()):
            yield f"a hook may change what {name or 'the network'!r} gives"
        if module._backward_hooks or module._backward_pre_hooks:
            yield f"a hook looks at gradients of {name or 'the network'!r}"
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            yield f"a hook looks at the gradient of {name!r}"


def _against_modules(run: Run) -> Iterator[str]:
    for name, module in run.model.named_modules():
        if isinstance(module, _DropoutNd) and module.p > 0:
            yield f"layer {name!r} drops numbers at random"
        if getattr(module, "sparse", False):
            yield f"gradients of {name!r} are sparse"
    if any(not t.is_floating_point() for t in run.model.parameters()):
        yield "its parameters are not all real numbers"
    known = all(type(m).__module__.startswith(KNOWN) for m in run.model.modules())
    if not known and (kept := _kept_by(run)):
        yield f"module {kept!r} keeps what it has seen"


def _kept_by(run: Run) -> str | None:
    """The name of a module in which a pass in training mode leaves something besides its buffers; None if none does."""
    network = copy.deepcopy(run.model)
    before = {name: _contents(module) for name, module in network.named_modules()}
    with untouched(network, training=True):
        run.task.forward(network, run.task.batch(run.seed, run.step))
    after = {name: _contents(module) for name, module in network.named_modules()}
    changed = [name or type(network).__name__ for name in before | after if before.get(name) != after.get(name)]
    return changed[0] if changed else None


def _contents(module: nn.Module) -> list[tuple[str, int, str]]:
    """What a module has beside parameters and buffers, so that a change shows."""
    own = {name: value for name, value in vars(module).items() if name not in INSIDE}
    plain = (int, float, str, bool, list, dict, set, type(None))
    return [(n, 0 if isinstance(v, plain) else id(v), repr(v) if isinstance(v, plain) else "") for n, v in own.items()]


def _against_rule(run: Run) -> Iterator[str]:
    rule: Optimizer = run.optimizer
    kind = type(rule).__name__
    if type(rule) not in RULES:
        yield f"its optimiser is {kind}"
        return
    if rule._optimizer_step_pre_hooks or rule._optimizer_step_post_hooks:
        yield f"hooks are on the steps of its {kind}"
    for group in rule.param_groups:
        if on := [name for name in OFF if group.get(name)]:
            yield f"its {kind} has {on[0]}={group[on[0]]!r}"
        if any(isinstance(value, Tensor) for name, value in group.items() if name != "params"):
            yield f"a setting of its {kind} is a tensor"
    mine = {id(p) for p in run.model.parameters() if p.requires_grad}
    theirs = [id(p) for group in rule.param_groups for p in group["params"]]
    if mine - set(theirs) or set(theirs) - {id(p) for p in run.model.parameters()}:
        yield f"its {kind} trains other parameters than the network's"


def _shared(group: dict[str, Any]) -> dict[str, Hashable]:
    return {name: _plain(value) for name, value in group.items() if name not in LEFT_OUT}


def _settings(module: nn.Module) -> tuple[Hashable, ...]:
    """Whatever else makes a module what it is: strides, rates, functions."""
    own = {name: value for name, value in vars(module).items() if name not in INSIDE or name == "training"}
    return tuple((name, _plain(value)) for name, value in own.items())


def _plain(value: Any) -> Hashable:
    """A value that equals another one only if both mean the same."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    if isinstance(value, (Tensor, nn.Module)) or not isinstance(value, Hashable):
        return (type(value).__name__, id(value))
    return value
