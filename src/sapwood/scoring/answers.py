"""Answers: which layers give a network's answer, as opposed to those that only feed other layers.

An answer layer is one from whose output to the network's output a way leads that meets no other weight. With an example
the network is run once and autograd's graph is walked back; without one its forward is traced by torch.fx, module by
module from the output on, which works where no decision depends on numbers. Where neither says, nothing is guessed.
"""

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.scoring import batches
from sapwood.scoring.gradients import tensors, thawed
from sapwood.scoring.layers import Weight, every_weight
from sapwood.scoring.modes import eagerly, evaluating

SIZES = {"size", "dim", "numel", "new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like"}
PRODUCTS = ("mm", "linear", "conv", "einsum", "matmul", "bilinear", "embedding", "mv", "dot", "lstm", "rnn", "gru")
BESIDE = ("hidden_state", "hidden_states", "attentions", "past_key_values", "model_output")
ELEMENTWISE = (nn.LayerNorm, nn.RMSNorm, nn.PReLU)  # whose weights may be of several dimensions and multiply one by one


@checked()
def hidden(model: nn.Module, example: Any = None) -> list[str]:
    """All prunable layers but those that give the network's answer, in evaluation mode.

    example: what the model is called with, a tensor, a tuple of arguments or a dict of keywords. It is needed where the
    way from the layers to the answer cannot be read off the code: that is an error, never a guess. Hidden states and
    attentions that come out beside an answer, in a dict as transformers give, are no answers.

    >>> hidden(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)))
    ['0', '2']
    """
    every = every_weight(model)
    kind = type(batches.inner(model)).__name__
    if len(every) == 1:
        raise InputError(f"{kind} has one prunable layer only, its output; name the layers with only=")
    found = _Found({id(layer): weight.name for weight in every for layer in weight.layers},
                   {id(weight.tensor): weight.name for weight in every})  # fmt: skip
    if example is None:
        found.trace(model)
    else:
        found.run(model, every, example)
    names = [weight.name for weight in every if weight.name not in found.answers | found.idle]
    if not names:
        raise InputError(f"every prunable layer of {kind} gives a part of its answer; name the layers with only=")
    return names


@dataclass
class _Found:
    """What is known of the layers, whose names go by the ids of their modules and weights."""

    modules: dict[int, str]
    weights: dict[int, str]
    answers: set[str] = field(default_factory=set)
    idle: set[str] = field(default_factory=set)  # never used

    def trace(self, module: nn.Module) -> bool:
        """Find the answers in a module that gives the answer; whether a way leads right through it to its inputs."""
        module = batches.inner(module)
        if id(module) in self.modules:
            self.answers.add(self.modules[id(module)])
            return False
        if not any(id(each) in self.modules for each in module.modules()):
            return isinstance(module, ELEMENTWISE) or all(p.dim() < 2 for p in module.parameters())
        if "forward" in vars(module):
            raise _unknown(module, "its forward was replaced")
        if type(module).forward is nn.Sequential.forward:
            return all(self.trace(child) for child in reversed(list(module.children())))
        if isinstance(module, nn.MultiheadAttention):
            self.answers.add(self.modules[id(module.out_proj)])
            return False
        return self._trace_forward(module)

    def _trace_forward(self, module: nn.Module) -> bool:
        graph = _traced(module)
        _refuse_overwritten(module, graph)
        called = {id(module.get_submodule(n.target)) for n in graph.nodes if n.op == "call_module"}
        read = {id(_attribute(module, n)) for n in graph.nodes if n.op == "get_attr"}
        self.idle |= set(self._idle(module, called, read))
        through, done = False, set[fx.Node]()
        todo = [node for node in graph.nodes if node.op == "output"]
        while todo:
            node = todo.pop()
            if node in done:
                continue
            done.add(node)
            if node.op == "placeholder":
                through = True
            elif node.op == "call_module":
                todo += node.all_input_nodes if self.trace(module.get_submodule(str(node.target))) else []
            elif not _is_size(node) and not self._multiplies(module, node):
                todo += node.all_input_nodes
        return through

    def _multiplies(self, module: nn.Module, node: fx.Node) -> bool:
        """Whether it is a product with a weight, which is then noted as giving the answer."""
        if not any(word in str(getattr(node.target, "__name__", node.target)) for word in PRODUCTS):
            return False
        weights = [w for each in node.all_input_nodes if (w := _behind(module, each)) is not None]
        self.answers |= {self.weights[id(w)] for w in weights if id(w) in self.weights}
        return bool(weights)

    def _idle(self, module: nn.Module, called: set[int], read: set[int]) -> Iterator[str]:
        """The layers in a module that its forward does not come to."""
        for child in module.children():
            if id(child) in called:
                continue
            if id(child) in self.modules and id(getattr(child, "weight", None)) not in read:
                yield self.modules[id(child)]
            yield from self._idle(child, called, read)

    def run(self, model: nn.Module, every: list[Weight], example: Any) -> None:
        """Find the answers in one pass."""
        marks: dict[Any, str] = {}  # node of a layer's output -> the layer
        ran = set[str]()

        def hook(layer: nn.Module, inputs: object, y: Any) -> Any:
            name = self.modules[id(layer)]
            ran.add(name)
            if not isinstance(y, Tensor) or not y.requires_grad:
                raise _unknown(model, f"layer {name!r} ran without gradients")
            y = y.clone()  # so that what is written over it later does not hide it
            marks[y.grad_fn] = name
            return y

        with eagerly():
            given = batches.example(model, batches.moved(example, batches.device(model)))
        hooks = [layer.register_forward_hook(hook, prepend=True) for weight in every for layer in weight.layers]
        try:
            with evaluating(model), eagerly(), thawed(model.parameters()), torch.random.fork_rng(devices=[]):
                outputs = list(tensors(_answer(_differentiably(given, model))))
        finally:
            for each in hooks:
                each.remove()
        ends = [y.grad_fn for y in outputs if y.grad_fn is not None]
        if not ends:
            raise _unknown(model, "its outputs are detached from the layers")
        read = self._walk(ends, marks)
        if unseen := {weight.name for weight in every} - ran - read:
            code = _Found(self.modules, self.weights)
            with suppress(InputError):
                code.trace(model)
            if unseen - code.idle:
                raise _unknown(model, f"layer {min(unseen)!r} takes no part in the answer to the example")
            self.idle |= unseen

    def _walk(self, ends: Iterable[Any], marks: dict[Any, str]) -> set[str]:
        """Notes the answers; all names whose weights the graph holds without a call of the layer."""
        read, done = set[str](), set[Any]()
        todo = [(end, True) for end in ends]
        while todo:
            node, last = todo.pop()
            if node is None or (node, last) in done:
                continue
            done.add((node, last))
            weights = [w for each, _ in node.next_functions if (w := _leaf(each)) is not None]
            if node in marks:
                self.answers |= {marks[node]} if last else set()
                last = False
            elif any(word in node.name().lower() for word in PRODUCTS) and weights:
                names = {self.weights[id(w)] for w in weights if id(w) in self.weights}
                read |= names
                self.answers |= names if last else set()
                last = False
            todo += [(each, last) for each, _ in node.next_functions]
        return read


def _answer(outputs: Any) -> Any:
    """Of a dict, as transformers give, what is not named as something inner that comes out beside the answer."""
    if not isinstance(outputs, Mapping):
        return outputs
    return {name: value for name, value in outputs.items() if not str(name).endswith(BESIDE)} or outputs


def _differentiably(given: batches.Arguments, model: nn.Module) -> Any:
    with torch.inference_mode(False), torch.enable_grad():
        return given.call(model)


def _traced(module: nn.Module) -> fx.Graph:
    """The graph of a module's own forward in evaluation mode; the modules that it calls are single nodes."""
    try:
        memo: dict[int, Any] = {id(t): t for m in module.modules() for t in [*vars(m).values(), *m._parameters.values()]
                                if isinstance(t, Tensor)}  # fmt: skip
        twin = copy.deepcopy(module, memo).eval()  # what forward writes on its module, it writes on this one
        takes, kind = inspect.signature(twin.forward).parameters.values(), type(twin)
        if takes and next(iter(takes)).kind is inspect.Parameter.VAR_POSITIONAL:  # forward(*inputs): of one input
            twin.__class__ = type(kind.__name__, (kind,), {"forward": lambda self, x: kind.forward(self, x)})
        given = {each.name: each.default for each in takes if each.default is not each.empty}
        return _Tracer().trace(twin, given)
    except Exception as error:
        raise _unknown(module, f"its code decides by numbers, or cannot be followed: {error}") from error


def _refuse_overwritten(module: nn.Module, graph: fx.Graph) -> None:
    """What is written over a tensor under its old name is not in the graph: y.add_(...), and then y again."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        name = str(getattr(node.target, "__name__", node.target))
        writes = node.op.startswith("call_") and node.op != "call_module" and name.endswith("_") and name[-2:] != "__"
        if "out" in node.kwargs or (writes and len(node.all_input_nodes) > 1):
            first = node.all_input_nodes[0]
            if not node.users or max(order[user] for user in first.users) > order[node]:
                raise _unknown(module, f"{name} writes on a tensor that is used again")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _unknown(module: nn.Module, reason: str) -> InputError:
    reason = reason.strip().split("\n")[0][:200]
    return InputError(
        f"which layers of {type(module).__name__} give the answer is not known ({reason}); "
        "give hidden(model, example) what the model is called with, or name the layers to prune with only=[...]"
    )


def _attribute(module: nn.Module, node: fx.Node) -> Any:
    found: Any = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def _is_size(node: fx.Node) -> bool:
    """Whether it looks at shapes only."""
    name = str(getattr(node.target, "__name__", node.target))
    return name in SIZES or (name == "getattr" and node.args[1] in ("shape", "device", "dtype", "ndim"))


def _behind(module: nn.Module, node: fx.Node) -> Tensor | None:
    """The parameter of two or more dimensions that a node is, turned or scaled perhaps."""
    while node.op != "get_attr" and len(node.all_input_nodes) == 1 and node.op != "call_module":
        (node,) = node.all_input_nodes
    found = _attribute(module, node) if node.op == "get_attr" else None
    return found if isinstance(found, Tensor) and found.dim() > 1 else None


def _leaf(node: Any) -> Tensor | None:
    """The same in autograd's graph."""
    while node is not None and not hasattr(node, "variable"):
        inputs = [each for each, _ in node.next_functions if each is not None]
        node = inputs[0] if len(inputs) == 1 else None
    return node.variable if node is not None and node.variable.dim() > 1 else None
