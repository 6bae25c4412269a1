"""Weight gate: a mask on one layer's weights that is learned; and the network whose layers pass through such gates."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.currency import Masks
from sapwood.errors import InputError
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import Layer


class WeightGate(nn.Module, ABC):
    """A learned mask on one layer's weights. It has parameters of its own, none of the layer's, and no random state.

    They are 1-D, because `Run.sparsity` counts every parameter with dim > 1 as a weight. In training mode `act` may
    draw from torch's generator; in evaluation mode it computes what the layer would with the removed weights at 0.
    """

    @abstractmethod
    def act(self, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
        """What the layer's output y becomes, x being its input."""

    @abstractmethod
    def score(self, w: Tensor) -> Tensor:
        """How much the gate wants to keep each of the layer's weights w, in w's shape; higher stays."""

    @abstractmethod
    def keep(self, w: Tensor) -> Tensor:
        """The decision as it stands, bool, in w's shape: True where the weight stays."""

    @abstractmethod
    def penalty(self, w: Tensor) -> Tensor:
        """What is added to the loss summed over the whole data set; a scalar."""


class WeightGated(nn.Module):
    """A network whose named layers' outputs pass through gates. The network itself is not changed.

    Hooks are on it during a pass only. Parameters are called model.NAME and gates.LAYER.NAME, the dots of LAYER written
    as slashes.
    """

    def __init__(self, model: nn.Module, gates: Mapping[str, WeightGate]) -> None:
        super().__init__()
        processes.refuse_sharded(model, "put gates on it, and decide them,")
        if "" in gates:
            raise InputError(f"{type(model).__name__} is a single layer without a name; put it into a Sequential")
        self.layers = tuple(chosen(model, gates))
        self.model = model
        self.gates = nn.ModuleDict({name.replace(".", "/"): gate for name, gate in gates.items()})

    def forward(self, *inputs: Any) -> Any:
        """The network's outputs, each gated layer's having passed through its gate."""
        hooks = [layer.register_forward_hook(partial(_acting, gate)) for _, layer, gate in self._pairs()]
        try:
            return self.model(*inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def penalty(self) -> Tensor:
        """The sum over all gates."""
        return torch.stack([gate.penalty(layer.weight) for _, layer, gate in self._pairs()]).sum()

    @torch.no_grad()
    def scores(self) -> dict[str, Tensor]:
        """Each gate's scores, by the name that its layer's weight has in the network itself."""
        return {f"{name}.weight": gate.score(layer.weight) for name, layer, gate in self._pairs()}

    @torch.no_grad()
    def keep(self) -> Masks:
        """Each gate's decision as it stands, by the name that its layer's weight has in the network itself.

        The network under these masks is, in evaluation mode, the gated network.
        """
        return {f"{name}.weight": gate.keep(layer.weight) for name, layer, gate in self._pairs()}

    def _pairs(self) -> list[tuple[str, Layer, WeightGate]]:
        layers = chosen(self.model, self.layers)
        return [(name, layers[name], _gate(gate)) for name, gate in zip(self.layers, self.gates.values(), strict=True)]


def _acting(gate: WeightGate, layer: Layer, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
    return gate.act(layer, inputs[0], y)


def _gate(module: nn.Module) -> WeightGate:
    assert isinstance(module, WeightGate)  # a ModuleDict does not say what it holds
    return module
