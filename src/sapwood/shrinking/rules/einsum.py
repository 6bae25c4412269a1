"""Products by letters: what an einsum can say, whatever it is written as.

A letter of a weight and an activation that is summed is read; a letter of the weight alone is made. Heads may be
letters of a weight of their own: then a number belongs to a head and to a place in it, and `Ties` runs once for each.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.contraction import added, multiplied
from sapwood.shrinking.rules.elementwise import join
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.letters import LETTERS, Factor, dropped, each_of
from sapwood.shrinking.rules.strides import steady, thin, varied
from sapwood.shrinking.rules.values import CONSTANT, Value, Weight, nobody
from sapwood.shrinking.rules.weights import over
from sapwood.shrinking.rules.zero import zero

APART = "goes through these one by one"


def product(ties: Ties, call: Call) -> Any:
    """Two factors or more, from left to right."""
    factors, answer = LETTERS[call.op](call)
    if any(len(set(factor.axes)) < len(factor.axes) for factor in factors):
        return pinned(ties, call, "takes a diagonal")
    if any(len(factor.value.shape) != len(factor.axes) for factor in factors):  # of code that runs in a mode of its own
        return pinned(ties, call, "multiplies what no rule knows")
    quiet = len(factors) == 2 and any(isinstance(x.value, Tensor) and zero(ties, x.value) for x in factors)
    factors = _of_one_size(factors)
    left = factors[0]
    for n, right in enumerate(factors[1:], start=2):
        left = _pair(ties, call, left, right, {*answer, *(name for x in factors[n:] for name in x.axes)}, quiet)
    return added(ties, call, _as(_summed(ties, call, left, set(answer)), answer, call.shape))


def _of_one_size(factors: Sequence[Factor]) -> list[Factor]:
    """Without axes of size 1 that another factor has in full length: those are broadcast."""
    longest: dict[str, int] = {}
    for factor in factors:
        longest |= {name: max(size, longest.get(name, 1)) for name, size in factor.sizes().items()}
    return [dropped(x, {name for name, size in x.sizes().items() if size == 1 < longest[name]}) for x in factors]


def _as(factor: Factor, answer: Sequence[str], shape: torch.Size) -> Value:
    """In the answer's order of axes."""
    return each_of(factor.value, lambda x: _over(x, factor.axes, answer, factor.sizes()).expand(shape))


def _over(ids: Tensor, axes: Sequence[str], names: Sequence[str], sizes: dict[str, int]) -> Tensor:
    """Ids with these axes, placed on others of which they have some; all of theirs that vary are among these."""
    few = thin(ids)
    kept = [dim for dim, name in enumerate(axes) if name in names]
    gone = [dim for dim, name in enumerate(axes) if name not in names]
    for dim in sorted(gone, reverse=True):
        few = few.select(dim, 0)
    have = [axes[dim] for dim in kept]
    few = few.permute([have.index(name) for name in names if name in have])
    placed = iter(few.shape)
    few = few.reshape([next(placed) if name in have else 1 for name in names])
    return few.expand([sizes.get(name, 1) for name in names])


def _pair(ties: Ties, call: Call, a: Factor, b: Factor, later: set[str], quiet: bool) -> Factor:
    a, b = _summed(ties, call, a, later | {*b.axes}), _summed(ties, call, b, later | {*a.axes})
    if isinstance(a.value, Weight) and isinstance(b.value, Weight):
        return _of_weights(ties, call, a, b, later)
    if isinstance(a.value, Weight):
        return _read(ties, call, b, a, later)
    if isinstance(b.value, Weight):
        return _read(ties, call, a, b, later)
    return _of_activations(ties, call, a, b, later, quiet)


def _summed(ties: Ties, call: Call, x: Factor, stay: set[str]) -> Factor:
    """Without axes that nobody else has: they are summed."""
    gone = {dim for dim, name in enumerate(x.axes) if name not in stay}
    if not gone:
        return x
    axes = tuple(name for name in x.axes if name in stay)
    if isinstance(x.value, Weight):
        return Factor(over(ties, call, x.value, gone, keepdim=False), axes)
    ids = ties.now(x.value)
    if gone & set(varied(ids)):
        ties.pin(ids, call.because("sums over units"))
    return Factor(ties.now(ids[tuple(0 if dim in gone else slice(None) for dim in range(ids.dim()))]), axes)


def _of_activations(ties: Ties, call: Call, a: Factor, b: Factor, later: set[str], quiet: bool) -> Factor:
    """As a product of matrices: [batch, left, summed] times [batch, summed, right]."""
    assert isinstance(a.value, Tensor)
    assert isinstance(b.value, Tensor)
    sizes = a.sizes() | b.sizes()
    both = [name for name in a.axes if name in b.axes]
    batch, summed = [n for n in both if n in later], [n for n in both if n not in later]
    left, right = [n for n in a.axes if n not in both], [n for n in b.axes if n not in both]
    x, y = ties.now(a.value), ties.now(b.value)
    answer = (*batch, *left, *right)
    if not summed:
        found = join(ties, call, _over(x, a.axes, answer, a.sizes() | dict.fromkeys(right, 1)),
                     _over(y, b.axes, answer, b.sizes() | dict.fromkeys(left, 1)))  # fmt: skip
        return Factor(ties.now(found.expand([sizes[name] for name in answer])), answer)
    size = {part: prod(sizes[name] for name in names) for part, names in (("l", left), ("c", summed), ("r", right))}
    places = [sizes[name] for name in batch]
    x = steady(_over(x, a.axes, [*batch, *left, *summed], sizes).reshape(*places, size["l"], size["c"]))
    y = steady(_over(y, b.axes, [*batch, *summed, *right], sizes).reshape(*places, size["c"], size["r"]))
    found = multiplied(ties, call, x, y, quiet=quiet)
    return Factor(steady(found.reshape([sizes[name] for name in answer])), answer)


def _read(ties: Ties, call: Call, x: Factor, w: Factor, later: set[str]) -> Factor:
    """An activation times a weight."""
    assert isinstance(x.value, Tensor)
    assert isinstance(w.value, Weight)
    both = [name for name in x.axes if name in w.axes]
    batch, summed = [n for n in both if n in later], [n for n in both if n not in later]
    rest, made = [n for n in x.axes if n not in both], [n for n in w.axes if n not in both]
    ids, sizes = ties.now(x.value), x.sizes() | w.sizes()
    lying = {x.axes[dim] for dim in varied(ids)}
    answer = (*batch, *rest, *made)
    if lying and not lying & set(summed) and (lying & set(rest) or not lying <= set(batch)):
        ties.pin(ids, call.because("keeps the dimension along which units lie"))
    if lying and lying <= set(batch):
        return Factor(_beside(ties, call, x, w, batch, answer, sizes), answer)
    reads = _columns(ties, call, _over_all(ids, x.axes, summed), w, summed)
    rows, out = _rows(ties, call, w, made)
    for layer in _layers(w, batch):
        ties.pin(layer, call.because(APART)) if not ties.looking else None
    ties.mark(makes=rows, reads=reads)
    return Factor(ties.now(_over(out, made, answer, sizes).expand([sizes[name] for name in answer])), answer)


def _beside(
    ties: Ties, call: Call, x: Factor, w: Factor, batch: list[str], answer: Sequence[str], sizes: dict[str, int]
) -> Tensor:
    """Units lie along axes that both keep: the weight holds numbers for each, such as one matrix for each head."""
    assert isinstance(x.value, Tensor)
    assert isinstance(w.value, Weight)
    ids = _over(ties.now(x.value), x.axes, batch, sizes)
    here = _layers(w, batch)
    for layer in w.value.layers:
        if not any(layer is other for other in here):
            ties.pin(layer, call.because(APART))
    for layer in here:
        ids = ties.meet(ids, _over(layer, w.axes, batch, sizes), call.because("meets numbers that belong to no unit"))
    if not here:
        ties.pin(ids, call.because("meets numbers that belong to no unit"))
    return ties.now(_over(ids.expand([sizes[name] for name in batch]), batch, answer, sizes))


def _layers(w: Factor, names: Sequence[str]) -> list[Tensor]:
    """The weight's layers that change along some of these axes."""
    assert isinstance(w.value, Weight)
    return [layer for layer in w.value.layers if {w.axes[dim] for dim in varied(layer)} & set(names)]


def _within(ties: Ties, call: Call, w: Factor, names: Sequence[str]) -> list[Tensor]:
    """Those that change along these axes only; others stay."""
    found = []
    for layer in _layers(w, names):
        if {w.axes[dim] for dim in varied(layer)} <= set(names):
            found.append(layer)
        else:
            ties.pin(layer, call.because("reads a reshaped weight"))
    return found


def _over_all(ids: Tensor, axes: Sequence[str], summed: Sequence[str]) -> Tensor:
    """[N, *summed]: what is read, the axes that are summed last."""
    first = [dim for dim, name in enumerate(axes) if name not in summed]
    few = thin(ids.permute(*first, *(axes.index(name) for name in summed)))
    few = few.reshape(-1, *few.shape[len(first) :])
    return steady(few.expand(-1, *(ids.shape[axes.index(name)] for name in summed)))


def _columns(ties: Ties, call: Call, x: Tensor, w: Factor, summed: Sequence[str]) -> Tensor:
    """Tie what is read, [N, *summed], to the weight's positions that read it; these, [..]."""
    layers = _within(ties, call, w, summed)
    if not layers:
        ties.pin(x, call.because("reads units by numbers that are the same for all"))
        return nobody((0,))
    sizes = w.sizes()
    placed = [_over(layer, w.axes, summed, sizes) for layer in layers]
    if len(layers) > 1:
        if ties.looking:
            ties.unsure = True
            return nobody((0,))
        x = ties.grid(x) if len(varied(x)) > 1 else x
        which = next(
            (n for n, at in enumerate(placed) if varied(at) and varied(at)[-1] + 1 in varied(x)), len(placed) - 1
        )
        for layer in (layer for n, layer in enumerate(layers) if n != which):
            ties.pin(layer, call.because("reads units by their other dimension"))
        layers, placed = [layers[which]], [placed[which]]
    ties.meet(x, placed[0], call.because("reads numbers that belong to no unit"))
    return thin(layers[0]).flatten()


def _rows(ties: Ties, call: Call, w: Factor, made: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(the weight's positions that make units, [..]; the ids of what is made, over the axes `made`)."""
    layers, sizes = _within(ties, call, w, made), w.sizes()
    shape = [sizes[name] for name in made]
    if not layers:
        return nobody((0,)), nobody(tuple(shape))
    placed = [_over(layer, w.axes, made, sizes) for layer in layers]
    if len(layers) == 1:
        return thin(layers[0]).flatten(), placed[0]
    ties.unsure = True
    new = ties.fresh(prod(shape)).view(shape)
    if ties.looking:
        ties.heads.append(new.reshape(-1, shape[-1]))
        ties.grids.append((new, [at.expand(shape) for at in placed]))
        return nobody((0,)), new
    new = ties.now(new)
    new = ties.grid(new) if len(varied(new)) > 1 else new
    which = next((n for n, at in enumerate(placed) if varied(at) == varied(new)), -1)
    for n, layer in enumerate(layers):
        if n != which:
            ties.pin(layer, call.because("makes units by its other dimension"))
    if which < 0:
        ties.pin(new, call.because("makes units by several dimensions of a weight"))
        return nobody((0,)), new
    ties.tie(new, placed[which])
    return thin(layers[which]).flatten(), ties.now(new)


def _of_weights(ties: Ties, call: Call, a: Factor, b: Factor, later: set[str]) -> Factor:
    """A weight from two: their rows and columns, such as those of low-rank adapters, and units of their own between."""
    assert isinstance(a.value, Weight)
    assert isinstance(b.value, Weight)
    sizes = a.sizes() | b.sizes()
    both = [name for name in a.axes if name in b.axes]
    answer = (
        *(n for n in both if n in later),
        *(n for n in a.axes if n not in both),
        *(n for n in b.axes if n not in both),
    )
    shape = [sizes[name] for name in answer]
    summed = [name for name in both if name not in later]
    first, second = _within(ties, call, a, summed), _within(ties, call, b, summed)
    for layer in first:
        alike = [other for other in second if _names(a, layer) == _names(b, other)]
        _between(ties, call, layer, alike, lambda x: _over(x, b.axes, a.axes, sizes))
    for layer in second if len(first) != len(second) else []:
        ties.pin(layer, call.because("sums over a dimension of a weight"))
    layers = [nobody(tuple(shape), CONSTANT)]
    for factor, other in ((a, b), (b, a)):
        for layer in (x for x in factor.value.layers if varied(x) and _names(factor, x) <= set(answer)):  # type: ignore[union-attr]
            if _names(factor, layer) & set(other.axes):
                ties.pin(layer, call.because("multiplies matrices of two weights one by one"))
            else:
                layers.append(_over(layer, factor.axes, answer, sizes).expand(shape))
    return Factor(Weight("", tuple(layers)), answer)


def _names(factor: Factor, layer: Tensor) -> set[str]:
    return {factor.axes[dim] for dim in varied(layer)}


def _between(ties: Ties, call: Call, layer: Tensor, alike: list[Tensor], turned: Any) -> None:
    """Units between two weights: the left one reads them, the right one makes them."""
    if len(alike) != 1:
        ties.pin(layer, call.because("sums over a dimension of a weight"))
        return
    left, right = thin(layer), thin(alike[0])
    ties.tie(layer, turned(alike[0]))
    ties.mark(makes=right.flatten(), reads=left.flatten(), inner=True)


RULES = dict.fromkeys(LETTERS.keys() - {"linear"}, product)
