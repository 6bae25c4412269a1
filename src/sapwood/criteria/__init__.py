"""The criteria, one file each, and the table that lists them."""

from sapwood.criteria.active_magnitude import active_magnitude
from sapwood.criteria.activity import activity
from sapwood.criteria.apoz import apoz
from sapwood.criteria.inactive import inactive
from sapwood.criteria.inactive_magnitude import inactive_magnitude
from sapwood.criteria.lamp import lamp
from sapwood.criteria.magnitude import magnitude
from sapwood.criteria.mean_activation import mean_activation
from sapwood.criteria.random_ import random_
from sapwood.criteria.random_neuron import random_neuron
from sapwood.criteria.snip import snip
from sapwood.errors import picked
from sapwood.scoring.criterion import Criterion

CRITERIA: dict[str, Criterion] = {
    "active_magnitude": active_magnitude,
    "activity": activity,
    "apoz": apoz,
    "inactive": inactive,
    "inactive_magnitude": inactive_magnitude,
    "lamp": lamp,
    "magnitude": magnitude,
    "mean_activation": mean_activation,
    "random_": random_,
    "random_neuron": random_neuron,
    "snip": snip,
}


def named(name: str) -> Criterion:
    """The criterion called `name` in CRITERIA."""
    return picked("criterion", name, CRITERIA)
