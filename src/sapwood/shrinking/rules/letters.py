"""Letters: a name for every axis of what an operator multiplies, as in an einsum, and for the axes of the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sapwood.shrinking.rules.call import Call
from sapwood.shrinking.rules.strides import steady, varied
from sapwood.shrinking.rules.values import Value, Weight, nobody, walk


@dataclass(frozen=True)
class Factor:
    """A tensor and the names of its axes."""

    value: Value
    axes: tuple[str, ...]

    def sizes(self) -> dict[str, int]:
        """How long each axis is."""
        return dict(zip(self.axes, self.value.shape, strict=True))


def dropped(factor: Factor, names: set[str]) -> Factor:
    """Without these axes: whose units lie there, those are nobody's then."""
    gone = {dim for dim, name in enumerate(factor.axes) if name in names}
    where = tuple(0 if dim in gone else slice(None) for dim in range(len(factor.axes)))
    axes = tuple(name for name in factor.axes if name not in names)
    first = lambda x: nobody(x[where].shape) if gone & set(varied(x)) else x[where]  # noqa: E731
    return Factor(each_of(factor.value, first), axes) if gone else factor


def each_of(value: Value, function: Callable[[Tensor], Tensor]) -> Value:
    """A function of every id tensor of a value."""
    if isinstance(value, Tensor):
        return function(value)
    return Weight(value.name, tuple(steady(function(layer)) for layer in value.layers))


Product = tuple[list[Factor], list[str]]  # the factors, and the axes of the answer


def leading(count: int) -> list[str]:
    """Names for `count` axes, the same for tensors that line up from the right."""
    return [f"axis -{back}" for back in range(count, 0, -1)]


def einsum(call: Call) -> Product:
    """Letters as they are."""
    tensors = list(walk(call["tensors"]))
    *each, answer = letters_of(call["equation"], tensors)
    return [Factor(x, tuple(axes)) for x, axes in zip(tensors, each, strict=True)], answer


def matmul(call: Call) -> Product:
    """Matrices, for each of a batch that lines up from the right, or vectors."""
    left, right = (call.given[name] for name in operands(call))
    a, b = len(left.shape), len(right.shape)
    batch = leading(max(a - 2, b - 2, 0))
    rows, columns = ["m"] * (a > 1), ["n"] * (b > 1)
    first = [*batch[len(batch) - max(a - 2, 0) :], *rows, "k"]
    second = [*batch[len(batch) - max(b - 2, 0) :], "k", *columns]
    return [Factor(left, tuple(first)), Factor(right, tuple(second))], [*batch, *rows, *columns]


def operands(call: Call) -> tuple[str, str]:
    """The names of the two factors in the operator's signature."""
    pairs = (("batch1", "batch2"), ("mat1", "mat2"), ("mat", "vec"), ("vec1", "vec2"), ("self", "mat2"),
             ("self", "vec2"), ("self", "vec"), ("self", "tensor"), ("input", "other"), ("self", "other"),
             ("input", "weight"))  # fmt: skip
    return next(pair for pair in pairs if set(pair) <= set(call.given))


def inner(call: Call) -> Product:
    """The last axis of both."""
    left, right = (call.given[name] for name in operands(call))
    first = [f"left {n}" for n in range(len(left.shape) - 1)]
    second = [f"right {n}" for n in range(len(right.shape) - 1)]
    return [Factor(left, (*first, "k")), Factor(right, (*second, "k"))], [*first, *second]


def outer(call: Call) -> Product:
    """Each number of the one times each of the other."""
    left, right = (call.given[name] for name in operands(call))
    return [Factor(left, ("m",)), Factor(right, ("n",))], ["m", "n"]


def tensordot(call: Call) -> Product:
    """The axes that are named."""
    left, right = call["self"], call["other"]
    first = [f"left {n}" for n in range(len(left.shape))]
    second = [f"right {n}" for n in range(len(right.shape))]
    for n, (a, b) in enumerate(zip(call["dims_self"], call["dims_other"], strict=True)):
        first[a] = second[b] = f"k {n}"
    summed = set(first) & set(second)
    return [Factor(left, tuple(first)), Factor(right, tuple(second))], [a for a in first + second if a not in summed]


def chain(call: Call) -> Product:
    """Matrices, one after another; at the ends there may be vectors."""
    given = list(walk(call.given.get("matrices", call.given.get("tensors"))))
    vectors = [len(x.shape) == 1 for x in given]
    axes: list[tuple[str, ...]] = [(f"{n}", f"{n + 1}") for n in range(len(given))]
    axes[0], axes[-1] = axes[0][1 if vectors[0] else 0 :], axes[-1][: 1 if vectors[-1] else 2]
    answer = [*([] if vectors[0] else ["0"]), *([] if vectors[-1] else [f"{len(given)}"])]
    return [Factor(x, names) for x, names in zip(given, axes, strict=True)], answer


def linear(call: Call) -> Product:
    """x Wᵀ."""
    x, w = call["input"], call["weight"]
    batch, rows = leading(len(x.shape) - 1), ["o"][: len(w.shape) - 1]
    return [Factor(x, (*batch, "i")), Factor(w, (*rows, "i"))], [*batch, *rows]


def grouped(call: Call) -> Product:
    """Rows of an activation times the matrix of the expert they were sent to."""
    left, right = (call.given[name] for name in operands(call))
    if len(left.shape) == 2 and len(right.shape) == 3:
        return [Factor(left, ("m", "k")), Factor(right, ("e", "k", "n"))], ["m", "n"]
    return matmul(call)


def letters_of(equation: str, tensors: Sequence[Value]) -> list[list[str]]:
    """Names of the axes of all tensors and of the answer; "..." lines up from the right."""
    terms, arrow, answer = equation.replace(" ", "").partition("->")
    parts = terms.split(",")
    few = [len(value.shape) - len(part.replace("...", "")) for part, value in zip(parts, tensors, strict=True)]
    if not arrow:  # letters that stand there once, in the alphabet's order
        letters = terms.replace("...", "").replace(",", "")
        answer = "..." * ("..." in terms) + "".join(sorted(c for c in letters if letters.count(c) == 1))
    return [_named(part, count) for part, count in zip([*parts, answer], [*few, max(few)], strict=True)]


def _named(part: str, dots: int) -> list[str]:
    before, ellipsis, after = part.partition("...")
    return [*before, *(leading(dots) if ellipsis else []), *after]


LETTERS: Mapping[str, Callable[[Call], Product]] = (
    dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "addmv", "linalg_matmul"), matmul)
    | dict.fromkeys(("outer", "ger", "addr"), outer)
    | dict.fromkeys(("chain_matmul", "linalg_multi_dot"), chain)
    | {"einsum": einsum, "inner": inner, "tensordot": tensordot, "linear": linear}
    | dict.fromkeys(
        ("_grouped_mm", "transformers.grouped_mm_fallback"), grouped
    )  # torch's own, and that of transformers
)
