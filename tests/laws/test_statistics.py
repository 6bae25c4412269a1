"""Every statistic under the laws of statistics."""

import pytest

from sapwood.checks import statistic
from sapwood.scoring.statistics import STATISTICS

LAWS = {law: body for member in STATISTICS.values() for law, body in statistic.laws(member).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_statistic(law):
    law()


def test_statistics_that_look_backward_are_under_laws_too():
    backward = [str(member) for member in STATISTICS.values() if member.backward]
    assert backward
    assert all(any(f"statistic {name}: additive" in law for law in LAWS) for name in backward)
