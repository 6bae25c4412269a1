"""One process or many: wrap the model for the loss, add up what was seen, agree on what was decided.

A tensor may be sharded: a DTensor, as FSDP2's `fully_shard` makes of parameters, of which each process has its part.

Without an initialised process group every function here does nothing, so callers need not ask.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sapwood.errors import InputError

if TYPE_CHECKING:
    from sapwood.scoring.evidence import Evidence


LOST = re.compile(r"Connection (closed|reset) by peer|Broken pipe|[Tt]imed out")  # as gloo says it
AVAILABLE = dist.is_available()  # a property of the PyTorch that is installed; `world` is asked at every step


@contextmanager
def connected() -> Iterator[None]:
    """Inside, what goes wrong with several processes is an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if "finished reduction in the prior iteration" in str(error):
            raise InputError(
                "some parameters have no part in a step's loss, which DDP cannot train; run one process"
            ) from error
        if world() == 1 or not (lost := LOST.search(str(error))):
            raise
        raise InputError(
            f"process {rank()} has lost another, which has ended or cannot be reached ({lost[0]}); look for what that "
            "one said last, and start all again, from the last save if there is one"
        ) from error


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if AVAILABLE and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is; 0 writes the files."""
    return dist.get_rank() if world() > 1 else 0


def wrap(model: nn.Module) -> nn.Module:
    """A callable for computing the loss only; names, masks and checkpoints always come from the raw model."""
    if world() == 1 or any(map(sharded, model.parameters())):  # FSDP2 adds up gradients by itself
        return model
    return DistributedDataParallel(model)


def sharded(tensor: object) -> bool:
    """Whether this is a DTensor, of which each process has a part."""
    return hasattr(tensor, "placements")


def whole(tensor: Tensor) -> Tensor:
    """The tensor, put together from its parts if it is sharded, for which all processes must ask at once."""
    full: Tensor = tensor.detach().full_tensor() if sharded(tensor) else tensor  # type: ignore[attr-defined]
    return full


def own(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor, in the same memory; any other tensor as it is."""
    if not sharded(tensor):
        return tensor
    with torch.no_grad():
        part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
        return part


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """What all processes have, sharded as `other` is: each takes a copy of its part, and nothing is sent."""
    if not sharded(other) or sharded(tensor):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    to: Any = other
    return distribute_tensor(
        tensor.detach().to(other.device), to.device_mesh, to.placements, src_data_rank=None
    ).clone()


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Its parameters by name; of a sharded model the parts."""
    reshard(model)
    return dict(model.named_parameters())


def refuse_sharded(of: nn.Module | Tensor, what: str = "take it apart, count it and shrink it") -> None:
    """InputError if a model, or a weight of one, is sharded: `what` needs it whole."""
    if any(map(sharded, [of] if isinstance(of, Tensor) else of.parameters())):
        raise InputError(
            f"the model is sharded over processes (fully_shard); {what} before that, or in one process that has loaded "
            "its weights"
        )


def reshard(model: nn.Module) -> None:
    """Let parameters be the parts again, which FSDP2 leaves gathered after a pass without gradients."""
    for module in _in_parts(model):
        module.reshard()


def passing(model: nn.Module) -> dict[str, Tensor]:
    """What the model's passes compute with, by the parameters' names: of a sharded model the gathered ones.

    These are the same objects in every pass, and have no memory in between. Processes must ask at once.
    """
    found: dict[str, Tensor] = {**parameters(model)}
    for module in _in_parts(model):
        module.unshard()
        found |= {name: p for name, p in model.named_parameters() if not sharded(p)}
        module.reshard()
    return found


def _in_parts(model: nn.Module) -> Iterator[Any]:
    """The modules that FSDP2 shards."""
    if not (AVAILABLE and dist.is_initialized()):
        return
    for module in model.modules():
        kind = type(module)
        if kind.__name__ == "FullyShardedDataParallel":
            raise InputError(
                "the model is wrapped by FullyShardedDataParallel (FSDP1), which hides its parameters; "
                "shard it by torch.distributed.fsdp.fully_shard (FSDP2)"
            )
        if kind.__name__.startswith("FSDP") and hasattr(kind, "reshard"):
            yield module


def share(count: int | None = None) -> slice:
    """Which rows of a batch this process takes; `count`: how many rows the batch has."""
    return slice(rank(), count, world())


def weight(count: float) -> float:
    """What a mean over this process's `count` is multiplied by, so that the mean over processes is one over all."""
    if world() == 1:
        return 1.0
    return count * world() / add_up_numbers({"count": count})["count"]


def add_up(evidence: "Evidence") -> "Evidence":
    """The sums over all processes, in new tensors: this process's own sums go on growing."""
    if world() == 1:
        return evidence
    return {layer: {name: _summed(value) for name, value in sums.items()} for layer, sums in evidence.items()}


def add_up_numbers(sums: Mapping[str, float]) -> dict[str, float]:
    """Sums of plain numbers over all processes, in float64."""
    if world() == 1:
        return dict(sums)
    total = _summed(torch.tensor(list(sums.values()), dtype=torch.float64))
    return dict(zip(sums, total.tolist(), strict=True))


def agree(masks: Mapping[str, Tensor]) -> None:
    """Raise InputError unless every process has the same masks: a digest of them is compared."""
    if world() == 1:
        return
    everybody = gathered(digest({name: keep for name, keep in masks.items() if not sharded(keep)}))
    others = [number for number, theirs in enumerate(everybody) if theirs != everybody[0]]
    if others:
        raise InputError(
            f"processes decided on different masks: {', '.join(map(str, others))} have others than process 0; "
            "is the data order or the seed not the same in all?"
        )


def alike(**mine: object) -> None:
    """Raise InputError unless every process has the same of each."""
    for number, theirs in enumerate(gathered(json.dumps(mine).encode())):
        for name, value in json.loads(theirs).items():
            if value != mine[name]:
                raise InputError(
                    f"processes cannot train together: {name} is {mine[name]!r} in process {rank()} and {value!r} in "
                    f"process {number}; give all the same"
                )


@connected()
def gathered(mine: bytes) -> list[bytes]:
    """What each process has, by its rank."""
    everybody = [mine] * world()
    if world() > 1:
        dist.all_gather_object(everybody, mine)
    return everybody


def digest(tensors: Mapping[str, Tensor], *, copies: bool = False) -> bytes:
    """A fingerprint of names, types, shapes and bytes.

    Reading a tensor's memory breaks its seal, so each is copied first; not if they are `copies` already: contiguous, on
    the CPU, and nobody else's.
    """
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        value = own(tensors[name])
        if not copies:
            value = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        state.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        state.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return state.digest()


@connected()
def _summed(value: Tensor) -> Tensor:
    total = value.clone()
    dist.all_reduce(total)
    return total
