"""Every criterion of units under its laws."""

import pytest
import torch

from sapwood.checks import broken, check_unit_criterion, unit_criterion
from sapwood.criteria import UNIT_CRITERIA
from sapwood.scoring.unit_criterion import UnitCriterion

LAWS = {law: body for name, each in UNIT_CRITERIA.items() for law, body in unit_criterion.laws(name, each).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_unit_criterion(law):
    law()


def test_one_of_your_own_can_pass():
    mine = UnitCriterion(lambda a_NUP: a_NUP.double().square().flatten(2).sum(2).sum(0), of="outputs", group="max")
    mine_of_linear = UnitCriterion(lambda w_UR: w_UR.double().amax(1), norm="max")
    assert [each.law for each in broken(check_unit_criterion("mine", mine_of_linear))] == []
    assert next(each.reason for each in broken(check_unit_criterion("mine", mine))).startswith("IndexError")


def test_luck_fails():
    luck = UnitCriterion(lambda w_UR: torch.rand(len(w_UR), dtype=torch.float64))
    assert {each.law.partition(": ")[2] for each in broken(check_unit_criterion("luck", luck))} == {
        "nothing is touched: weights, gradients, mode, hooks, random state",
        "the same bits twice",
        "permuting units permutes scores",
    }
