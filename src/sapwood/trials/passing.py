"""Passing: one pass of one member, written as a function of its tensors, so that `vmap` makes it one of all members."""

from collections.abc import Callable, Mapping, Set
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from sapwood.training.samples import Inputs
from sapwood.training.task import Batch, Forward, Loss

Seen = dict[str, list[tuple[Tensor, Tensor]]]  # {module: what it read and gave, call after call}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Passed(nn.Module):
    """A network without weights of its own, how its task asks it, and its loss."""

    def __init__(self, network: nn.Module, ask: Forward, loss: Loss) -> None:
        super().__init__()
        for module in network.modules():
            for hooks in HOOKS:
                getattr(module, hooks).clear()
        self.network, self.ask, self.loss = network, ask, loss
        self.seen: Seen = {}
        self.hooks: dict[str, RemovableHandle] = {}

    def watch(self, names: Set[str]) -> None:
        """From now on passes note what these modules read and give."""
        for name in self.hooks.keys() - names:
            self.hooks.pop(name).remove()
        for name in names - self.hooks.keys():
            module = self.network.get_submodule(name)
            self.hooks[name] = module.register_forward_hook(self._noting(name), prepend=True, with_kwargs=True)

    def through(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Inputs, targets: Tensor
    ) -> tuple[Tensor, Tensor, Seen]:
        """The loss, the outputs and what was seen, of a network with these tensors."""
        self.seen = {name: [] for name in self.hooks}
        named = {f"network.{name}": tensor for name, tensor in (weights | buffers).items()}  # type: ignore[operator]
        outputs, loss = functional_call(self, named, (Batch(inputs, targets),))
        return loss, outputs, self.seen

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Outputs and loss of a batch."""
        outputs = self.ask(self.network, batch)
        return outputs, self.loss(self.network, batch, outputs)

    def _noting(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> None:
            x = args[0] if args else next(iter(kwargs.values()))
            self.seen[name].append((x.detach(), y.detach().clone()))  # what comes later may write on it

        return note
