"""Thresholds: keep what is large enough. The sparsity follows from the threshold; `select` fixes the sparsity."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from sapwood import processes
from sapwood.currency import Masks
from sapwood.errors import InputError

SCOPES = ("per_layer", "everywhere")


def numbers(option: str, text: str, names: Iterable[str]) -> dict[str, float]:
    """Numbers for `names` from an option's text: "1.2" for all, or "1.2 1.2 0.8", one each; else InputError."""
    layers = list(names)
    try:
        values = [float(word) for word in text.split()]
    except ValueError as error:
        raise InputError(f"{option} is {text!r}; give numbers, as in '1.2' or '1.2 1.2 0.8'") from error
    if len(values) not in (1, len(layers)) or not all(abs(value) < float("inf") for value in values):
        raise InputError(f"{option} is {text!r}; give one number, or {len(layers)}: for {', '.join(layers)}")
    return dict(zip(layers, values * len(layers) if len(values) == 1 else values, strict=True))


def of_deviations(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], factors: Mapping[str, float]) -> Masks:
    """|w| >= factor * std(w) stays, the standard deviation that of the weights still kept.

    *Paper:* Han et al. 2015, "Learning both weights and connections for efficient neural networks".
    *Differs:* whether removed weights count in the paper is not said; here they do not, or each round would cut lower.
    """
    found = {}
    for name, w in ((name, processes.whole(w)) for name, w in weights.items()):
        keep = masks.get(name, torch.ones_like(w, dtype=torch.bool))
        found[name] = keep & (w.abs() >= factors[name] * deviation(w[keep]))
    return found


def deviation(values: Tensor) -> float:
    """Population standard deviation of the values (n in the denominator); 0 for an empty tensor."""
    return float(values.double().std(correction=0)) if values.numel() else 0.0


def surgical(values: Tensor, c: float) -> float:
    """Threshold max(mean|v| + c std|v|, 0) around which weights are removed or come back.

    *Paper:* Guo et al. 2016, arXiv 1608.04493; the formula is from the authors' code.
    """
    sizes = values.abs()
    return max(float(sizes.double().mean()) + c * deviation(sizes), 0.0)


def spliced(w: Tensor, keep: Tensor, threshold: float, band: float) -> Tensor:
    """New mask of w: removed below (1 - band) * threshold, kept from (1 + band) * threshold, unchanged in between.

    *Paper:* Guo et al. 2016, arXiv 1608.04493, where the two are a and b. *Differs:* `band` 0.1 is from their code.
    """
    size = processes.whole(w).abs()
    return (size >= (1 + band) * threshold) | (keep & (size >= (1 - band) * threshold))


def below(values: Tensor, share: float) -> float:
    """The (k + 1)-th smallest absolute value, k = round(share * n): a threshold that removes the k smallest."""
    if not 0 <= share < 1:
        raise InputError(f"sparsity is {share!r}; it is the fraction removed and must lie in [0, 1)")
    sizes = values.abs().flatten()
    return float(sizes.kthvalue(min(round(share * sizes.numel()) + 1, sizes.numel())).values)


def shared(groups: Mapping[str, Mapping[str, Tensor]], of: Callable[[str, Tensor], float]) -> dict[str, float]:
    """Threshold of each weight: `of(name, values)` of its group, where values are all numbers of the group."""
    found = {
        name: of(name, torch.cat([processes.whole(w).flatten() for w in group.values()]))
        for name, group in groups.items()
    }
    return {weight: found[name] for name, group in groups.items() for weight in group}
