"""Presets: the option sets under which a method was published or released, by name.

Source: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024; their code of August
2022 (which made the global rows), of July 2023 (local rows) and of March 2022 (singular values).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sapwood.errors import Names, unknown

Option = bool | int | float | str | tuple[float, ...]


@dataclass(frozen=True)
class Preset:
    """A method and the options that differ from its defaults."""

    method: str
    about: str
    options: Mapping[str, Option]


def _preset(method: str, about: str, **options: Option) -> Preset:
    return Preset(method, about, MappingProxyType(options))


# fmt: off
PRESETS: dict[str, Preset] = Names("preset", {
    "paper-global": _preset(
        "global_activation", "counts every training sample, never resets; geometric shares of all weights (G1-G8)",
        source="stream", reset="never", shares="geometric", base=0.8, base_of="all", first=0.80, target=0.98,
        granularity="weight", stop="spikes", plateau=0, epochs=500),
    "paper-local": _preset(
        "local_activation", "one layer per cycle, counted on a fresh probe of 32 training images (L1-L4)",
        probe=32, first=0.80, target=0.98, stop="spikes", plateau=0, epochs=500),
    "release-compat": _preset(
        "local_activation", "the code released in 2023: paper-local with the counter inverted (zeros are counted)",
        criterion="inactive", probe=32, first=0.80, target=0.98, stop="spikes", plateau=0, epochs=500),
    "release-compat-global": _preset(
        "global_activation", "the code released in 2023, global: inverted counts on 32 images at each epoch's end",
        criterion="inactive", source="probe", probe=32, reset="never", first=0.80, target=0.98, stop="spikes",
        plateau=0, epochs=500),
    "svd-study": _preset(
        "global_activation", "section 5.6: ten cycles of 8 %, from 70 % training accuracy, no early stopping",
        cycles=10, sparsity=0.8, shares="uniform", first=0.70, target=0.98, source="stream", stop="none",
        plateau=0, epochs=500),
    "paper-magnitude": _preset(
        "gradual_magnitude", "the trained network, pruned over two epochs as TensorFlow's toolkit does it (M)",
        sparsity=0.8, begin=0.0, end=2.0, every=100, epochs=2, power=3.0, land=False, scope="per_layer",
        dense_epochs=500, target=0.98, stop="spikes"),
})
# fmt: on


def preset(name: str, **changes: Option) -> tuple[str, dict[str, Option | None]]:
    """The method's name and its options under the preset `name`, with `changes` made to them."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name].method, {**PRESETS[name].options, **changes}
