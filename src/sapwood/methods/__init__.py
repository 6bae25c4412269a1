"""The methods, one paper and one file each, and the table that lists them."""

from collections.abc import Callable, Iterator

from sapwood.methods.dense import dense
from sapwood.methods.global_activation import global_activation
from sapwood.methods.gradual_magnitude import gradual_magnitude
from sapwood.methods.local_activation import local_activation
from sapwood.methods.low_rank import low_rank
from sapwood.methods.nuclear import nuclear
from sapwood.train import Moment

Method = Callable[..., Iterator[Moment]]  # method(run, **options)

METHODS: dict[str, Method] = {
    "dense": dense,
    "global_activation": global_activation,
    "gradual_magnitude": gradual_magnitude,
    "local_activation": local_activation,
    "low_rank": low_rank,
    "nuclear": nuclear,
}

# Raised when a default or a meaning changes, so that old results are not taken for new ones.
METHOD_VERSIONS: dict[str, int] = {
    "dense": 2,
    "global_activation": 1,
    "gradual_magnitude": 1,
    "local_activation": 1,
    "low_rank": 1,
    "nuclear": 1,
}
