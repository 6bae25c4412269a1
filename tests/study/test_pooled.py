"""Pooled questions and bounds: their laws."""

import pytest
from planted.bounding import bound_laws

LAWS = bound_laws()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_pooled(law):
    law()
