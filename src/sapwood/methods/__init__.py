"""The methods, one paper and one file each, and the table that lists them."""

from collections.abc import Callable, Iterator

from sapwood.methods.at_init import at_init
from sapwood.methods.deep_compression import deep_compression
from sapwood.methods.dense import dense
from sapwood.methods.dynamic_surgery import dynamic_surgery
from sapwood.methods.global_activation import global_activation
from sapwood.methods.gradual_magnitude import gradual_magnitude
from sapwood.methods.iterative_magnitude import iterative_magnitude
from sapwood.methods.l1_filters import l1_filters
from sapwood.methods.local_activation import local_activation
from sapwood.methods.lottery_ticket import lottery_ticket
from sapwood.methods.low_rank import low_rank
from sapwood.methods.network_slimming import network_slimming
from sapwood.methods.nuclear import nuclear
from sapwood.methods.pruning_from_scratch import pruning_from_scratch
from sapwood.methods.sparse_training import sparse_training
from sapwood.methods.thinet import thinet
from sapwood.methods.variational_dropout import variational_dropout
from sapwood.training.loop import Moment

Method = Callable[..., Iterator[Moment]]  # method(run, **options)

METHODS: dict[str, Method] = {
    "at_init": at_init,
    "deep_compression": deep_compression,
    "dense": dense,
    "dynamic_surgery": dynamic_surgery,
    "global_activation": global_activation,
    "gradual_magnitude": gradual_magnitude,
    "iterative_magnitude": iterative_magnitude,
    "l1_filters": l1_filters,
    "local_activation": local_activation,
    "lottery_ticket": lottery_ticket,
    "low_rank": low_rank,
    "network_slimming": network_slimming,
    "nuclear": nuclear,
    "pruning_from_scratch": pruning_from_scratch,
    "sparse_training": sparse_training,
    "thinet": thinet,
    "variational_dropout": variational_dropout,
}

# Raised when a default or a meaning changes, so that old results are not taken for new ones.
METHOD_VERSIONS: dict[str, int] = {
    "at_init": 1,
    "deep_compression": 1,
    "dense": 2,
    "dynamic_surgery": 3,
    "global_activation": 2,
    "gradual_magnitude": 2,
    "iterative_magnitude": 1,
    "l1_filters": 1,
    "local_activation": 2,
    "lottery_ticket": 1,
    "low_rank": 1,
    "network_slimming": 1,
    "nuclear": 2,
    "pruning_from_scratch": 1,
    "sparse_training": 2,
    "thinet": 1,
    "variational_dropout": 2,
}

# The versions before, whose results stay in use, marked as such, until a trial is run again (`study.earlier`). All rose
# at once: what is recorded at an epoch's end is of the network that the method left, and no two seeds draw the same.
METHODS_BEFORE: dict[str, int] = {
    "dynamic_surgery": 2,
    "global_activation": 1,
    "gradual_magnitude": 1,
    "local_activation": 1,
    "nuclear": 1,
    "sparse_training": 1,
}
