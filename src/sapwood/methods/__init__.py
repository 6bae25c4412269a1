"""The methods, one paper and one file each, and the table that lists them: one line for each."""

from collections.abc import Callable, Iterator

from sapwood.methods.adversarial_neural_pruning import adversarial_neural_pruning
from sapwood.methods.at_init import at_init
from sapwood.methods.deep_compression import deep_compression
from sapwood.methods.dense import dense
from sapwood.methods.dynamic_surgery import dynamic_surgery
from sapwood.methods.flop import flop
from sapwood.methods.global_activation import global_activation
from sapwood.methods.gradual_magnitude import gradual_magnitude
from sapwood.methods.iterative_magnitude import iterative_magnitude
from sapwood.methods.l1_filters import l1_filters
from sapwood.methods.lasso_channels import lasso_channels
from sapwood.methods.local_activation import local_activation
from sapwood.methods.lottery_ticket import lottery_ticket
from sapwood.methods.low_rank import low_rank
from sapwood.methods.network_slimming import network_slimming
from sapwood.methods.nuclear import nuclear
from sapwood.methods.one_call import one_call
from sapwood.methods.one_pass import one_pass
from sapwood.methods.one_pass_units import one_pass_units
from sapwood.methods.pruning_from_scratch import pruning_from_scratch
from sapwood.methods.rethink import rethink
from sapwood.methods.self_adaptive import self_adaptive
from sapwood.methods.soft_filter import soft_filter
from sapwood.methods.sparse_low_rank import sparse_low_rank
from sapwood.methods.sparse_structure_selection import sparse_structure_selection
from sapwood.methods.sparse_training import sparse_training
from sapwood.methods.svd_training import svd_training
from sapwood.methods.thinet import thinet
from sapwood.methods.transformable_architecture_search import transformable_architecture_search
from sapwood.methods.unstructured_magnitude import unstructured_magnitude
from sapwood.methods.variational_dropout import variational_dropout
from sapwood.training.entry import Column, Entry, table
from sapwood.training.loop import Moment

Method = Callable[..., Iterator[Moment]]  # method(run, **options)

# `before`: a version whose results stay in use. Most rose at once: what is recorded at an epoch's end is of the network
# that the method left, and no two seeds draw the same.
ENTRIES = table(
    Entry(adversarial_neural_pruning),
    Entry(at_init),
    Entry(deep_compression),
    Entry(dense, version=2),
    Entry(dynamic_surgery, version=3, before=2),
    Entry(flop),
    Entry(global_activation, version=2, before=1),
    Entry(gradual_magnitude, version=2, before=1, weights_only=True),
    Entry(iterative_magnitude, weights_only=True),
    Entry(l1_filters),
    Entry(lasso_channels),
    Entry(local_activation, version=2, before=1),
    Entry(lottery_ticket),
    Entry(low_rank),
    Entry(network_slimming),
    Entry(nuclear, version=2, before=1),
    Entry(one_call, version=2),  # what still fits comes back
    Entry(one_pass),
    Entry(one_pass_units),
    Entry(pruning_from_scratch, version=2, before=1),  # weights drawn for the small network
    Entry(rethink),
    Entry(self_adaptive),
    Entry(soft_filter),
    Entry(sparse_low_rank),
    Entry(sparse_structure_selection),
    Entry(sparse_training, version=2, before=1),
    Entry(svd_training),
    Entry(thinet),
    Entry(transformable_architecture_search),
    Entry(unstructured_magnitude),
    Entry(variational_dropout, version=2),
)

# Views of the table, by name.
METHODS: Column[Method] = Column(ENTRIES, "make", "method")
METHOD_VERSIONS: Column[int] = Column(ENTRIES, "version", "method")
METHODS_BEFORE: Column[int] = Column(ENTRIES, "before", "method")
METHODS_BY_WEIGHTS: Column[bool] = Column(ENTRIES, "weights_only", "method")
