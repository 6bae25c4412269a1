"""Network: a smaller network in one file, and the same network again in another process, from the original class.

The class of the original cannot build one with other sizes. `save` writes its tensors and what differs in its modules.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sapwood import disk, schema
from sapwood.ancestry import is_smaller, note_smaller
from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.export import beside
from sapwood.export.attributes import CHANGES, SETTINGS, change_, changes, classes, settings
from sapwood.export.fitting import narrow_, refuse_unfitting
from sapwood.export.memory import dense, refuse_shared_memory
from sapwood.export.originals import (
    Held,
    kind_of,
    refuse_other_modules,
    refuse_other_network,
    refuse_smaller,
)
from sapwood.export.packed import not_as_said, pack, unpack
from sapwood.shrinking.cutting.narrow import NarrowAttention
from sapwood.shrinking.skipped import skip_, skipped
from sapwood.shrinking.tracing.computed import sharing
from sapwood.shrinking.tracing.duplicate import duplicate
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.training import checkpoint

SIZES = schema.items(schema.whole(), tuple)
HELD = schema.record({
    "kind": schema.one_of("parameter", "buffer"), "original": SIZES, "shape": SIZES, "stride": schema.optional(SIZES),
    "requires_grad": schema.flag, "same_as": schema.optional(schema.text),
})  # fmt: skip
STAND_IN = {"zero": schema.flag, "parts": schema.whole(0, 16)}
SKIPPED = schema.mapping(schema.record(STAND_IN, {"sizes": schema.items(schema.whole(-(2**31), 2**31))}))
WORDS = schema.record({
    "narrow": schema.items(schema.text), "classes": schema.mapping(schema.text), "settings": SETTINGS,
    "changes": CHANGES, "tensors": schema.mapping(HELD),
}, {"masks": schema.mapping(schema.text), "skipped": SKIPPED})  # fmt: skip
Read = tuple[dict[str, Held], dict[str, Tensor], dict[str, Tensor], dict[str, Any]]  # of tensors, values, masks, words


@checked(of="the network as it was before pruning; for one that was not pruned use torch.save")
def save(model: nn.Module, path: Path | str, *, of: nn.Module, masks: Mapping[str, Tensor] | None = None) -> None:
    """Write a network that was shrunk from `of` to one safetensors file; the old file stays until the new one is whole.

    `of` is the original network, or another of its class and options: only its shapes and plain numbers are looked at.
    It is the one that your code builds, also where the network was pruned again and again.
    `masks` of the network are kept beside it, for `tensors_of`; they are not applied.
    The file has all parameters and buffers bit by bit, those outside state_dict too; which are one tensor; which are
    trained; and the numbers (None, bool, int, float, tuples and lists of them) by which modules, and the objects on
    them such as a config, differ. It has no training or evaluation mode, and no other tensors.

    InputError: `of` was itself made smaller, by `prune`, `shrink`, `load` or the like; or modules were added, removed
    or replaced, so the original class cannot give them. (torch's multi-head attention that lost heads is sapwood's
    `NarrowAttention`, modules of removed branches are `Skipped`, and will be.)

    >>> net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(1, 4)
    >>> small = shrink(net, {"0": torch.arange(6) < 2}, sites(net, x), example=x).model
    >>> export.save(small, folder / "small.safetensors", of=net)
    """
    refuse_smaller(of)
    put(model, path, of=of, masks=masks)


def put(model: nn.Module, path: Path | str, *, of: nn.Module, masks: Mapping[str, Tensor] | None = None) -> None:
    """Write the file of `save`, whatever `of` is: for callers who know what builds it."""
    own, words = _described(model, of)
    if masks:
        beside.put(masks, model, own, words)
    checkpoint.replace(Path(path), pack(own, words))


def _described(model: nn.Module, of: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors to write, each once, and the words about them and about the modules."""
    gone = skipped(model)
    of = skip_(duplicate(of, sharing(of)), gone) if gone else of
    held, narrow = _held(model, of), _narrowed(model, of)
    refuse_other_modules(classes(model) | dict.fromkeys(narrow, nn.MultiheadAttention.__name__), classes(of))
    words = {
        "narrow": narrow,
        "classes": classes(of),
        "settings": settings(of),
        "changes": changes(of, model),
        "tensors": {name: asdict(each) for name, each in held.items()},
    }
    if gone:
        words["skipped"] = {
            name: {"zero": zero, "parts": parts} | ({"sizes": sizes} if sizes else {})
            for name, (zero, parts, *sizes) in gone.items()
        }
    return {name: tensor for name, tensor in named_tensors(model) if held[name].same_as is None}, words


@checked(make="a function that builds the network as it was before pruning, for example lambda: Net()")
def load(path: Path | str, make: Callable[[], nn.Module]) -> nn.Module:
    """The network that `save` wrote: `make()` gives the original, unshrunk one, which is then made the saved one.

    On the devices and in the mode of make's network. Nothing in the file is executed. InputError: the file is missing,
    damaged, of another kind or newer than this sapwood, or make's network is not the original.

    >>> make = lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    >>> net, x = make(), torch.rand(1, 4)
    >>> small = shrink(net, {"0": torch.arange(6) < 2}, sites(net, x), example=x).model
    >>> export.save(small, folder / "small.safetensors", of=net)
    >>> again = export.load(folder / "small.safetensors", make)
    >>> torch.equal(again(x), small(x))
    True
    """
    if isinstance(make, nn.Module):
        kind = type(make).__name__
        raise InputError(f"make is a network, {kind}; give a function that builds one, for example lambda: {kind}(...)")
    return _made_smaller(make(), _read(Path(path)), str(path), "make")


def content_without(model: nn.Module, of: nn.Module, elsewhere: Collection[str]) -> bytes:
    """A file's content that leaves out tensors, by name, which are kept elsewhere; for `fit_`."""
    refuse_smaller(of, f"{type(model).__name__}.original() gives")
    own, words = _described(model, of)
    return pack({name: tensor for name, tensor in own.items() if name not in elsewhere}, words)


def fit_(model: nn.Module, content: bytes, elsewhere: Mapping[str, Tensor], origin: str) -> nn.Module:
    """Make an original network the one of `content_without`, in place, with the tensors that were kept elsewhere.

    One that has its sizes already stays as it is. InputError, which calls the content `origin`: as of `load`.
    """
    found = _parsed(*unpack(content, origin), origin, elsewhere)
    if {name: tuple(tensor.shape) for name, tensor in named_tensors(model)} == {
        n: h.shape for n, h in found[0].items()
    }:
        return model
    return _made_smaller(model, found, origin, "the class")


def _made_smaller(model: nn.Module, found: Read, origin: str, maker: str) -> nn.Module:
    held, values, _, words = found
    before = is_smaller(model)
    try:
        gone = words.get("skipped", {})
        skip_(model, {name: (each["zero"], each["parts"], *each.get("sizes", ())) for name, each in gone.items()})
        refuse_other_network(model, held, words["classes"], words["settings"])
        change_(model, words["changes"])
        for name in words["narrow"]:
            narrow_(model, name)
    except InputError as error:
        if before:
            refuse_smaller(model, f"{origin} is not of the network that {maker} gives,")
        raise InputError(
            f"{origin} is not of the network that {maker} gives: {error}; {maker} must give the original, unshrunk "
            "network, with the options it was saved with"
        ) from None
    _fill_(model, held, values)
    try:
        changed = [name for name, each in held.items() if each.shape != each.original]
        places = [place for change in words["changes"] for place in change["at"]]
        refuse_unfitting(model, {name.rpartition(".")[0] for name in changed} | {place[0] for place in places})
    except ValueError as error:
        raise not_as_said(origin, error) from error
    if changed or words.get("skipped"):
        note_smaller(model)
    return model


def tensors_of(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All parameters and buffers in a file that `save` wrote, by name, and its masks; no network is built."""
    held, values, masks, _ = _read(Path(path))
    return {name: values[each.same_as or name] for name, each in held.items()}, masks


def _read(path: Path) -> Read:
    """Read a network's file: the description of each tensor, the values, the masks, and the words."""
    return _parsed(*unpack(disk.read(path, "the network"), str(path)), str(path))


def _parsed(
    tensors: dict[str, Tensor], words: dict[str, Any], origin: str, elsewhere: Mapping[str, Tensor] | None = None
) -> Read:
    try:
        WORDS(words, "it")
        held = {name: Held(**each) for name, each in words["tensors"].items()}
        own = {name for name, each in held.items() if each.same_as is None}
        tensors |= {name: tensor for name, tensor in (elsewhere or {}).items() if name in own}
        shapes = {name: each.shape for name, each in held.items() if each.kind == "parameter"}
        masks = beside.taken(words.get("masks", {}), shapes, tensors)
        return held, _values(held, tensors), masks, words
    except (ValueError, RuntimeError) as error:
        raise not_as_said(origin, error) from error


def _narrowed(model: nn.Module, original: nn.Module) -> list[str]:
    """The attentions that shrinking gave sapwood's form of torch's: the one class that it changes."""
    before = dict(original.named_modules(remove_duplicate=False))
    return [
        name
        for name, module in model.named_modules()
        if type(module) is NarrowAttention and type(before.get(name)) is nn.MultiheadAttention
    ]


def _held(model: nn.Module, original: nn.Module) -> dict[str, Held]:
    tensors, before = dict(named_tensors(model)), dict(named_tensors(original))
    _refuse_unfit(tensors)
    if strange := sorted(tensors.keys() ^ before.keys()):
        where = "the network has" if strange[0] in tensors else "the original has"
        raise InputError(
            f"only {where} a tensor {strange[0]!r}; `of` must be the network that this one was shrunk from"
        )
    first: dict[int, str] = {}
    return {
        name: Held(
            kind=kind_of(tensor),
            original=tuple(before[name].shape),
            shape=tuple(tensor.shape),
            stride=None if tensor.is_contiguous() else torch.empty_like(tensor).stride(),
            requires_grad=tensor.requires_grad,
            same_as=None if (same := first.setdefault(id(tensor), name)) == name else same,
        )
        for name, tensor in tensors.items()
    }


def _refuse_unfit(tensors: Mapping[str, Tensor]) -> None:
    """Only plain numbers in memory of their own can be written and come back as what they were."""
    for name, tensor in tensors.items():
        if is_lazy(tensor) or tensor.is_meta:
            raise InputError(
                f"{name!r} has no numbers yet; run the network once, or build it outside torch.device('meta')"
            )
        if tensor.layout is not torch.strided or tensor.is_quantized or type(tensor.data) is not Tensor:
            kind = type(tensor.data).__name__ if tensor.layout is torch.strided else tensor.layout
            raise InputError(f"{name!r} is a {kind}, not a plain dense tensor; convert it (to_dense, dequantize) first")
    refuse_shared_memory(tensors)


def _values(held: Mapping[str, Held], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of their own, as they lay in memory."""
    checkpoint.refuse_half_truths(tensors)
    own = {name: each for name, each in held.items() if each.same_as is None}
    if strange := sorted(own.keys() ^ tensors.keys()):
        raise ValueError(f"{strange[0]!r} is only {'said to be there' if strange[0] in own else 'there'}")
    for name, each in held.items():
        other = own.get(each.same_as or name)
        if other is None or replace(each, same_as=None, original=other.original) != other:
            raise ValueError(f"{name!r} cannot be the same tensor as {each.same_as!r}")
    return {name: _laid_out(name, tensors[name], each) for name, each in own.items()}


def _laid_out(name: str, value: Tensor, held: Held) -> Tensor:
    """In memory as it was: which kernels run, and so the last bits of what they give, depend on it."""
    if held.requires_grad and not (value.is_floating_point() or value.is_complex()):
        raise ValueError(f"{name!r} is said to be trained, and torch does not train {value.dtype}")
    if prod(held.shape) != value.numel() or (value.dim() != 1 and tuple(value.shape) != held.shape):
        raise ValueError(f"{name!r} is said to have shape {held.shape}, and has {tuple(value.shape)}")
    value = value.reshape(held.shape)
    if held.stride is None:
        return value.clone()
    if len(held.stride) != len(held.shape) or not dense(held.shape, held.stride):
        raise ValueError(f"{name!r} has strides {held.stride} for shape {held.shape}")
    return torch.empty_strided(held.shape, held.stride, dtype=value.dtype).copy_(value)


def _fill_(model: nn.Module, held: Mapping[str, Held], values: Mapping[str, Tensor]) -> None:
    """Values into the network's own tensors, which other lists may refer to; new ones where they are tied otherwise."""
    found, used, taken = dict(named_tensors(model)), dict[str, Tensor](), set[int]()
    for name, each in held.items():
        if each.same_as is None:
            mine, value = found[name], values[name].to(found[name].device)
            if id(mine) in taken:
                mine = nn.Parameter(value, each.requires_grad) if each.kind == "parameter" else value
            mine.requires_grad_(False).data = value
            used[name] = mine.requires_grad_(each.requires_grad)
            taken.add(id(mine))
    for name, each in held.items():
        if found[name] is not (same := used[each.same_as or name]):
            module, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(module), attribute, same)
