"""`prune` and `sensitivity` by the name of any criterion of units, and what each error says."""

import kinds
import pytest
import torch
from planted.naming_units import loss, naming_laws

from sapwood import InputError, prune, sensitivity
from sapwood.criteria import CRITERIA, UNIT_CRITERIA
from sapwood.export.worth import looks_at_data
from sapwood.scoring.unit_criterion import UnitCriterion

LAWS = naming_laws()
OWN = sorted(UNIT_CRITERIA.keys() - CRITERIA.keys())


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_prune_by_units(law):
    law()


@pytest.mark.parametrize("name", OWN)
def test_every_name_of_a_criterion_of_units_is_taken(name):
    model, example = kinds.made("residual")
    data = {"evidence": [(example, torch.tensor([0, 3]))], "loss": loss} if looks_at_data(name) else {}
    pruned = prune(model, example, macs=0.7, by=name, timing=0, **data)
    assert pruned.after.macs <= 0.7 * pruned.before.macs
    assert pruned.difference < 1e-6


def test_one_of_your_own_and_one_that_two_tables_have():
    model, example = kinds.made("residual")
    last = UnitCriterion(lambda w_UR: torch.arange(len(w_UR)).double())
    for kept in prune(model, example, macs=0.7, by=last, timing=0).keep.values():
        assert torch.equal(kept, torch.arange(len(kept)) >= len(kept) - int(kept.sum()))
    assert looks_at_data("apoz")
    assert not any(map(looks_at_data, ("norm", "l1", "magnitude", "random_neuron")))
    of_batches = prune(model, example, macs=0.7, by="apoz", evidence=[example], timing=0)
    assert of_batches.after.macs <= 0.7 * of_batches.before.macs


def test_a_scan_goes_by_them_too():
    model, example = kinds.made("residual")
    found = sensitivity(model, example, lambda m: 1.0, by="hrank", evidence=[example], shares=[0.5])
    assert found.values


def test_what_is_missing_is_said_in_one_error():
    model, example = kinds.made("residual")
    cases = (
        ({"by": "hrank"}, "criterion 'hrank' looks at outputs of units, .*give the batches themselves: evidence=batch"),
        ({"by": "hrank", "evidence": {}}, "criterion 'hrank' looks at outputs of units"),
        ({"by": "taylor_unit", "evidence": [example]}, r"criterion 'taylor_unit' looks at gradients; give loss="),
        ({"by": "apoz"}, "the criterion needs active, count; .*or give the batches: evidence=batches"),
        ({"by": "l3"}, "unknown criterion 'l3'; known: .*hrank"),
        ({"by": "hrank", "evidence": example}, "evidence= was given a Tensor for batches"),
        ({"by": "hrank", "evidence": []}, "evidence= was given no batches"),
    )
    for options, says in cases:
        with pytest.raises(InputError, match=says):
            prune(model, example, macs=0.7, timing=0, **options)
