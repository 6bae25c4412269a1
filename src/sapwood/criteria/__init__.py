"""The criteria of weights and of units, one file each, and the tables that list them."""

from sapwood.criteria.active_magnitude import active_magnitude
from sapwood.criteria.activity import activity, activity_of_units
from sapwood.criteria.apoz import apoz, apoz_of_units
from sapwood.criteria.geometric_median import geometric_median
from sapwood.criteria.group_l1 import group_l1
from sapwood.criteria.group_l2 import group_l2
from sapwood.criteria.hrank import hrank
from sapwood.criteria.inactive import inactive
from sapwood.criteria.inactive_magnitude import inactive_magnitude
from sapwood.criteria.l1 import l1
from sapwood.criteria.l2 import l2
from sapwood.criteria.lamp import lamp
from sapwood.criteria.magnitude import magnitude
from sapwood.criteria.mean_activation import mean_activation
from sapwood.criteria.norm_scale import norm_scale
from sapwood.criteria.random_ import random_
from sapwood.criteria.random_neuron import random_neuron, random_unit
from sapwood.criteria.snip import snip
from sapwood.criteria.taylor_unit import taylor_unit
from sapwood.criteria.taylor_weight import taylor_weight
from sapwood.criteria.wanda import wanda
from sapwood.errors import Names, picked
from sapwood.scoring.criterion import Criterion
from sapwood.scoring.unit_criterion import UnitCriterion

CRITERIA: dict[str, Criterion] = Names("criterion", {
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
    "snip": snip, "wanda": wanda,
})  # fmt: skip

UNIT_CRITERIA: dict[str, UnitCriterion] = Names("unit criterion", {
    "activity": activity_of_units,
    "apoz": apoz_of_units,
    "geometric_median": geometric_median,
    "group_l1": group_l1,
    "group_l2": group_l2,
    "hrank": hrank,
    "l1": l1,
    "l2": l2,
    "norm_scale": norm_scale,
    "random_neuron": random_unit,
    "taylor_unit": taylor_unit,
    "taylor_weight": taylor_weight,
})  # fmt: skip


def named(name: str) -> Criterion:
    """The criterion called `name` in CRITERIA."""
    return picked("criterion", name, CRITERIA)
