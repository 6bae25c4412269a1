"""Schedule: when to prune and how much; by the step, or in cycles that a metric sets off."""

import math
from collections.abc import Callable, Sequence

from sapwood.errors import InputError, Names, picked

Schedule = Callable[[int], float | None]  # step -> sparsity from now on; None: nothing to do at this step
Shares = Callable[[float, int], tuple[float, ...]]  # (total sparsity, cycles) -> what each cycle removes of all


# By the step


def once(at: int, sparsity: float) -> Schedule:
    """`sparsity` at step `at`, nothing at any other."""
    if at < 0:
        raise InputError(f"at is {at}; steps are counted from 0")
    _refuse_bad_sparsity("sparsity", sparsity)
    return lambda step: sparsity if step == at else None


def polynomial(
    begin: int, end: int, every: int, final: float, *, initial: float = 0.0, power: float = 3.0, land: bool = True
) -> Schedule:
    """Fast at first, slow at last: s(t) = s_f + (s_i - s_f) (1 - (t - begin) / (end - begin))^power.

    Due at begin, begin + every, ... up to `end`, and at `end` too, so that `final` is reached exactly.
    `land=False` leaves that last one out: unless `every` divides the span, the end falls short of `final`.
    *Paper:* Zhu & Gupta 2017, "To prune, or not to prune", arXiv 1710.01878, eq. 1, where `every` always divides.
    *Differs:* nothing known with power 3; `land=False` is how TensorFlow's pruning toolkit does it.
    """
    if not 0 < power < math.inf:
        raise InputError(f"power is {power}; give a finite number above 0")
    return _ramp(begin, end, every, initial, final, land, lambda p: final + (initial - final) * (1 - p) ** power)


def linear(begin: int, end: int, every: int, final: float, *, initial: float = 0.0, land: bool = True) -> Schedule:
    """Equal amounts each time: `polynomial` with power 1."""
    return polynomial(begin, end, every, final, initial=initial, power=1.0, land=land)


def exponential(begin: int, end: int, every: int, final: float, *, initial: float = 0.0, land: bool = True) -> Schedule:
    """The same fraction of what is left each time: d(t) = d_i (d_f / d_i)^((t - begin) / (end - begin)), d = 1 - s.

    *Paper:* Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow",
    arXiv 2006.05467 (there by round, from density 1). *Differs:* by step; due as in `polynomial`.
    """
    _refuse_bad_sparsity("initial", initial)
    _refuse_bad_sparsity("final", final)
    rate = math.log((1 - final) / (1 - initial))
    return _ramp(begin, end, every, initial, final, land, lambda p: initial - (1 - initial) * math.expm1(p * rate))


def geometric_rounds(final: float, rounds: int) -> tuple[float, ...]:
    """The sparsity after each of so many rounds that all remove the same fraction of what is left: 1 - (1 - s)^(r / n).

    The last is `final` exactly. *Paper:* Han et al. 2015 and Frankle & Carbin 2019 prune so, there by the fraction.
    """
    _refuse_bad_sparsity("final", final)
    if rounds < 1:
        raise InputError(f"rounds is {rounds}; give at least 1")
    rate = math.log1p(-final)
    return (*(-math.expm1(r / rounds * rate) for r in range(1, rounds)), final)


def cosine_share(step: int, end: int, first: float) -> float:
    """The share that moves when masks do: first / 2 (1 + cos(pi step / end)), from `first` to 0 at `end` and after it.

    *Paper:* Evci et al. 2020, arXiv 1911.11134, section 3 (RigL). *Differs:* nothing known.
    """
    if not 0 <= first <= 1:
        raise InputError(f"first is {first}; give a share in [0, 1]")
    if step < 0 or end < 0:
        raise InputError(f"step is {step} and end is {end}; steps are counted from 0")
    return first / 2 * (1 + math.cos(math.pi * step / end)) if step < end else 0.0


def cosine(progress: float) -> float:
    """(1 + cos(pi p)) / 2: from 1 at p = 0 to 0 at p = 1. *Paper:* Loshchilov & Hutter 2017, arXiv 1608.03983."""
    return (1 + math.cos(math.pi * progress)) / 2


def straight(progress: float) -> float:
    """1 - p: from 1 to 0 on a straight line."""
    return 1 - progress


def drops(progress: float) -> float:
    """1, from p = 1 / 2 on 0.1, from p = 3 / 4 on 0.01. *Paper:* Liu et al. 2019, arXiv 1810.05270, CIFAR-10."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def _ramp(
    begin: int, end: int, every: int, initial: float, final: float, land: bool, curve: Callable[[float], float]
) -> Schedule:
    """`curve` of the progress in (0, 1) at the steps that are due, and exactly `initial` and `final` at the ends."""
    _refuse_bad_sparsity("initial", initial)
    _refuse_bad_sparsity("final", final)
    if not 0 <= begin <= end:
        raise InputError(f"begin is {begin} and end is {end}; steps must satisfy 0 <= begin <= end")
    if every < 1:
        raise InputError(f"every is {every}; give at least 1 step")
    low, high = sorted((initial, final))  # rounding must not step outside

    def sparsity(step: int) -> float | None:
        due = begin <= step <= end and ((step - begin) % every == 0 or (land and step == end))
        if not due:
            return None
        if step == end:
            return final
        return initial if step == begin else min(max(curve((step - begin) / (end - begin)), low), high)

    return sparsity


SCHEDULES: dict[str, Callable[..., Schedule]] = Names(
    "schedule",
    {  # each takes (begin, end, every, final, *, initial, land)
        "polynomial": polynomial,
        "linear": linear,
        "exponential": exponential,
    },
)


COURSES: dict[str, Callable[[float], float]] = Names(
    "course",
    {  # of a learning rate: progress in [0, 1) -> factor on it
        "cosine": cosine,
        "straight": straight,
        "drops": drops,
    },
)


def named(name: str) -> Callable[..., Schedule]:
    """The step schedule called `name` in SCHEDULES."""
    return picked("schedule", name, SCHEDULES)


# In cycles: how much


def geometric_shares(total: float, cycles: int, base: float = 0.8) -> tuple[float, ...]:
    """What each cycle removes of the original size, each time `base` times as much: total base^c / sum_i base^i.

    *Paper:* Ganguli & Chong 2024, "Activation-Based Pruning of Neural Networks", Algorithms 17(1):48.
    *Differs:* the paper writes b^n, which leaves the total open; this is the normalised form of the authors' code.
    """
    _refuse_bad_sparsity("total", total)
    _refuse_bad_cycles(cycles)
    if not 0 < base <= 1:
        raise InputError(f"base is {base}; give the factor from one cycle to the next, above 0 and at most 1")
    weights = [base**c for c in range(cycles)]
    whole = math.fsum(weights)
    return tuple(total * weight / whole for weight in weights)


def uniform_shares(total: float, cycles: int) -> tuple[float, ...]:
    """The same share of the original size in each cycle: total / cycles."""
    return geometric_shares(total, cycles, base=1.0)


SHARES: dict[str, Shares] = Names("shares", {"geometric": geometric_shares, "uniform": uniform_shares})


def shares_named(name: str) -> Shares:
    """The way to divide a total over cycles called `name` in SHARES."""
    return picked("shares", name, SHARES)


def counts_of(shares: Sequence[float], size: int) -> tuple[int, ...]:
    """How many entries each cycle removes: floor(size * share), so the sum may fall short of the total by < 1 a cycle.

    A product at most 16 units in the last place below a whole number counts as that number: 0.29 * 100 is 29,
    though in floating point it comes out as 28.999999999999996.
    """
    if size < 1:
        raise InputError(f"size is {size}; give the number of entries that the shares are of, at least 1")
    for share in shares:
        if not 0 <= share <= 1:
            raise InputError(f"a share is {share}; give fractions of the original size in [0, 1]")
    products = [size * share for share in shares]
    removed = tuple(math.floor(product + 16 * math.ulp(product)) for product in products)
    if sum(removed) > size:
        raise InputError(
            f"the shares sum to {math.fsum(shares)} and remove {sum(removed)} of {size}; "
            "give shares that sum to at most 1"
        )
    return removed


# In cycles: when


def marks(first: float, last: float, cycles: int) -> tuple[float, ...]:
    """The metric at which each cycle is due: first + c (last - first) / cycles; `last` itself is never one of them.

    *Paper:* Ganguli & Chong 2024 (first 0.80, training accuracy). *Differs:* the spacing is from the authors' code.
    """
    _refuse_bad_cycles(cycles)
    if not -math.inf < first <= last < math.inf:
        raise InputError(f"marks run from {first} to {last}; they must be finite and not fall")
    return tuple(first + c * (last - first) / cycles for c in range(cycles))


def on_metric(marks: Sequence[float]) -> Callable[[float, int], bool]:
    """(metric, cycles done) -> whether the next cycle is due: metric >= marks[done]; never after the last mark.

    One question, one cycle: a metric that jumps over several marks makes one cycle due now, the next at the next call.
    """
    levels = tuple(marks)
    if not levels or any(math.isnan(level) for level in levels):
        raise InputError(f"marks are {levels}; give at least one, and no NaN")

    def due(metric: float, done: int) -> bool:
        if math.isnan(metric) or done < 0:
            raise InputError(f"metric is {metric} after {done} cycles; give a number, and cycles counted from 0")
        return done < len(levels) and metric >= levels[done]

    return due


def _refuse_bad_sparsity(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{name} is {value}; give a sparsity, the fraction removed, in [0, 1)")


def _refuse_bad_cycles(cycles: int) -> None:
    if cycles < 1:
        raise InputError(f"cycles is {cycles}; give at least 1")
