"""Looking before forward passes: hooks on a model, its layers and all modules in between, and on whatever is copied.

A weight may be read by its own layer, or by any module above it (`F.linear(x, self.layer.weight)`), so each of them
looks. A copy of the model, or of a part of it, has the same masks on its own weights as long as these are in force.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import ref

import torch
from torch import nn
from torch.compiler import is_compiling
from torch.utils.hooks import RemovableHandle

from sapwood.errors import InputError
from sapwood.masking import launched
from sapwood.masking.named import Masked, Place
from sapwood.masking.removed import Removed
from sapwood.masking.seal import unbroken

Way = tuple[tuple[str, ...], str, Removed]  # from a module to the owner of a weight, the weight's name there


class Force:
    """What all that one call of `hold` has set up shares: whether it is in force, and which weights it is about."""

    def __init__(self, gradients: bool) -> None:
        self.on, self.gradients = True, gradients
        self.known: dict[int, ref[Removed]] = {}  # by the weight's id; those of copies too, as long as there are any
        self.proven: set[int] = set()  # ids of optimisers whose step in progress leaves all weights at 0

    def alive(self) -> list[Removed]:
        """All masked weights, those of copies too."""
        known = self.known.items()
        return [each for key, one in known if (each := one()) is not None and id(each.weight) == key]

    def of(self, optimizer: Any) -> list[Removed]:
        """The masked weights that an optimiser has."""
        known, found = self.known, []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) in known:
                    removed = known[id(parameter)]()
                    if removed is not None and removed.weight is parameter:
                        found.append(removed)
        return found

    def end(self) -> None:
        """In force no longer, here and in all copies."""
        self.on = False
        for removed in [known() for known in self.known.values()]:
            if removed is not None:
                removed.let_go()


class Look:
    """A hook of one module: before its forward pass, and after values were loaded into it."""

    def __init__(self, ways: list[Way], force: Force, twins: dict[int, Removed] | None = None) -> None:
        self.ways, self.force = ways, force
        self._twins = twins  # of a copy that has not run yet: the original's id -> the copy's, shared by its hooks

    def __call__(self, module: nn.Module, _: Any) -> None:
        if not self.force.on:
            _vanish(module, self)
            return
        if is_compiling():
            self._in_graph(module)
            return
        if self._twins is not None:
            self._bind(module, self._twins)
        late: list[launched.Written] = []
        for path, leaf, removed in self.ways:
            owner = module if not path else _reached(module, path)
            weight = owner._parameters.get(leaf)
            if weight is not removed.weight:
                _refuse_replicas(module)
                removed.found(owner, weight)
            if not removed.sealable or launched.suits(removed.weight):
                late += removed.written({})
            elif not unbroken(removed.weight, removed.sealed):
                removed.clear()
        if late:
            launched.clear(late)

    def _in_graph(self, module: nn.Module) -> None:
        """The same while a compiler is looking on, in operations it understands; an export takes values as they are."""
        if torch.compiler.is_exporting():
            return
        with torch.no_grad():
            for path, leaf, removed in self.ways:
                if removed.sealable:  # FSDP2 keeps its gathering out of graphs, and the parts are cleared after steps
                    _reached(module, path).get_parameter(leaf).masked_fill_(removed.keep.logical_not(), 0)

    def _bind(self, module: nn.Module, twins: dict[int, Removed]) -> None:
        """In a copy: masks that fit its weights are on these. A copy that was made smaller has no others."""
        ways = []
        for path, leaf, original in self.ways:
            owner = _reached(module, path)
            weight = owner._parameters.get(leaf)
            if weight is None or weight.shape != original.keep.shape:
                continue
            if id(original) not in twins:
                keep = original.keep.to(weight.device)
                copy = Masked((original.name,), keep, weight, (Place(path, owner, leaf),))
                twins[id(original)] = Removed(copy, original.gradients, self.force.known)
            ways.append((path, leaf, twins[id(original)]))
        self.ways, self._twins = ways, None

    def __deepcopy__(self, memo: dict[Any, Any]) -> "Look":
        twins = memo.setdefault(("sapwood", id(self.force)), {})
        twin = memo[id(self)] = Look(list(self.ways), self.force, twins)
        return twin

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        if self.force.on:
            raise InputError(
                "a model whose masks are held cannot be pickled: they would not be held where it is unpickled; "
                "save its state_dict(), or release the masks first"
            )
        return _inert, ()


def nothing(module: nn.Module, _: Any) -> None:
    """In place of a hook that is not in force: it goes when it is called."""
    _vanish(module, nothing)


def _inert() -> Any:
    """What a hook that is in force no longer is pickled as."""
    return nothing


def free(model: nn.Module) -> dict[int, Any]:
    """For `deepcopy`: a copy in which no mask is held."""
    return {
        id(hook): nothing for module in model.modules() for hook in _hooks(module).values() if isinstance(hook, Look)
    }


def look_before(
    model: nn.Module, weights: Iterable[Removed], force: Force, *, parts: bool = True
) -> list[RemovableHandle]:
    """Hooks on every module from the model down to the owners of the weights.

    parts=False looks before a forward pass of the whole model only: parts that are called alone do not look.
    """
    ways: dict[int, list[Way]] = {}
    modules: dict[int, nn.Module] = {}
    for removed in weights:
        for place in removed.places:
            for depth, module in enumerate(_down(model, place.path)):
                modules[id(module)] = module
                ways.setdefault(id(module), []).append((place.path[depth:], place.leaf, removed))
    handles = []
    for key, module in modules.items():
        look = Look(ways[key], force)
        if parts or module is model:
            handles.append(module.register_forward_pre_hook(look, prepend=True))
        handles.append(module.register_load_state_dict_post_hook(look))  # type: ignore[no-untyped-call]
    return handles


def _down(model: nn.Module, path: tuple[str, ...]) -> Iterator[nn.Module]:
    yield model
    for name in path:
        model = model.get_submodule(name)
        yield model


def _reached(module: nn.Module, path: tuple[str, ...]) -> nn.Module:
    try:
        for name in path:
            module = module._modules[name]  # type: ignore[assignment]
    except (KeyError, AttributeError):  # gone, or None
        raise _gone(name) from None
    if module is None:
        raise _gone(name)
    return module


def _gone(name: str) -> InputError:
    return InputError(f"layer {name!r} is not there any more; release its mask before the network is changed")


def _refuse_replicas(module: nn.Module) -> None:
    if "_is_replica" in module.__dict__:
        raise InputError("masks are not held in the replicas of nn.DataParallel; use DistributedDataParallel")


def _hooks(module: nn.Module) -> dict[int, Any]:
    return {**module._forward_pre_hooks, **module._load_state_dict_post_hooks}


def _vanish(module: nn.Module, hook: Any) -> None:
    for hooks in (module._forward_pre_hooks, module._load_state_dict_post_hooks):
        for key in [key for key, value in hooks.items() if value is hook]:
            del hooks[key]
