"""Plain: an exported graph in which rules meet ordinary operators and sizes only.

Regions that run in a mode of their own, such as autocast, become part of the code around them. Sizes that depend on
data, such as how many rows a mask picks, become those of one run: which units there are does not depend on them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

REGIONS = ("wrap_with_autocast", "wrap_with_set_grad_enabled", "tag_activation_checkpoint", "wrap", "strict_mode")
FEW = 2  # stands for a size that is 0 in the run: numbers without a position would belong to nobody


def without_regions(module: fx.GraphModule) -> fx.GraphModule:
    """The module itself, each region's operators in place of the region."""
    graph = module.graph
    for node in [node for node in graph.nodes if str(node.target) in REGIONS]:
        at = next(at for at, part in enumerate(node.args) if isinstance(part, fx.Node) and part.op == "get_attr")
        inner = without_regions(getattr(module, node.args[at].target))
        _move_attributes(inner, module, node.name)
        given = [part for part in inner.graph.nodes if part.op == "placeholder"]
        with graph.inserting_before(node):
            outputs: Any = graph.graph_copy(inner.graph, dict(zip(given, _flat(node.args[at + 1 :]), strict=True)))
        for user in list(node.users):
            user.replace_all_uses_with(outputs[user.args[1]])
            graph.erase_node(user)
        graph.erase_node(node)
    return module


def _flat(parts: Any) -> list[Any]:
    return list(parts[0] if len(parts) == 1 and isinstance(parts[0], tuple | list) else parts)


def _move_attributes(inner: fx.GraphModule, outer: fx.GraphModule, start: str) -> None:
    """Graphs that a region itself holds, such as those of a condition, under names that nobody else has."""
    for node in inner.graph.nodes:
        if node.op == "get_attr":
            value, name = getattr(inner, node.target), f"{start}_{node.target}"
            for module in (inner, outer):
                setattr(module, name, value)
            node.target = name


def with_sizes(module: fx.GraphModule, run: Callable[[fx.Interpreter], object]) -> fx.GraphModule:
    """The module itself; what its nodes say of their values has sizes that are numbers. `run` runs it on an example."""
    if any("unbacked_bindings" in node.meta for node in module.graph.nodes):
        sizes = _Sizes(module)
        try:
            run(sizes)
        except Exception:  # without numbers, as on torch's meta device, any size will do
            sizes.found.clear()
        for node in module.graph.nodes:
            if "val" in node.meta:
                node.meta["val"] = pytree.tree_map(lambda value: _plain(value, sizes.found), node.meta["val"])
    return module


class _Sizes(fx.Interpreter):
    """Runs a graph and notes which numbers the sizes are that torch knows as symbols only."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found = dict[Any, int]()

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        for known, value in zip(pytree.tree_leaves(n.meta.get("val")), pytree.tree_leaves(result), strict=False):
            pairs = zip(known.shape, value.shape, strict=True) if isinstance(known, Tensor) else [(known, value)]
            for symbol, number in pairs:
                if isinstance(symbol, torch.SymInt) and symbol.node.expr.is_Symbol:
                    self.found[symbol.node.expr] = int(number) or FEW
        return result


def _plain(value: Any, found: dict[Any, int]) -> Any:
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        known = value.node.expr
        kind = int if isinstance(value, torch.SymInt) else float if isinstance(value, torch.SymFloat) else bool
        return kind(known.xreplace({symbol: found.get(symbol, FEW) for symbol in known.free_symbols}))
    if isinstance(value, Tensor) and not all(type(size) is int for size in value.shape):
        shape = [_plain(size, found) for size in value.shape]
        with value.fake_mode:  # type: ignore[attr-defined]
            return torch.empty(shape, dtype=value.dtype, device=value.device)
    return value
