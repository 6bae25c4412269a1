"""Words: sentences about paired differences, so that nothing is said which the numbers do not say."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from sapwood.study.grid import MINUS, NO_BREAK
from sapwood.study.seeds import Seeds, summed_up
from sapwood.study.several import ALPHA, detectable, holm, p_value
from sapwood.study.study import Finding
from sapwood.study.table import Summary

Pairs = Mapping[str, Seeds]  # what is compared -> the differences, seed by seed
MISSING = "the arms for it have not been run"
APART = "cannot be told apart"


def finding(claim: str, answer: str, *sentences: str) -> Finding:
    """The claim, the answer, and the numbers; without rows there is no answer."""
    return Finding(
        claim, answer.strip() or f"It cannot be said: {MISSING}.", " ".join(each for each in sentences if each)
    )


def count(of: str, pairs: Pairs, more: str, less: str) -> str:
    """ "3 of 12 pruned networks are better than S, 2 worse; 7 cannot be told apart (true differences below 1.1 to 4.1
    would be missed)." Empty without any seed.
    """
    known = {label: found for label, values in pairs.items() if (found := summed_up(values))}
    said = Counter(told(each, more, less) for each in known.values())
    missed = {APART: _missed(pairs[label] for label, found in known.items() if told(found, more, less) == APART)}
    rest = "".join(f"; {said[word]} {word}{missed.get(word, '')}" for word in said if word not in (more, less))
    return f"{said[more]} of {len(known)}{of} are {more}, {said[less]} {less}{rest}." if known else ""


def _missed(pairs: Iterable[Seeds]) -> str:
    """What so few seeds with such a spread find in less than four of five cases, as a remark."""
    least = sorted(found for values in pairs if (found := detectable(values.values())))
    if not least:
        return ""
    low, high = f"{least[0]:.2g}", f"{least[-1]:.2g}"
    return f" (true differences below {low if low == high else f'{low} to {high}'} would be missed)"


def sentence(start: str, pairs: Pairs, more: str, less: str, decimals: int | None = 2) -> str:
    """ "Zeros: more in 3 of 12: G1 (+1.20 [0.30, 2.10], n = 5), ...; fewer in 1: ...", or without decimals only how
    many; empty without any seed.
    """
    known = {label: found for label, values in pairs.items() if (found := summed_up(values))}
    groups: dict[str, list[str]] = {more: [], less: []}
    for label, found in known.items():
        said = label if decimals is None else f"{label} ({difference(found, decimals)})"
        groups.setdefault(told(found, more, less), []).append(said)
    parts = [
        f"{word} in {len(each)}" + (f" of {len(known)}" if word == more else "") + _which(each, decimals)
        for word, each in groups.items()
        if each or word == more
    ]
    return f"{start}: {'; '.join(parts)}." if known else ""


def corrected(start: str, pairs: Pairs) -> str:
    """ "Last weights, corrected for 12 comparisons (Holm): left is none; lowest p 0.153." Empty for fewer than two."""
    values = {label: p for label, seeds in pairs.items() if (p := p_value(seeds.values())) is not None}
    if len(values) < 2:
        return ""
    found = holm(values)
    left = ", ".join(label for label, p in found.items() if p < ALPHA) or "none"
    return (
        f"{start}, corrected for {len(values)} comparisons (Holm): left is {left}; lowest p {min(found.values()):.3f}."
    )


def _which(labels: Sequence[str], decimals: int | None) -> str:
    return f": {', '.join(labels)}" if labels and decimals is not None else ""


def difference(found: Summary | None, decimals: int = 2) -> str:
    """ "+1.20 [0.30, 2.10], n = 5"; where no seed differs in the digits shown, it says so."""
    if found is None:
        return MISSING
    mean, seeds = _signed(found.mean, decimals), f"n{NO_BREAK}={NO_BREAK}{found.n}"
    if found.low is None or found.high is None:
        return f"{mean}, {seeds}"
    low, high = _signed(found.low, decimals), _signed(found.high, decimals)
    return f"{mean}, the same in every seed, {seeds}" if low == high else f"{mean} [{low},{NO_BREAK}{high}], {seeds}"


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", MINUS)


def told(difference: Summary | None, more: str = "higher", less: str = "lower", neither: str = APART) -> str:
    """What a paired difference says: a direction only where its 95 % interval leaves out 0, else `neither`."""
    if difference is None or difference.low is None or difference.high is None:
        return "cannot be told" if difference is None else "cannot be told from one seed"
    return more if difference.low > 0 else less if difference.high < 0 else neither


def each_as(every: Pairs, change: Callable[[float], float]) -> Pairs:
    """Every number changed in the same way."""
    return {label: {seed: change(value) for seed, value in values.items()} for label, values in every.items()}


def turned(pairs: Pairs) -> Pairs:
    """The second minus the first."""
    return {label: {seed: -value for seed, value in values.items()} for label, values in pairs.items()}


def there(pairs: Pairs) -> Pairs:
    """The comparisons of which there are any seeds."""
    return {label: values for label, values in pairs.items() if values}
