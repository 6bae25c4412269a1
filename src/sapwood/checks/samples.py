"""Laws of samples: the same numbers give the same samples, whoever asks and whatever was asked before."""

from collections.abc import Callable

import torch

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.samples import Samples, same_samples


def check_samples(name: str, samples: Samples, other: Samples | None = None) -> list[Result]:
    """The laws of samples, tried on `samples`; `other` differs from them in one number, and so must its digest."""
    return tried(laws(name, samples, other))


def laws(name: str, samples: Samples, other: Samples | None = None) -> Laws:
    """The laws of samples about `samples`, not yet tried."""
    bodies: dict[str, Callable[[], None]] = {
        "the same numbers give the same samples, whatever was taken before": lambda: _pure(samples),
        "a batch is its samples one by one, in the order asked for": lambda: _one_by_one(samples),
        "a slice is its numbers, up to the last sample": lambda: _slices(samples),
    }
    if other is not None:
        bodies["other samples have another digest, the same have the same"] = lambda: _digest(samples, other)
    return {f"samples {name}: {law}": body for law, body in bodies.items()}


def _index(samples: Samples) -> torch.Tensor:
    """Eight numbers or so, out of order, one of them twice."""
    luck = torch.Generator().manual_seed(0)
    return torch.cat([torch.randperm(len(samples), generator=luck)[:8], torch.tensor([len(samples) - 1, 0, 0])])


def _pure(samples: Samples) -> None:
    index = _index(samples)
    first = samples.take(index)
    samples.take(index.flip(0))
    samples.take(slice(0, 1))
    demand(same_samples(samples.take(index), first), f"taken again, {index.tolist()} are other samples")


def _one_by_one(samples: Samples) -> None:
    index = _index(samples)
    whole = samples.take(index)
    demand(len(whole) == len(index), f"asked for {len(index)} samples, it gave {len(whole)}")
    for place, number in enumerate(index):
        alone = samples.take(number.reshape(1))
        demand(same_samples(whole.take(slice(place, place + 1)), alone), f"sample {int(number)} alone is another one")


def _slices(samples: Samples) -> None:
    count = len(samples)
    for part in (slice(0, 3), slice(count - 2, count + 5), slice(None)):
        index = torch.arange(count)[part]
        demand(same_samples(samples.take(part), samples.take(index)), f"{part} is not samples {index.tolist()}")


def _digest(samples: Samples, other: Samples) -> None:
    demand(samples.digest() == samples.digest(), "asked twice, the digest is another one")
    demand(samples.digest() != other.digest(), "with another number in it, the digest is the same")
