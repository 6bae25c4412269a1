"""Graph: a model as the list of operators it runs, and the ids of units carried through them.

The graph is that of `torch.export` before decomposition, in evaluation mode: `linear`, `conv2d`, `batch_norm`, `chunk`
are still what the model's author wrote, and every operator knows its line in the model's code.
"""

import operator
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from sapwood.errors import InputError, first_line
from sapwood.measure.example import Example as Example
from sapwood.measure.example import arguments, learned, takes
from sapwood.measure.example import as_tuple as as_tuple
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.rules import rule_for
from sapwood.shrinking.rules.anew import Anew
from sapwood.shrinking.rules.call import pinned
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.union import START
from sapwood.shrinking.rules.values import CONSTANT, DATA, Weight, nobody
from sapwood.shrinking.tracing.batchless import without_batch
from sapwood.shrinking.tracing.calls import call_of as call_of
from sapwood.shrinking.tracing.calls import named as named
from sapwood.shrinking.tracing.calls import op_of as op_of
from sapwood.shrinking.tracing.calls import shapes_of
from sapwood.shrinking.tracing.exporting import quietly, refusal
from sapwood.shrinking.tracing.exporting import written_out as written_out
from sapwood.shrinking.tracing.lean import lean
from sapwood.shrinking.tracing.lines import culprit
from sapwood.shrinking.tracing.lines import line as line
from sapwood.shrinking.tracing.lines import of_torch as of_torch
from sapwood.shrinking.tracing.mode import seeing_the_mode_read
from sapwood.shrinking.tracing.packed import padded
from sapwood.shrinking.tracing.plain import with_sizes, without_regions
from sapwood.shrinking.tracing.suited import refuse_unsuited

HELD = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


@dataclass(frozen=True)
class Graph:
    """A model's operators in the order they run; `tensors` says which parameter or buffer a placeholder stands for."""

    module: fx.GraphModule
    tensors: Mapping[str, str]  # placeholder -> name of the tensor; of several names of one tensor, its first
    held: Mapping[str, Tensor]  # placeholder -> its tensor: parameters, buffers, constants
    inputs: tuple[str, ...]  # placeholders of the model's inputs, in order
    refused: dict[fx.Node, str] = field(default_factory=dict)  # operators whose rules have failed, and how
    by_mode: bool = False  # the model's own code looks at its mode
    training: "Graph | None" = None  # what training mode runs, where that is something else

    def nodes(self) -> Iterator[fx.Node]:
        """The operators, without placeholders and output."""
        return (node for node in self.module.graph.nodes if node.op == "call_function")

    @property
    def plain(self) -> bool:
        """Whether no operator runs a graph of its own, which torch compiles and must not see bare before."""
        return not any(isinstance(node.target, torch._ops.HigherOrderOperator) for node in self.nodes())

    def holding(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`held` with a model's parameters and buffers instead, {name: tensor}; constants stay."""
        return {at: tensors[self.tensors[at]] if at in self.tensors else own for at, own in self.held.items()}

    def placeholders(self, inputs: Example) -> list[Any]:
        """What the graph is called with: tensors and inputs in the order of its placeholders."""
        given: dict[str, Any] = dict(zip(self.inputs, pytree.tree_leaves(as_tuple(inputs)), strict=True))
        names = [node.name for node in self.module.graph.nodes if node.op == "placeholder"]
        return [given[name] if name in given else self.held[name] for name in names]


@dataclass(frozen=True)
class Traced:
    """The ids after the graph was run on them."""

    ties: Ties
    weights: dict[str, Weight]  # by tensor name
    values: dict[fx.Node, Any]  # the ids of every operator's outputs
    used: set[str] = field(default_factory=set)  # the tensors that some operator reads


def exported(model: nn.Module, example: Example, *, training: bool = False) -> Graph:
    """The model's graph for inputs of the example's shapes, in evaluation mode or as `training` runs it.

    Nothing about the model changes.
    """
    refuse_unsuited(model, example)
    args, kwargs = arguments(model, as_tuple(example))
    try:
        with (
            untouched(model, training=training),
            warnings.catch_warnings(),
            quietly(),
            written_out(),
            _holding_the_same(model),
            padded(),
            lean(),
            seeing_the_mode_read() as read,
        ):
            warnings.filterwarnings("ignore", message=r"The tensor attributes?.* during export")  # of LSTMs
            program = torch.export.export(model, args, kwargs, strict=False)
    except Exception as error:  # whatever stops it, the remedy is the same
        if learned(refuse_unanswered(model, as_tuple(example))):
            return exported(model, example, training=training)
        raise InputError(
            f"{type(model).__name__} cannot be exported for this example: {refusal(error)}; "
            "torch.export.export(model, example, strict=False) says more"
        ) from error
    graph = replace(_graph(model, program), by_mode=bool(read))
    with_sizes(graph.module, lambda interpreter: _run(interpreter, graph, model, example))
    return graph


def parting(graph: Graph, model: nn.Module, example: Example) -> str:
    """The line from which on a model runs other operators than a graph's; "" if there is none, or no graph of it."""
    with suppress(Exception):  # its weights may be lent, its sizes not what its code expects
        for one, other in zip_longest(graph.nodes(), exported(model, example).nodes()):
            if one is None or other is None or op_of(one) != op_of(other):
                return line(one or other)
    return ""


def refuse_unanswered(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Inputs and outputs; InputError if the model itself does not run: a better word on what cannot be exported."""
    args, kwargs = pytree.tree_map(_own, arguments(model, inputs))
    try:
        with untouched(model), warnings.catch_warnings(), quietly():
            warnings.simplefilter("ignore")
            return args, kwargs, model(*args, **kwargs)
    except Exception as error:
        named = [each for each in (*inputs, kwargs) if isinstance(each, Mapping) and each]
        keys = f"; the example has the keys {', '.join(map(repr, named[0]))}" if named else ""
        said = f"{first_line(error)}{culprit(error)}".removeprefix(f"{type(error).__name__}: ")
        raise InputError(
            f"{type(model).__name__} cannot be exported for this example, on which it does not run: "
            f"{type(error).__name__}: {said}{keys}; {takes(model)}{without_batch(model, inputs)}"
        ) from error


def _run(interpreter: fx.Interpreter, graph: Graph, model: nn.Module, example: Example) -> None:
    with untouched(model):
        interpreter.run(*(_own(value) for value in graph.placeholders(example)))


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


HELD_IN = (list, dict, OrderedDict)  # hooks too: a forward may register some and note in an attribute that it has


@contextmanager
def _holding_the_same(model: nn.Module) -> Iterator[None]:
    """Afterwards modules have the attributes they had: forward may set some, and torch puts copies in their place."""
    held = [(module, dict(vars(module))) for module in model.modules()]
    kept = [(value, value.copy()) for _, own in held for value in own.values() if type(value) in HELD_IN]
    try:
        yield
    finally:
        for module, own in held:
            vars(module).clear()
            vars(module).update(own)
        for value, content in kept:
            value.clear()
            (value.extend if isinstance(value, list) else value.update)(content)


def _graph(model: nn.Module, program: ExportedProgram) -> Graph:
    module = without_regions(program.graph_module)
    module.graph.eliminate_dead_code()  # what nobody uses, as weights of attention, couples nothing
    first: dict[int, str] = {}
    for name, tensor in named_tensors(model):
        first.setdefault(id(tensor), name)
    every = {name: first[id(tensor)] for name, tensor in named_tensors(model)}
    specs = program.graph_signature.input_specs
    held = {spec.arg.name: str(spec.target) for spec in specs if spec.kind in HELD}
    return Graph(
        module,
        {name: every[target] for name, target in held.items() if target in every},
        {name: program.state_dict.get(target, program.constants.get(target)) for name, target in held.items()},
        tuple(spec.arg.name for spec in specs if spec.kind is InputKind.USER_INPUT),
    )


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers under all of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def traced(graph: Graph, ties: Ties | None = None) -> Traced:
    """Run the graph on ids: afterwards the ties know who lives and dies together. Units met in training only stay tied.

    `Anew` is raised where a run that goes on from an earlier one can no longer do so.
    """
    ties = ties or Ties()
    ties.room(START + sum(sum(tensor.shape) for tensor in graph.held.values() if isinstance(tensor, Tensor)))
    while True:
        found = Traced(ties, {}, {})
        try:
            _run_on_ids(graph, found, graph.refused)
            if graph.training is not None:
                ties.training = True
                _run_on_ids(graph.training, found, graph.refused)
            return found
        except Anew:
            ties = ties.anew()


def _run_on_ids(graph: Graph, found: Traced, refused: dict[fx.Node, str]) -> None:
    ties, values = found.ties, found.values
    for node in graph.module.graph.nodes:
        if node.op == "placeholder":
            values[node] = _placeholder(ties, graph, found.weights, node)
            found.used.update({graph.tensors.get(node.name, "")} if node.users else {})
        elif node.op == "call_function":
            values[node] = _outcome(ties, refused, values, node)
        elif node.op == "output":
            _pin_all(ties, [values[part] for part in node.all_input_nodes], "it is the network's answer")
        else:
            values[node] = nobody(torch.Size(), which=CONSTANT)


def _placeholder(ties: Ties, graph: Graph, weights: dict[str, Weight], node: fx.Node) -> Any:
    shape = next(iter(shapes_of(node.meta.get("val"))), torch.Size())
    if node.name not in graph.tensors:
        return nobody(shape, which=DATA if node.name in graph.inputs else CONSTANT)
    name = graph.tensors[node.name]
    if name not in weights:
        weights[name] = _weight_of(ties, name, shape)
    return weights[name]


def _weight_of(ties: Ties, name: str, shape: torch.Size) -> Weight:
    """A parameter with new ids for each of its dimensions; one without numbers has no units."""
    if shape.numel() == 0:
        return Weight(name, tuple(nobody(shape) for _ in shape))
    places = [(dim, [-1 if d == dim else 1 for d in range(len(shape))]) for dim in range(len(shape))]
    return Weight(name, tuple(ties.fresh(shape[dim]).view(view).expand(shape) for dim, view in places))


def _outcome(ties: Ties, refused: dict[fx.Node, str], values: Mapping[fx.Node, Any], node: fx.Node) -> Any:
    """An operator's outputs. One whose rule fails is pinned, whatever the failure: that costs units, never equality."""
    known = node.meta.get("val")
    if node.target is operator.getitem:
        whole, at = node.args
        return values[whole][at]  # type: ignore[index]
    if isinstance(known, int | float) and _is_of_sizes(node):
        return known
    call = call_of(values, node)
    ties.operator = call.name
    if node in refused:
        found = pinned(ties, call, f"is more than its rule can follow: {refused[node]}")
    else:
        try:
            found = rule_for(call)(ties, call)
            _refuse_other_shapes(found, call.shapes)
        except Exception as error:  # a rule may take more for granted than the operator does
            refused[node] = first_line(error)
            raise Anew from error
    if isinstance(known, int | float):
        return known
    return (found,) if isinstance(known, list | tuple) and not isinstance(found, list | tuple) else found


def _is_of_sizes(node: fx.Node) -> bool:
    """Whether an operator reads sizes, or numbers made of them; what a tensor holds is something else."""
    return not isinstance(node.target, torch._ops.OpOverload) or op_of(node).startswith("sym_")


def _refuse_other_shapes(found: Any, shapes: tuple[torch.Size, ...]) -> None:
    given = tuple(part.shape for part in (found if isinstance(found, list | tuple) else [found]))
    if shapes and given != shapes:
        raise ValueError(f"it gives ids of shapes {[*map(tuple, given)]}, not {[*map(tuple, shapes)]}")


def _pin_all(ties: Ties, values: list[Any], because: str) -> None:
    leaf = lambda value: isinstance(value, Weight)  # noqa: E731
    for value in pytree.tree_leaves(values, is_leaf=leaf):
        for ids in value.layers if isinstance(value, Weight) else (value,):
            ties.pin(ids, because)
