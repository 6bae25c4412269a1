"""Bugs planted in what a branch is, and in networks without some."""

from functools import cache

import torch
from planted.mutant import bugs, instead
from torch import nn

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.tiny import seeded
from sapwood.errors import InputError
from sapwood.shrinking import depth, summands

modules, skip_ = summands.Flow.modules, depth.skip_


class Block(nn.Module):
    """Its norm is read by two branches; the second has one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.own = nn.LayerNorm(6), nn.LayerNorm(6)
        self.one, self.two, self.three = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        h = self.shared(x)
        return x + self.one(h) + self.three(self.two(self.own(h)))


@cache
def network() -> tuple[nn.Module, torch.Tensor]:
    """Words, two blocks and an answer."""
    with seeded(0):
        model = nn.Sequential(nn.Linear(4, 6), Block(), Block(), nn.Linear(6, 3)).double().eval()
        return model, torch.randn(5, 4, dtype=torch.float64)


def branch_laws() -> Laws:
    return {
        "branches: a network without one equals it with 0 added instead": _equal,
        "branches: what only it needs is gone, and nothing else": _gone,
        "branches: a cut that would change the outputs is refused": _refused,
    }


def _equal() -> None:
    model, x = network()
    for name in ("1.one", "1.three", "2.three"):
        small = depth.remove_branches(model, [name], example=x, check=False).model
        hook = model.get_submodule(name).register_forward_hook(lambda m, args, y: y * 0)
        try:
            with torch.no_grad():
                gap = float((small(x) - model(x)).abs().max())
        finally:
            hook.remove()
        demand(gap < 1e-12, f"without {name}: outputs differ by {gap:.2f}")


def _gone() -> None:
    model, x = network()
    wanted = {"1.one": {"1.one"}, "1.three": {"1.own", "1.two", "1.three"}}
    for name, gone in wanted.items():
        small = depth.remove_branches(model, [name], example=x, check=False).model
        missing = {n.rpartition(".")[0] for n, _ in model.named_parameters()} - {
            n.rpartition(".")[0] for n, _ in small.named_parameters()
        }
        demand(missing == gone, f"without {name}: {sorted(missing)} are gone")


def _refused() -> None:
    """A network in which the wrong module is left out, given to the proof."""
    model, x = network()
    try:
        depth.remove_branches(model, ["1.three"], example=x)
    except InputError as error:
        demand(False, f"a sound cut is refused: {error}")
    original = depth._skips
    depth._skips = lambda *args: original(*args) | {"1.shared": (False, 0)}
    try:
        depth.remove_branches(model, ["1.three"], example=x)
    except InputError:
        return
    finally:
        depth._skips = original
    demand(False, "a network without a norm that others read was taken for equal")


def greedy(self, nodes):
    """All modules whose operators have a part in the branch."""
    inside = self.sources(nodes)
    return list(dict.fromkeys(n for node in inside if node in self.reads for n in summands._modules_of(node)
                              if n.count(".") == 1))  # fmt: skip


def not_zero(model, names):
    return skip_(model, {name: (False, parts) for name, (_, parts) in names.items()})


def only_the_last(self, nodes):
    found = modules(self, nodes)
    return [name for name in found if name in {n for node in nodes for n in summands._modules_of(node)}]


MUTANTS = bugs(
    "branches",
    branch_laws,
    {
        "a network without one equals it with 0 added instead": {
            "a removed branch gives what it reads": instead(depth, "skip_", not_zero)
        },
        "what only it needs is gone, and nothing else": {
            "the modules before the last of a branch stay": instead(summands.Flow, "modules", only_the_last),
            "what others read goes with a branch": instead(summands.Flow, "modules", greedy),
        },
        "a cut that would change the outputs is refused": {
            "any difference is taken for rounding": instead(depth, "most", lambda dtype: float("inf"))
        },
    },
)
