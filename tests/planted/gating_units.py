"""Bugs planted in gates on units, in where they sit and in what costs make of them."""

from contextlib import contextmanager
from functools import partial

import torch
from planted.mutant import bugs, instead
from planted.training import SAME_BITS
from torch import nn

from sapwood.checks import method, unit_gate
from sapwood.gates import Clamp, Gated, HardConcrete, UnitGate, point
from sapwood.gates import gated as passing
from sapwood.methods import METHODS
from sapwood.shrinking import scaling, widths
from sapwood.shrinking.finding import sites

draw, keep, make, forward = HardConcrete.draw, HardConcrete.keep, HardConcrete.__init__, Gated.forward
scale_, opened = point.scale_, widths.Numbering.open


def laws(name="hard_concrete", make=HardConcrete):
    return unit_gate.laws(name, make)


def before_the_norm(anatomy):
    """Where units are made, whatever is behind."""
    tensors = dict(anatomy.model.named_parameters())
    return {
        site.name: tuple(
            scaling._point(anatomy.model, slot, "outputs")
            for slot in site.slots
            if slot.tensor in tensors and slot.role != "reads" and "bn" not in slot.tensor
        )
        for site in sites(anatomy)
    }


def of_one_producer(anatomy, found=scaling.points):
    """The layer that is named first, not what is added to it."""
    every = found(anatomy)
    return {name: tuple(p for p in places if p.layer == places[0].layer) for name, places in every.items()}


def without_bias_(tensors, places, values):
    weights = {name: tuple(p for p in of if not p.tensor.endswith("bias")) for name, of in places.items()}
    scale_(tensors, weights, values)


def noisy_for_good(drawn):
    """A gate's draw that takes every mode for training."""

    def noisy(self, x):
        mode, self.training = self.training, True
        try:
            return drawn(self, x)
        finally:
            self.training = mode

    return noisy


@contextmanager
def drawn_anew(self):
    yield


def shaped(self, units, **options):
    make(self, units, **options)
    self.log_alpha = nn.Parameter(self.log_alpha.detach()[:, None])


def soft_where_closed(self, x):
    return draw(self, x) if self.training else torch.sigmoid(0.8 * self.log_alpha)


def in_place(self, *inputs):
    """The network's own weights scaled, and scaled back where that is still possible."""
    values = {name: self._draw(name, None) for name in self.by_site()}
    tensors = dict(self.model.named_parameters())
    scale_(tensors, self.points, values)
    return self.model(*inputs) + 0 * sum(value.sum() for value in values.values())


class Detached(widths.Numbering):
    def open(self, keep):
        return opened(self, {name: values.detach() + 0 * values.sum() for name, values in keep.items()})


def mean_of_samples(self, keep):
    found = opened(self, keep)
    return found.mean(0, keepdim=True).expand(found.shape) if found.dim() > 1 else found


def of_the_first(value_BU, point, y, aligned=passing._aligned):
    return aligned(value_BU[:1].expand(value_BU.shape), point, y)


class ByInput(UnitGate):
    """Each sample opens units by the mean of what the layer is given."""

    per_sample = True

    def __init__(self, units):
        super().__init__(units)
        self.slope = nn.Parameter(torch.linspace(-1, 1, units))

    def draw(self, x):
        self.last = torch.sigmoid(self.slope * x.flatten(1).mean(1, keepdim=True) + 1)
        return self.last

    def open(self):
        return self.last

    def keep(self):
        return torch.ones(self.units, dtype=torch.bool)


def scratch_laws():
    options = {"macs": 0.6, "level": 0.1, "weight": 5.0, "rate": 0.3, "gate_epochs": 2, "epochs": 1}
    return method.laws("pruning_from_scratch", METHODS["pruning_from_scratch"], **options)


def unsaved(self, units, made=Clamp.__init__, **options):
    """How far open the gates have been is in no checkpoint."""
    made(self, units, **options)
    self._non_persistent_buffers_set.add("opened")


by_input = partial(laws, "by_input", ByInput)
MUTANTS = (
    *bugs(
        "unit gate hard_concrete",
        laws,
        {
            "values and what is open are from 0 to 1, one for each unit; exactly what goes is 0": {
                "a unit that goes evaluated at its mean": instead(HardConcrete, "draw", soft_where_closed),
            },
            "with units closed it is the network without them": {
                "a gate before the norm": instead(unit_gate, "points", before_the_norm),
                "only one producer of a stream gated": instead(unit_gate, "points", of_one_producer),
            },
            "baked, it gives what the gated network gives; per sample it refuses": {
                "baking forgets the biases": instead(passing, "scale_", without_bias_),
            },
            "noise is drawn in training only, and the same in every pass of `drawn`": {
                "a unit gate noisy in evaluation": instead(HardConcrete, "draw", noisy_for_good(draw)),
                "other draws in every pass of `drawn`": instead(Gated, "drawn", drawn_anew),
            },
            "gradients reach the gate and the network": {
                "a unit gate's value without a gradient": instead(
                    HardConcrete, "draw", lambda self, x: draw(self, x).detach()
                ),
            },
            "the slope of the expected cost is that of differences": {
                "a cost cut off from its gates": instead(widths.Numbering, "open", Detached.open),
            },
            "costs of several samples are those of each": {
                "the mean of what is open for every sample": instead(widths.Numbering, "open", mean_of_samples),
            },
            "the network is left as it was, also when a pass fails": {
                "a gated pass that scales the network itself": instead(Gated, "forward", in_place),
            },
            "its parameters are its own, and flat": {
                "a unit gate's parameters that pass for weights": instead(HardConcrete, "__init__", shaped),
            },
        },
    ),
    *bugs(
        "unit gate by_input",
        by_input,
        {
            "each sample passes as it would alone": {
                "every sample through the gate of the first": instead(passing, "_aligned", of_the_first),
            },
        },
    ),
    *bugs(
        "method pruning_from_scratch",
        scratch_laws,
        {SAME_BITS: {"gates whose past no checkpoint knows of": instead(Clamp, "__init__", unsaved)}},
    ),
)
