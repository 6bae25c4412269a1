"""Every schedule, every way to share a total, every allocation, every stopping rule under its family's laws."""

import math

import pytest

from sapwood.checks import allocation, schedule, stopping
from sapwood.selection.allocate import ALLOCATIONS
from sapwood.selection.schedule import SCHEDULES, SHARES
from sapwood.training.stopping import RULES

RATIOS = {  # what the densities of each allocation are proportional to, from the papers
    "uniform": lambda shape: 1.0,
    "er": lambda shape: (shape[0] + shape[1]) / (shape[0] * shape[1]),
    "erk": lambda shape: sum(shape) / math.prod(shape),
}
LAWS = (
    {law: body for name, make in SCHEDULES.items() for law, body in schedule.laws(name, make).items()}
    | {law: body for name, divide in SHARES.items() for law, body in schedule.laws_of_shares(name, divide).items()}
    | {law: body for name, rule in RULES.items() for law, body in stopping.laws(name, rule).items()}
    | {
        law: body
        for name, allocate in ALLOCATIONS.items()
        for law, body in allocation.laws(name, allocate, ratio=RATIOS.get(name)).items()
    }
)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_schedule(law):
    law()


def test_every_allocation_has_its_published_ratio():
    assert set(RATIOS) == set(ALLOCATIONS)
