"""Reductions, sorts, running sums, transforms along dimensions: over positions they pass, over units few may go.

A sum, or a norm, over units misses none that is 0 by itself; how many there are does not count. Means, maxima and all
else count or compare units, so these stay, unless loss is allowed.
"""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.elementwise import elementwise, join
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, varied
from sapwood.shrinking.rules.values import Weight, nobody
from sapwood.shrinking.rules.zero import zero


def reduced(ties: Ties, call: Call) -> Any:
    """Mean, sum, maximum, norm over dimensions, which vanish or become 1."""
    if "other" in call.given:  # maximum of two tensors
        return elementwise(ties, call)
    if any(isinstance(part, Weight) for part in call.parts()):
        return pinned(ties, call, "reduces a parameter")
    if isinstance(call.given.get("q"), Tensor) and call["q"].dim() > 0:
        return pinned(ties, call, "gives several numbers for each unit")
    x = call.ids(ties)
    dims = _dims(call, x)
    x = _over_units(ties, call, x, dims)
    return _outputs(ties, call, x, dims)


def along(ties: Ties, call: Call) -> Any:
    """Sorted, added up, transformed along dimensions, which may change their length: positions, never units."""
    if len(call.parts()) > 1 or isinstance(call.parts()[0], Weight):
        return pinned(ties, call, "goes along a parameter, or along several tensors at once")
    x = call.ids(ties)
    dims = _dims(call, x)
    if set(dims) & set(varied(x)):
        ties.pin(x, call.because("goes along units; only positions may be gone along"))
    return _outputs(ties, call, x, dims)


def triangle(ties: Ties, call: Call) -> Any:
    """What is left of the last two dimensions is cut by places."""
    x = call.ids(ties)
    if set(varied(x)) & {x.dim() - 1, x.dim() - 2}:
        ties.pin(x, call.because("counts positions along units"))
    return ties.now(x)


def distance(ties: Ties, call: Call) -> Any:
    """Cosines and distances of vectors: sums over units of both."""
    one, two = call["x1"], call["x2"]
    if isinstance(one, Weight) or isinstance(two, Weight):
        return pinned(ties, call, "compares with a parameter")
    a, b = ties.now(one), ties.now(two)
    if call.op == "cdist":  # every vector of the one with every vector of the other
        a, b = a.unsqueeze(-2), b.unsqueeze(-3)
    both = join(ties, call, a, b)
    dim = call.given.get("dim", -1) % both.dim()
    return _outputs(ties, call, _over_units(ties, call, both, [dim], zero(ties, one) and zero(ties, two)), [dim])


def _dims(call: Call, x: Tensor) -> list[int]:
    given = next((call.given[name] for name in ("dim", "dims") if call.given.get(name) is not None), None)
    last = 2 if call.op.endswith("fft2") else 1 if call.op.endswith("fft") else x.dim()
    dims = [given] if isinstance(given, int) else given or range(-last, 0)
    return [dim % max(x.dim(), 1) for dim in dims]


def _over_units(ties: Ties, call: Call, x: Tensor, dims: list[int], quiet: bool | None = None) -> Tensor:
    """Ids after what the reduction demands: the units that it goes over belong to nobody behind it."""
    units = set(varied(x))
    if not units & set(dims):
        return x
    if quiet is None:
        quiet = zero(ties, call.given.get("self", call.given.get("input")))
    if _adds(call) and quiet and units <= set(dims):
        ties.quiet.sums.append((thin(x).reshape(-1), call.name))
        ties.ask(x, call.name)
        ties.quiet.doubts.append(ties.quiet.sums[-1])  # that what is left sums up to the same is tried
    elif ties.lossy and call.op in LOSSY and units <= set(dims):
        ties.lose(x)
    else:
        ties.pin(x, call.because(_why(call)))
    return nobody(x.shape)


def _adds(call: Call) -> bool:
    """Whether a 0 more or less changes nothing."""
    order = next((call.given[name] for name in ("ord", "p") if name in call.given), 2)
    positive = order is None or order == "fro" or (isinstance(order, int | float) and order > 0)
    return call.op in SUMS and positive


def _why(call: Call) -> str:
    if _adds(call):
        return "adds up units that are not 0 by themselves when what makes them is 0"
    return "goes over units, whose number counts there"


def _outputs(ties: Ties, call: Call, x: Tensor, dims: list[int]) -> Any:
    outputs = tuple(ties.now(_over(x, dims, len(shape) >= x.dim()).expand(shape)) for shape in call.shapes)
    return outputs if len(outputs) > 1 else outputs[0]


def _over(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        x = x.narrow(dim, 0, 1) if keepdim else x.select(dim, 0)
    return x


SUMS = ("sum", "nansum", "norm", "frobenius_norm", "linalg_vector_norm", "linalg_norm", "cosine_similarity", "cdist")
LOSSY = ("mean", "sum", "norm", "linalg_vector_norm", "var", "std", "var_mean", "std_mean", "amax", "amin")
REDUCED = (
    *LOSSY, "nansum", "nanmean", "frobenius_norm", "linalg_norm", "max", "min", "argmax", "argmin", "aminmax", "prod",
    "logsumexp", "all", "any", "median", "nanmedian", "mode", "kthvalue", "quantile", "nanquantile", "count_nonzero",
)  # fmt: skip
TRANSFORMS = [f"fft_{i}{kind}fft{n}" for i in ("", "i") for kind in ("", "r", "h") for n in ("", "2", "n")]
ALONG = ("sort", "topk", "argsort", "msort", "cumprod", "cummax", "cummin", "logcumsumexp", "diff", *TRANSFORMS)
RULES: dict[str, Any] = (
    dict.fromkeys(REDUCED, reduced)
    | dict.fromkeys(ALONG, along)
    | dict.fromkeys(("tril", "triu"), triangle)
    | dict.fromkeys(("cosine_similarity", "cdist"), distance)
)
