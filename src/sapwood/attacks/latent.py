"""Features: what the layers of a network read from each other, and how far an attack moves it.

    v_l = mean |z_l - z~_l| over samples, units and positions of features l;   V = mean of v_l over l
    relative: Σ |z_l - z~_l| / Σ |z_l|, mean over l

*Paper:* Madaan, Shin, Hwang, "Adversarial neural pruning with latent vulnerability suppression", ICML 2020,
arXiv:1908.04355: the vulnerability. The authors' code has means, as here, where the paper has sums over units.
*Differs:* features are read behind gate, activation and pool, where the next layer reads them. The relative one is not
in the paper: a network whose features are half as large has half the vulnerability, and is as easily fooled.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.scoring.layers import every_layer
from sapwood.scoring.untouched import watching

Features = dict[str, Tensor]  # {layer that reads them: [B, ...]}
TINY = 1e-12  # features that are all 0 have no size to be relative to


@contextmanager
def features(model: nn.Module) -> Iterator[Features]:
    """Inside, the given dict holds what each layer but the first read in the last pass, by the layer's name.

    They are part of the pass's graph. Clear the dict, or copy it, before another pass.

    >>> from sapwood import attacks
    >>> model, images = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(5, 4)
    >>> with attacks.features(model) as seen:
    ...     _ = model(images)
    >>> {name: tuple(z.shape) for name, z in seen.items()}
    {'2': (5, 3)}
    """
    seen, first = Features(), list[str]()

    def see(name: str, x: Tensor, y: Tensor) -> None:
        if not first:
            first.append(name)
        if name != first[0]:
            seen[name] = x

    with watching(every_layer(model), see):
        yield seen


def vulnerability(
    clean: Mapping[str, Tensor], attacked: Mapping[str, Tensor], whole: Mapping[str, int] | None = None
) -> Tensor:
    """V: the mean distance of clean features and attacked ones, mean over layers; a scalar with a gradient.

    whole: how many features of a sample each layer reads before anything was removed; removed ones then count as 0.
    """
    _refuse_others(clean, attacked)
    sums = {name: (z - attacked[name]).abs().sum() for name, z in clean.items()}
    counts = {name: len(z) * whole[name] if whole else z.numel() for name, z in clean.items()}
    return torch.stack([sums[name] / counts[name] for name in clean]).mean()


def relative(clean: Mapping[str, Tensor], attacked: Mapping[str, Tensor]) -> Tensor:
    """The distance of attacked features in shares of the clean ones' size, mean over layers; a scalar.

    The same for a network whose features are all twice as large, and for one without the units that are always 0.
    """
    _refuse_others(clean, attacked)
    shares = [(z - attacked[name]).abs().sum() / z.abs().sum().clamp(min=TINY) for name, z in clean.items()]
    return torch.stack(shares).mean()


def _refuse_others(clean: Mapping[str, Tensor], attacked: Mapping[str, Tensor]) -> None:
    if not clean or clean.keys() != attacked.keys():
        raise InputError(
            f"clean features are read by {', '.join(clean) or 'no layer'}, attacked ones by "
            f"{', '.join(attacked) or 'no layer'}; give two passes of one network with at least two layers"
        )
