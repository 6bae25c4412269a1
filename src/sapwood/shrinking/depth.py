"""Depth: the branches of a network, summands that modules add to what passes them by, and the network without some.

y = x + f(x):  f is a branch. Without it y = x, and all that only f needed is gone.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from sapwood.ancestry import descended, note_smaller
from sapwood.called import checked
from sapwood.errors import InputError, unknown
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.equal import difference, inputs, most, raised_
from sapwood.shrinking.cutting.lent import Lent, lending
from sapwood.shrinking.cutting.wide import Narrow, in_widest, said
from sapwood.shrinking.skipped import Skips, skip_, skipped
from sapwood.shrinking.summands import Branch as Branch
from sapwood.shrinking.summands import Flow, Summand, summands
from sapwood.shrinking.tracing.anatomy import Anatomy, anatomy_of
from sapwood.shrinking.tracing.computed import own_, twin
from sapwood.shrinking.tracing.graph import Graph, named_tensors, written_out


@dataclass(frozen=True)
class Shorter:
    """A network without some of its branches, of the same class, which can be trained on."""

    model: nn.Module
    difference: float | None  # the largest relative difference seen; None: not checked
    proven: torch.dtype | None = None  # in which type


@checked()
def branches(model: nn.Module | Anatomy, example: Example | None = None) -> tuple[Branch, ...]:
    """The branches of a network, in the order in which they are added; the model is left as it was.

    Give a model and an example, or an `Anatomy` of both. The names go with `remove_branches`; whether a branch can be
    removed is known when it is tried.
    """
    return tuple(each.branch for each in _known(anatomy_of(model, example)).values())


@checked()
def remove_branches(
    model: nn.Module | Anatomy, gone: Iterable[str], *, example: Example | None = None, check: bool = True,
    reshaping: bool = False,
) -> Shorter:  # fmt: skip
    """A copy of the model without the branches named in `gone`: each counts as 0 where it was added.

    The modules that only these need are replaced by `Skipped`, which has no numbers, so that their parameters are gone.
    Equality in evaluation mode is proven before anything is returned: with the network in which 0 is added instead, on
    the example and on random inputs, with its weights and with noise on them, in float64 if its code lets it.
    InputError: a branch is unknown, or cannot be removed: it gives another shape than it reads, or the model's own code
    does not run without it. `reshaping`: where something else of that shape is added to it, as what a shortcut with a
    stride gives, it can be; then zeros are added that follow the sizes of what it reads, but for new numbers of them.
    """
    anatomy = anatomy_of(model, example)
    model, example, graph = anatomy.model, anatomy.example, anatomy.graph
    known, names = _known(anatomy), list(dict.fromkeys(gone))
    for name in names:
        if name not in known:
            raise unknown("branch", name, known)
        if not reshaping:
            _refuse_other_shape(known[name])
    going = [known[name] for name in names]
    modules = _skips(model, example, Flow(graph).modules([each.node for each in going]), names)
    modules |= {name: (*modules[name], *sizes) for name, sizes in ((s.branch.name, _sizes(s)) for s in going) if sizes}
    proven = _proven(model, graph, going, modules, example) if check and names else (None, None)
    small = skip_(twin(model), modules)
    own_(small, model)
    if check and names:
        _refuse_unless_it_runs(small, names, example)
    if names:
        note_smaller(small)
    return Shorter(descended(small, model), *proven)


def _known(anatomy: Anatomy) -> dict[str, Summand]:
    """The branches by name, without the ones that have been removed."""
    found = anatomy.once("summands", lambda: {each.branch.name: each for each in summands(anatomy.graph)})
    return {name: each for name, each in found.items() if name not in skipped(anatomy.model)}


def _refuse_other_shape(summand: Summand) -> None:
    shape, read = _shape(summand.node), [_shape(each) for each in summand.fed]
    if shape not in read:
        raise InputError(
            f"branch {summand.branch.name!r} cannot be removed: it reads {', '.join(map(str, read))} and gives "
            f"{shape}, so nothing of its shape would be left; remove units inside of it instead (sites)"
        )


def _sizes(summand: Summand) -> tuple[int, ...]:
    """Of zeros in its place, as `Skipped` takes them; none where what it reads has its shape."""
    given, fed = _shape(summand.node), [_shape(each) for each in summand.fed]
    if given in fed or len(fed) > 1 or len(fed[0]) != len(given):
        return ()
    steps = [-(-read // n) for n, read in zip(given, fed[0], strict=True)]
    return tuple(-s if -(-read // s) == n else n for s, n, read in zip(steps, given, fed[0], strict=True))


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ()))


def _refuse_unless_it_runs(small: nn.Module, names: Sequence[str], example: Example) -> None:
    """As it is used, in its own type and with whatever shortcuts torch takes, which the proof does without."""
    try:
        with untouched(small):
            call(small, deepcopy(as_tuple(example)))
    except Exception as error:  # the model's own code
        raise _not_without(names, error) from error


def _not_without(names: Sequence[str], error: Exception) -> InputError:
    every = ", ".join(map(repr, names))
    return InputError(f"{every} cannot be removed: the network does not run without: {said(error)}")


def _skips(model: nn.Module, example: Example, modules: Sequence[str], zero: Sequence[str]) -> dict[str, Any]:
    """For `skip_`: which modules give zeros, and which give tuples, as one pass shows."""
    parts = dict.fromkeys(modules, 0)

    def noting(name: str) -> Any:
        def hook(module: nn.Module, args: Any, y: Any) -> None:
            parts[name] = len(y) if isinstance(y, tuple) else 0

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(noting(name)) for name in modules]
    try:
        with untouched(model), written_out():
            call(model, deepcopy(as_tuple(example)))
    finally:
        for each in hooks:
            each.remove()
    return {name: (name in zero, parts[name]) for name in modules}


def _proven(
    model: nn.Module, graph: Graph, going: Sequence[Summand], modules: Skips, example: Example
) -> tuple[float, torch.dtype]:
    """The largest difference from the network in which 0 is added, and in which type; InputError if there is one."""
    names, nodes = [each.branch.name for each in going], [each.node for each in going]

    def seen(stirs: bool, dtype: torch.dtype, lent: Lent | None) -> float:
        whole = raised_(twin(model), dtype, lent, stirs=stirs)
        small = twin(whole)
        if lent is not None:
            lent.cut_(small, whole, {})
        pair = _Zeroed(graph, whole, nodes, lent), skip_(small, modules)
        found = difference(*pair, inputs(example, 1, dtype), dtype, lent=lent)
        if not found <= most(dtype):
            raise InputError(
                f"{', '.join(names)} cannot be removed: the outputs would differ by {found:.1e} from those without"
            )
        return found

    def equal(dtype: torch.dtype) -> float:
        try:
            return max(lending(model, dtype, partial(seen, stirs, dtype)) for stirs in (False, True))
        except (InputError, Narrow):
            raise
        except Exception as error:  # the model's own code, without what it may expect
            raise _not_without(names, error) from error

    return in_widest(model, equal)


class _Zeroed(nn.Module):
    """A network's graph, run with 0 in place of what some nodes give. It may write to what is not lent."""

    def __init__(self, graph: Graph, model: nn.Module, nodes: Sequence[fx.Node], lent: Lent | None) -> None:
        super().__init__()
        self.model, self.nodes, self.graph, self.lent = model, set(nodes), [graph], lent

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        (graph,), tensors = self.graph, dict(named_tensors(self.model))
        given = dict(zip(graph.inputs, pytree.tree_leaves((args, kwargs)), strict=True))
        held = graph.holding(tensors)
        own = {name: x if self.lent is not None and self.lent.of(x) else x.clone() for name, x in held.items()}
        wanted = [node.name for node in graph.module.graph.nodes if node.op == "placeholder"]
        return _Interpreter(graph.module, self.nodes).run(*((own | given)[name] for name in wanted))


class _Interpreter(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, nodes: set[fx.Node]) -> None:
        super().__init__(module)
        self.nodes = nodes

    def run_node(self, n: fx.Node) -> Any:
        y = super().run_node(n)
        return torch.zeros_like(y) if n in self.nodes else y
