"""Indexing: numbers taken from places, or put into places, along dimensions on which no units lie."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.elementwise import join
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.positions import along as along_weight
from sapwood.shrinking.rules.strides import varied
from sapwood.shrinking.rules.values import Weight, nobody

COUNTED = "counts positions along units"


def indexed(ties: Ties, call: Call) -> Any:
    """Places named by numbers or by a mask: along them positions are counted, other dimensions are as they were."""
    value, indices = call["self"], call["indices"]
    if isinstance(value, Weight):
        dims = [dim for dim, index in enumerate(indices) if index is not None]
        if len(dims) != 1:
            return pinned(ties, call, "names places in several dimensions of a parameter")
        return Weight(value.name, tuple(_taken(ties, call, layer, dims) for layer in value.layers))
    ids = ties.now(value)
    named = _named(indices, ids.dim(), len(call.shape))
    if not named:
        return pinned(ties, call, "names places in a way that no rule knows")
    return ties.now(_taken(ties, call, ids, named))


def _named(indices: list[Any], dims: int, after: int | None = None) -> list[int]:
    """The dimensions that indices stand for; a mask of several dimensions stands for as many. None known: empty.

    `after`: how many dimensions the outcome has. By it a mask is told from numbers of as many dimensions.
    """
    given = [(at, index.dim()) for at, index in enumerate(indices) if index is not None]
    plain = [at for at, _ in given]
    if all(size <= 1 for _, size in given) or after == dims - len(given) + max(size for _, size in given):
        return plain
    masks = [at + extra for at, size in given for extra in range(size)] if len(given) == 1 else []
    return masks if after is None or after == dims - len(masks) + 1 else []


def _taken(ties: Ties, call: Call, ids: Tensor, dims: list[int]) -> Tensor:
    if set(dims) & set(varied(ids)):
        ties.pin(ids, call.because(COUNTED))
        return nobody(call.shape)
    few = ids
    for dim in reversed(dims):
        few = few.select(dim, 0)
    new = len(call.shape) - few.dim()
    side_by_side = dims == list(range(dims[0], dims[0] + len(dims)))
    first = dims[0] if side_by_side else 0  # torch puts what stands for separate dimensions in front
    return few.reshape(*few.shape[:first], *([1] * new), *few.shape[first:]).expand(call.shape)


def put(ties: Ties, call: Call) -> Any:
    """y[places] = values: what is put is the unit's that is there."""
    value, indices, values = call["self"], call["indices"], call["values"]
    if not isinstance(value, Tensor) or not isinstance(values, Tensor):
        return pinned(ties, call, "puts parameters into places")
    ids, masks = ties.now(value), [index for index in indices if index is not None]
    if len(masks) == 1 and masks[0].shape == ids.shape and values.numel() == 1:  # number by number
        return join(ties, call, ids, ties.now(masks[0])).expand(call.shape)
    dims = _named(indices, ids.dim())
    if not dims or set(dims) & set(varied(ids)):
        return pinned(ties, call, COUNTED)
    few = ids
    for dim in reversed(dims):
        few = few.select(dim, 0)
    new = max((index.dim() for index in masks), default=0) if len(dims) == len(masks) else 1
    side_by_side = dims == list(range(dims[0], dims[0] + len(dims)))
    first = dims[0] if side_by_side else 0
    few = few.reshape(*few.shape[:first], *([1] * new), *few.shape[first:])
    few = join(ties, call, few, ties.now(values))
    for dim in range(first, first + new):
        few = few.narrow(dim, 0, 1)
    few = few.reshape(*few.shape[:first], *few.shape[first + new :])
    for dim in dims:
        few = few.unsqueeze(dim)
    return ties.now(few.expand(ids.shape))


def picked_along(ties: Ties, call: Call) -> Any:
    """index_select, gather: places along one dimension. An index as large as what it goes through has its units."""
    value, index = call["self"], call.given.get("index", call.given.get("indices"))
    if not isinstance(value, Tensor) or not isinstance(index, Tensor):
        return pinned(ties, call, "takes places of a parameter")
    ids, dim = ties.now(value), _dim(call, value)
    if dim is None or dim in varied(ids):
        return pinned(ties, call, COUNTED)
    few, at = ids.narrow(dim, 0, 1), ties.now(index)
    if call.op == "take_along_dim":  # an index of size 1 is the same for all
        few = join(ties, call, few, at.narrow(dim, 0, 1)) if varied(at) else few
    elif call.op == "gather":
        beside = _beside(ties, call, few, at.narrow(dim, 0, 1))
        if beside is None:
            return pinned(ties, call, "takes some units by their places")
        few = beside
    return ties.now(few.expand(call.shape))


def placed_along(ties: Ties, call: Call) -> Any:
    """index_add, scatter: what comes from a source is the unit's that is there."""
    value, index = call["self"], call["index"]
    source = next((call.given[name] for name in ("src", "source") if name in call.given), None)
    if not all(isinstance(part, Tensor) for part in (value, index)) or isinstance(source, Weight):
        return pinned(ties, call, "puts parameters into places")
    ids, dim = ties.now(value), _dim(call, value)
    parts = [part for part in (index, source) if isinstance(part, Tensor) and part.dim() == ids.dim() > 0]
    if dim is None or any(dim in varied(ties.now(part)) for part in (ids, *parts)):
        return pinned(ties, call, COUNTED)
    few: Tensor | None = ids.narrow(dim, 0, 1)
    if index.dim() == ids.dim() > 1:
        few = _beside(ties, call, ids.narrow(dim, 0, 1), ties.now(index).narrow(dim, 0, 1))
    if few is None:
        return pinned(ties, call, "puts some units into places")
    if isinstance(source, Tensor) and source.dim() == ids.dim():
        few = join(ties, call, few, ties.now(source).narrow(dim, 0, 1))
    return ties.now(few.expand(call.shape))


def _beside(ties: Ties, call: Call, few: Tensor, other: Tensor) -> Tensor | None:
    """Both number by number. An index written for all units must be as long as there are; shorter ones cut them."""
    units = {*varied(few), *varied(other)}
    if any(few.shape[dim] != other.shape[dim] for dim in units):
        return None
    if not varied(other):  # an index that is the same for all units: its size follows theirs, or is refused
        if units:
            ties.ask(few, call.name)
        return few
    if not varied(few):
        return None
    return join(ties, call, few, other)


def _dim(call: Call, value: Tensor) -> int | None:
    dim = call.given.get("dim")
    return dim % value.dim() if isinstance(dim, int) and value.dim() else None


def into(ties: Ties, call: Call) -> Any:
    """A tensor with another one in place of a slice of it."""
    value, source = call["self"], call["src"]
    if not (isinstance(value, Tensor) and isinstance(source, Tensor)):
        return pinned(ties, call, "puts parameters into places")
    ids, dim = ties.now(value), _dim(call, value)
    if dim is None or dim in varied(ids):
        return pinned(ties, call, COUNTED)
    few = ids.select(dim, 0) if call.op == "select_scatter" else ids.narrow(dim, 0, 1)
    few = join(ties, call, few, ties.now(source))
    return ties.now((few.unsqueeze(dim) if call.op == "select_scatter" else few.narrow(dim, 0, 1)).expand(call.shape))


def bag(ties: Ties, call: Call) -> Any:
    """Sums or means of rows looked up by the input: the columns are the units."""
    if not isinstance(call["weight"], Weight):
        return pinned(ties, call, "has a computed weight")
    rows = along_weight(ties, call["weight"], 1, call.because("reads a reshaped weight"))
    ties.mark(makes=rows, reads=nobody((0,)))
    return (ties.now(rows.expand(call.shape)), *(nobody(shape) for shape in call.shapes[1:]))


def unfolded(ties: Ties, call: Call) -> Any:
    """The numbers around every pixel, one after another, as many for each channel as a window has; or back again."""
    ids = call.ids(ties)
    windows, first = 1, ids.dim() - (3 if call.op == "im2col" else 2)
    for size in call["kernel_size"]:
        windows *= size
    if set(varied(ids)) - {first}:
        ties.pin(ids, call.because("has units along pixels"))
    ids_C = ids.movedim(first, 0).flatten(1)[:, 0]
    back = call.op == "col2im"
    ids_C = ties.tie_over(ids_C.view(-1, windows), 1)[:, 0] if back else ids_C.repeat_interleave(windows)
    return ties.now(ids_C.view(-1, *([1] * (len(call.shape) - first - 1))).expand(call.shape))


RULES: dict[str, Any] = (
    {"index": indexed, "index_put": put, "im2col": unfolded, "col2im": unfolded}
    | dict.fromkeys(("index_select", "gather", "take_along_dim"), picked_along)
    | dict.fromkeys(("index_add", "index_copy", "index_fill", "index_reduce", "scatter", "scatter_add",
                     "scatter_reduce"), placed_along)
    | dict.fromkeys(("select_scatter", "slice_scatter"), into)
    | dict.fromkeys(("embedding_bag", "_embedding_bag"), bag)
)  # fmt: skip
