"""Every criterion under the laws of criteria."""

import pytest

from sapwood.checks import criterion
from sapwood.criteria import CRITERIA

LAWS = {law: body for name, member in CRITERIA.items() for law, body in criterion.laws(name, member).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_criterion(law):
    law()
