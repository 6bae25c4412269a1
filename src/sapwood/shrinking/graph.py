"""Graph: a model as the list of operators it runs, and the ids of units carried through them.

The graph is that of `torch.export` before decomposition, in evaluation mode: `linear`, `conv2d`, `batch_norm`, `chunk`
are still what the model's author wrote, and every operator knows its line in the model's code.
"""

import operator
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.untouched import untouched
from sapwood.shrinking.rules import rule_for
from sapwood.shrinking.rules.call import Call
from sapwood.shrinking.rules.ids import CONSTANT, DATA, Ties, Weight, nobody, weight_of

Example = Tensor | tuple[Any, ...]  # what the model is called with
HELD = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
TORCH = str(Path(torch.__file__).parent)
LINE = re.compile(r'File "([^"]+)", line (\d+)')


@dataclass(frozen=True)
class Graph:
    """A model's operators in the order they run; `tensors` says which parameter or buffer a placeholder stands for."""

    module: fx.GraphModule
    tensors: Mapping[str, str]  # placeholder -> name of the tensor; of several names of one tensor, its first
    held: Mapping[str, Tensor]  # placeholder -> its tensor: parameters, buffers, constants
    inputs: tuple[str, ...]  # placeholders of the model's inputs, in order

    def nodes(self) -> Iterator[fx.Node]:
        """The operators, without placeholders and output."""
        return (node for node in self.module.graph.nodes if node.op == "call_function")

    def placeholders(self, inputs: Example) -> list[Any]:
        """What the graph is called with: tensors and inputs in the order of its placeholders."""
        given: dict[str, Any] = dict(zip(self.inputs, pytree.tree_leaves(as_tuple(inputs)), strict=True))
        names = [node.name for node in self.module.graph.nodes if node.op == "placeholder"]
        return [given[name] if name in given else self.held[name] for name in names]


@dataclass(frozen=True)
class Traced:
    """The ids after the graph was run on them."""

    ties: Ties
    weights: Mapping[str, Weight]  # by tensor name
    values: Mapping[fx.Node, Any]  # the ids of every operator's outputs


def as_tuple(example: Example) -> tuple[Any, ...]:
    """The arguments a model is called with."""
    return example if isinstance(example, tuple) else (example,)


def exported(model: nn.Module, example: Example) -> Graph:
    """The model's graph for inputs of the example's shapes. Nothing about the model changes."""
    try:
        with untouched(model), warnings.catch_warnings(), written_out():
            warnings.filterwarnings("ignore", message=r"The tensor attributes?.* during export")  # of LSTMs
            program = torch.export.export(model, as_tuple(example), strict=False)
    except Exception as error:  # whatever stops it, the remedy is the same
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{type(model).__name__} cannot be exported for this example: {line}; "
            "torch.export.export(model, example, strict=False) says more"
        ) from error
    return _graph(model, program)


@contextmanager
def written_out() -> Iterator[None]:
    """Attention as the operators it consists of, not as torch's one operator for whole layers in evaluation."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _graph(model: nn.Module, program: ExportedProgram) -> Graph:
    program.graph_module.graph.eliminate_dead_code()  # what nobody uses, as weights of attention, couples nothing
    first: dict[int, str] = {}
    for name, tensor in named_tensors(model):
        first.setdefault(id(tensor), name)
    every = {name: first[id(tensor)] for name, tensor in named_tensors(model)}
    specs = program.graph_signature.input_specs
    held = {spec.arg.name: str(spec.target) for spec in specs if spec.kind in HELD}
    return Graph(
        program.graph_module,
        {name: every[target] for name, target in held.items() if target in every},
        {name: program.state_dict.get(target, program.constants.get(target)) for name, target in held.items()},
        tuple(spec.arg.name for spec in specs if spec.kind is InputKind.USER_INPUT),
    )


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers under all of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def traced(graph: Graph, ties: Ties | None = None) -> Traced:
    """Run the graph on ids: afterwards the ties know who lives and dies together."""
    ties = ties or Ties()
    values: dict[fx.Node, Any] = {}
    weights: dict[str, Weight] = {}
    for node in graph.module.graph.nodes:
        if node.op == "placeholder":
            values[node] = _placeholder(ties, graph, weights, node)
        elif node.op == "call_function":
            values[node] = _outcome(ties, values, node)
        elif node.op == "output":
            _pin_all(ties, [values[part] for part in node.all_input_nodes], "it is the network's answer")
        else:
            values[node] = nobody(torch.Size(), which=CONSTANT)
    return Traced(ties, weights, values)


def _placeholder(ties: Ties, graph: Graph, weights: dict[str, Weight], node: fx.Node) -> Any:
    shape = next(iter(_shapes(node.meta.get("val"))), torch.Size())
    if node.name not in graph.tensors:
        return nobody(shape, which=DATA if node.name in graph.inputs else CONSTANT)
    name = graph.tensors[node.name]
    if name not in weights:
        weights[name] = weight_of(ties, name, shape)
    return weights[name]


def _outcome(ties: Ties, values: Mapping[fx.Node, Any], node: fx.Node) -> Any:
    if node.target is operator.getitem:
        whole, at = node.args
        return values[whole][at]  # type: ignore[index]
    call = call_of(values, node)
    ties.operator = call.name
    return rule_for(call)(ties, call)


def call_of(values: Mapping[fx.Node, Any], node: fx.Node) -> Call:
    """The operator at a node, its arguments under the names of its signature."""
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda part: values[part])
    if not isinstance(node.target, torch._ops.OpOverload):
        parts = pytree.tree_leaves((args, kwargs), is_leaf=lambda part: isinstance(part, Weight))
        return Call(str(node.target), line(node), None, {"arguments": parts}, _shapes(node.meta.get("val")))
    return Call(op_of(node), line(node), node.target, named(node, args, kwargs), _shapes(node.meta.get("val")))


def op_of(node: fx.Node) -> str:
    """The operator's name: conv2d, add (also for add_)."""
    schema = getattr(node.target, "_schema", None)
    return str(node.target) if schema is None else str(schema.name.rpartition("::")[2].rstrip("_"))


def named(node: fx.Node, args: Any, kwargs: Any) -> dict[str, Any]:
    """An operator's arguments under the names of its signature, defaults filled in."""
    signature = node.target._schema.arguments  # type: ignore[union-attr]
    values = dict(zip((argument.name for argument in signature), args, strict=False)) | dict(kwargs)
    return {argument.name: values.get(argument.name, argument.default_value) for argument in signature}


def _shapes(value: Any) -> tuple[torch.Size, ...]:
    return tuple(part.shape for part in pytree.tree_leaves(value) if isinstance(part, Tensor))


def _pin_all(ties: Ties, values: list[Any], because: str) -> None:
    leaf = lambda value: isinstance(value, Weight)  # noqa: E731
    for value in pytree.tree_leaves(values, is_leaf=leaf):
        for ids in value.layers if isinstance(value, Weight) else (value,):
            ties.pin(ids, because)


def line(node: fx.Node) -> str:
    """Where in the model's code an operator stands: "net.py:12", or the module where all code there is torch's."""
    found = [f"{file}:{at}" for file, at in LINE.findall(node.meta.get("stack_trace") or "") if not of_torch(file)]
    modules = [name for name, _ in (node.meta.get("nn_module_stack") or {}).values() if name]
    return found[-1] if found else f"in module {modules[-1]!r}" if modules else "its line is not known"


def of_torch(file: str) -> bool:
    """Whether a file is part of torch."""
    return file.startswith(TORCH)
