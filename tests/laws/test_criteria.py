"""Every criterion under the laws of criteria."""

import pytest

from sapwood.checks import broken, check_criterion, criterion
from sapwood.criteria import CRITERIA
from sapwood.scoring.criterion import Criterion
from sapwood.scoring.evidence import Statistic

LAWS = {law: body for name, member in CRITERIA.items() for law, body in criterion.laws(name, member).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_criterion(law):
    law()


def test_a_criterion_with_a_statistic_of_its_own_can_pass():
    spread = Statistic("a spread of my own", lambda sight: sight.y_NO.double().square().sum(0))
    mine = Criterion(lambda w_OI, seen: w_OI.abs() * seen[spread][:, None], needs=(spread,))
    assert broken(check_criterion("mine", mine)) == []


def test_a_criterion_that_reads_what_it_does_not_declare_fails():
    sly = Criterion(lambda w_OI, seen: w_OI.abs() * seen["active"][:, None])
    assert broken(check_criterion("sly", sly))
