"""Network: a pruned network in a .swz file, how many bytes each tensor takes there, and the same network again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sapwood import disk, processes
from sapwood.codec import file, tensors
from sapwood.codec.places import LAYOUTS
from sapwood.codec.stream import CODERS, HUFFMAN, Stream
from sapwood.errors import InputError, picked
from sapwood.masking import masks as mask
from sapwood.training import checkpoint

Said = dict[str, Any]  # {name: what tensors.Coded.said gives, or the name of the tensor that it is}


@dataclass(frozen=True)
class Stored:
    """What a tensor takes in the file."""

    name: str
    entries: int
    dims: int
    layout: str
    values: int
    """Different values in its codebook, the 0 of fillers among them; 0 where values are written as they are."""
    bytes: int
    places: int
    """Those of its bytes that say where there is anything."""
    coded: int
    """Bits of codes, Huffman's and adaptive ones, without tables."""
    entropy: float
    """Bits that no code for the same symbols, one by one, can do without: n H of each coded stream, added up; of an
    adaptive mask n H in each context."""
    coders: tuple[str, ...] = ()
    """What its symbols are coded by: "huffman", "adaptive", "contexts"; none where all have equally many bits."""
    table: int = 0
    """Bytes of the tables of Huffman's codes. An adaptive code has none: it is taken where that makes it shorter."""


@dataclass(frozen=True)
class Sizes:
    """What a network takes on disk."""

    stored: tuple[Stored, ...]
    bytes: int
    """Of the whole file: names, shapes, codebooks, tables and biases too."""
    dense: int
    """Of the network's parameters as they are in memory: 4 for each, if they are float32. Buffers do not count."""

    @property
    def fold(self) -> float:
        """dense / bytes."""
        return self.dense / self.bytes

    def parts(self) -> dict[str, int]:
        """What the bytes are for. Weights have two dimensions or more; tables are counted in what they belong to."""
        weights, rest = [[each for each in self.stored if (each.dims > 1) == w] for w in (True, False)]
        found = {"places_bytes": sum(each.places for each in weights), "biases_bytes": sum(each.bytes for each in rest)}
        found["values_bytes"] = sum(each.bytes for each in weights) - found["places_bytes"]
        tables = sum(each.table for each in self.stored)
        return found | {"header_bytes": self.bytes - sum(each.bytes for each in self.stored), "tables_bytes": tables}

    @property
    def over_entropy(self) -> float:
        """By what fraction codes are longer than the entropy of what they encode."""
        bound = sum(each.entropy for each in self.stored)
        return sum(each.coded for each in self.stored) / bound - 1 if bound else 0.0


def save(
    model: nn.Module,
    path: Path | str,
    *,
    masks: Mapping[str, Tensor] | None = None,
    layout: str | None = None,
    entropy: bool = True,
    adaptive: bool = True,
) -> Sizes:
    """Write the network's state_dict to a .swz file, lossless, and say what that takes. See `encode`."""
    content, sizes = encode(model, masks=masks, layout=layout, entropy=entropy, adaptive=adaptive)
    checkpoint.replace(Path(path), content)
    return sizes


def encode(
    model: nn.Module,
    *,
    masks: Mapping[str, Tensor] | None = None,
    layout: str | None = None,
    entropy: bool = True,
    adaptive: bool = True,
) -> tuple[bytes, Sizes]:
    """The bytes of the .swz file, and what is what in them. Every tensor comes back bit by bit.

    `masks`: zeros that the file is to have; give those of the run. Without them a -0.0, as a held weight may be, is a
    value like others. Weights that take few different values, as `sharing` makes them, are written as indices into a
    codebook. `layout`: one of `LAYOUTS` for all matrices and kernels; for each tensor the shortest when left out.
    Symbols are coded by Huffman, or by an adaptive arithmetic coder, which has no table, where that is shorter and they
    are few (2^18 decisions at most). Without `adaptive`, by Huffman alone; without `entropy`, not at all.
    """
    if layout is not None:
        picked("layout", layout, LAYOUTS)
    processes.refuse_sharded(model, "encode it")
    state = _state(model)
    mask.validate(masks or {}, {name: tensor for name, tensor in state.items() if not isinstance(tensor, str)})
    coders = (CODERS if adaptive else (HUFFMAN,)) if entropy else ()
    coded: dict[str, tensors.Coded] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, str):
            kept = tensor if name not in (masks or {}) else _masked(tensor, (masks or {})[name])
            coded[name] = tensors.encode(kept, layout=layout if tensor.dim() > 1 else None, coders=coders)
    said: Said = {name: coded[name].said() if name in coded else tensor for name, tensor in state.items()}
    content = file.pack(said, b"".join(part.pack() for each in coded.values() for part in each.streams))
    dense = sum(p.numel() * p.element_size() for p in model.parameters())
    return content, Sizes(tuple(_stored(name, each) for name, each in coded.items()), len(content), dense)


def load(path: Path | str, make: Callable[[], nn.Module]) -> nn.Module:
    """The network that `save` wrote: `make()` gives one of the same class and sizes, and its state is replaced.

    On the devices and in the mode of make's network. Nothing in the file is executed, and nothing larger is allocated
    than make's network. InputError: the file is missing, damaged, of another kind or newer than this sapwood, or of
    another network.
    """
    said, streams = file.unpack(disk.read(Path(path), "the network"), str(path))
    model = make()
    state = _state(model)
    try:
        _refuse_other_network(said, state)
        found = dict(_decoded(said, streams))
        checkpoint.refuse_half_truths(found)
    except InputError as error:
        raise InputError(f"{path} is not of the network that make gives: {error}") from None
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError) as error:
        raise InputError(f"{path} does not hold what its format says ({error!r}); save it again") from error
    model.load_state_dict({name: found[each] if isinstance(each, str) else found[name] for name, each in said.items()})
    return model


def _state(model: nn.Module) -> dict[str, Tensor | str]:
    """The state_dict; of a tensor that has several names, the others give the first."""
    first: dict[tuple[Any, ...], str] = {}
    state: dict[str, Tensor | str] = {}
    for name, tensor in model.state_dict().items():
        _refuse_unfit(name, tensor)
        same = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride()) if tensor.numel() else (name,)
        state[name] = tensor if (other := first.setdefault(same, name)) == name else other
    return state


def _refuse_unfit(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor) or is_lazy(tensor) or tensor.is_meta:
        raise InputError(f"{name!r} has no numbers, or is no tensor; such a network cannot be written as .swz")
    if tensor.layout is not torch.strided or tensor.dtype not in tensors.TYPES.values():
        raise InputError(f"{name!r} is {tensor.dtype}, {tensor.layout}; known: {', '.join(tensors.TYPES)}, strided")


def _masked(tensor: Tensor, keep: Tensor) -> Tensor:
    return tensor.detach().masked_fill(keep.logical_not().to(tensor.device), 0)


def _stored(name: str, coded: tensors.Coded) -> Stored:
    indices = [part.stream.alphabet for part in coded.streams[LAYOUTS[coded.layout].streams + 1 :]]
    entropies = [part.entropy for part in coded.streams if part.coded]
    entries = int(torch.Size(coded.shape).numel())
    layout = coded.layout if coded.order == "rows" else f"{coded.layout}, {coded.order}"
    used = tuple(part.stream.coding for part in coded.streams if part.coded)
    bits, table = (sum(getattr(part, what) for part in coded.streams) for what in ("coded", "table"))
    values = indices[0] if indices else 0
    places = sum(part.stream.size for part in coded.streams[: LAYOUTS[coded.layout].streams])
    return Stored(
        name, entries, len(coded.shape), layout, values, coded.size, places, bits, sum(entropies), used, table
    )


def _refuse_other_network(said: Said, state: Mapping[str, Tensor | str]) -> None:
    """Asked before any stream is looked at."""
    if strange := sorted(said.keys() ^ state.keys()):
        raise InputError(f"only {'the file' if strange[0] in said else 'that network'} has {strange[0]!r}")
    for name, mine in state.items():
        theirs = said[name]
        if isinstance(mine, str) or isinstance(theirs, str):
            if mine != theirs:
                raise InputError(f"{name!r} is one tensor with another in only one of them, or not with the same")
            continue
        kind = [str(mine.dtype).removeprefix("torch."), list(mine.shape)]
        if theirs[:2] != kind:
            raise InputError(f"{name!r} is {theirs[0]} of shape {theirs[1]} in the file, and {kind[0]} of {kind[1]}")


def _decoded(said: Said, streams: bytes) -> Iterator[tuple[str, Tensor]]:
    at = 0
    for name, each in said.items():
        if not isinstance(each, str):
            sizes = [Stream(*stream).size for stream in each[4:]]
            parts, at = _cut(streams, at, sizes)
            yield name, tensors.decode(each, parts)
    if at != len(streams):
        raise ValueError(f"{len(streams) - at} bytes more than its streams have")


def _cut(streams: bytes, at: int, sizes: Sequence[int]) -> tuple[list[bytes], int]:
    parts = []
    for size in sizes:
        if size < 0 or at + size > len(streams):
            raise ValueError(f"a stream of {size} bytes where {len(streams) - at} are left")
        parts.append(streams[at : at + size])
        at += size
    return parts, at
