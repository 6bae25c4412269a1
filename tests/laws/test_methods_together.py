"""Every method by every rule, two runs together: each as it is alone, and so captured. A few by day, all by night."""

import os
from functools import partial

import pytest
from planted import graphing
from planted.stepping_together import RULES, Item, alone, differences, lived, task
from test_methods import OPTIONS

from sapwood.checks.tiny import tiny_conv_task
from sapwood.methods import METHODS
from sapwood.training.declared import declared

BY_DAY = [("dynamic_surgery", "by a share, hidden layers"), ("soft_filter", "a share of each, after every epoch")]
CAPTURED_BY_DAY = [("gradual_magnitude", "each layer"), ("one_pass", "wanda, tuned")]
HASHES = ("random_", "random_neuron")  # criteria that draw from the bits of weights
ALL = [(name, label) for name, each in OPTIONS.items() for label in each]
CHOSEN = ALL if "SAPWOOD_NETWORKS" in os.environ else BY_DAY


@pytest.mark.parametrize("rule", RULES if "SAPWOOD_NETWORKS" in os.environ else ["decay"])
@pytest.mark.parametrize(("name", "label"), CHOSEN)
def test_every_method_is_as_it_is_alone(name, label, rule):
    options = {key: value for key, value in OPTIONS[name][label].items() if key not in ("nested", "reaches")}
    usual = tiny_conv_task() if "rebuilds" in declared(METHODS[name]).kinds else task(RULES[rule])
    own = options.pop("task", usual)

    def two():
        return [Item(name, dict(options), own, seed) for seed in (0, 1)]

    for mine, wanted in zip(lived(two()), alone(two()), strict=True):
        if name != "at_init" and options.get("criterion") in HASHES:  # of trained weights: a rounding is another draw
            assert len(mine.losses) == len(wanted.losses)
        else:
            assert differences(mine, wanted) == ""


@pytest.mark.filterwarnings("ignore:steps made together are not captured")
@pytest.mark.parametrize("rule", RULES if "SAPWOOD_NETWORKS" in os.environ else ["adam"])
@pytest.mark.parametrize(("name", "label"), ALL if "SAPWOOD_NETWORKS" in os.environ else CAPTURED_BY_DAY)
def test_every_method_captured_is_as_it_is_alone(name, label, rule):
    options = {key: value for key, value in OPTIONS[name][label].items() if key not in ("nested", "reaches")}
    usual = tiny_conv_task() if "rebuilds" in declared(METHODS[name]).kinds else graphing.task(RULES[rule])
    own = options.pop("task", usual)

    def two():
        return [graphing.Item(partial(METHODS[name], **options), own, seed) for seed in (0, 1)]

    made = graphing.taped(two())
    assert set(made.errors.values()) == {None}
    assert graphing.replayed(made) > 0 or CHOSEN is ALL
    for mine, wanted in zip(made.items, graphing.alone(two()), strict=True):
        if name == "at_init" or options.get("criterion") not in HASHES:
            graphing.demand_same(mine, wanted, name)
