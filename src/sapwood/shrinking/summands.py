"""Summands: which operands of a network's additions a module makes for them alone, found in its graph."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, fx

from sapwood.shrinking.tracing.graph import Graph, line, op_of

ADDS = ("add", "iadd")
ASIDE = ("_assert_tensor_metadata",)
KEPT_ZERO = {  # operators that give 0 for 0
    "mul", "div", "dropout", "contiguous", "clone", "to", "_to_copy", "view", "reshape", "transpose", "permute",
    "getitem",
}  # fmt: skip


@dataclass(frozen=True)
class Branch:
    """A summand of an addition: a module makes it, nothing else reads it, and both summands come from one value."""

    name: str  # the module that makes it
    operator: str  # "aten.add (net.py:12)", where it is added
    modules: tuple[str, ...]  # what is gone without it, the outermost modules that only it needs


@dataclass(frozen=True)
class Summand:
    """A branch, and where it is in the graph."""

    branch: Branch
    node: fx.Node  # what is added
    fed: tuple[fx.Node, ...]  # what flows into it from outside


class Flow:
    """Who reads what in a graph, past operators that give back what they read; parameters and constants aside."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = [node for node in graph.nodes() if op_of(node) not in ASIDE and not _passes_on(node)]
        self.reads = {n: [_behind(each) for each in n.all_input_nodes if _flows(graph, each)] for n in self.nodes}
        self.users: dict[fx.Node, set[fx.Node]] = {}
        for node in (*self.nodes, *(n for n in graph.module.graph.nodes if n.op == "output")):
            for each in self.reads.get(node, [_behind(n) for n in node.all_input_nodes]):
                self.users.setdefault(each, set()).add(node)

    def only_for(self, nodes: Sequence[fx.Node]) -> set[fx.Node]:
        """These operators, and all that nothing but these needs."""
        found = set(nodes)
        for node in reversed(self.nodes):
            if self.users.get(node, set()) and self.users[node] <= found:
                found.add(node)
        return found

    def modules(self, nodes: Sequence[fx.Node]) -> list[str]:
        """The outermost modules all of whose operators are needed by nothing but these nodes."""
        inside, of = self.only_for(nodes), dict[str, list[fx.Node]]()
        for node in self.nodes:
            for name in _modules_of(node):
                of.setdefault(name, []).append(node)
        whole = {name for name, its in of.items() if inside.issuperset(its)}
        return [name for name in of if name in whole and not any(name.startswith(f"{other}.") for other in whole)]

    def fed(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """What flows from outside into all that only this operator needs."""
        inside = self.only_for([node])
        return tuple(dict.fromkeys(each for one in self.nodes if one in inside for each in self.reads[one]
                                   if each not in inside))  # fmt: skip

    def sources(self, nodes: Iterable[fx.Node]) -> set[fx.Node]:
        """These nodes, and all that has a part in them."""
        found, todo = set[fx.Node](), list(nodes)
        while todo:
            node = todo.pop()
            if node not in found:
                found.add(node)
                todo += self.reads.get(node, ())
        return found


def summands(graph: Graph) -> list[Summand]:
    """The branches of a graph, in the order in which they are added."""
    flow, found = Flow(graph), dict[str, Summand]()
    for node in flow.nodes:
        if op_of(node) in ADDS and len(flow.reads[node]) == 2:
            for one, other in (flow.reads[node], reversed(flow.reads[node])):
                summand = _summand(flow, node, one, other)
                if summand is not None:
                    found.setdefault(summand.branch.name, summand)
    return list(found.values())


def _summand(flow: Flow, add: fx.Node, node: fx.Node, other: fx.Node) -> Summand | None:
    """What is known of one operand of an addition, None if it is no branch."""
    if flow.users[node] != {add} or node not in flow.reads:
        return None
    name, fed = _maker(flow, add, node), flow.fed(node)
    modules = flow.modules([node])
    if name not in modules or not flow.sources(fed) & flow.sources([other]):
        return None
    return Summand(Branch(name, f"aten.{op_of(add)} ({line(add)})", tuple(modules)), node, fed)


def _maker(flow: Flow, add: fx.Node, node: fx.Node) -> str | None:
    """The outermost module that makes an operand and does not add it, behind operators that give 0 for 0."""
    around = set(_modules_of(add))
    while not (inner := [name for name in _modules_of(node) if name not in around]):
        if op_of(node) not in KEPT_ZERO or len(flow.reads[node]) != 1 or flow.reads[node][0] not in flow.reads:
            return None
        before, node = node, flow.reads[node][0]
        if flow.users[node] != {before}:
            return None
    return inner[0]


def _modules_of(node: fx.Node) -> list[str]:
    """The modules in whose forward an operator runs, outermost first, without the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return [name for name in (str(entry[0]) for entry in stack.values()) if name]


def _passes_on(node: fx.Node) -> bool:
    """Whether it gives back the very numbers it reads, as a conversion to the type they have."""
    if op_of(node) not in ("to", "alias", "_to_copy") or len(node.all_input_nodes) != 1:
        return False
    before, after = node.all_input_nodes[0].meta.get("val"), node.meta.get("val")
    return isinstance(before, Tensor) and isinstance(after, Tensor) and before.dtype == after.dtype


def _behind(node: fx.Node) -> fx.Node:
    while node.op == "call_function" and _passes_on(node):
        (node,) = node.all_input_nodes
    return node


def _flows(graph: Graph, node: fx.Node) -> bool:
    return node.op == "call_function" or node.name in graph.inputs
