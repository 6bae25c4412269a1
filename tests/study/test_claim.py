"""Claims: the rule of the verdict, at its edges."""

import pytest

from sapwood.study.claim import Claim, verdict
from sapwood.study.table import Summary

CLAIM = Claim("table 1", "a number", value=10.0, tolerance=0.5, found=lambda rows: None)


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (None, "cannot be judged"),
        (Summary(float("nan"), None, None, 0), "cannot be judged"),
        (Summary(10.5, 9.0, 12.0, 3), "reproduced"),
        (Summary(9.5, None, None, 1), "reproduced"),
        (Summary(10.6, None, None, 1), "cannot be judged"),
        (Summary(10.6, 10.5, 10.7, 3), "cannot be judged"),
        (Summary(10.6, 10.51, 10.7, 3), "not reproduced"),
        (Summary(9.0, 8.6, 9.4, 3), "not reproduced"),
        (Summary(9.0, 8.0, 10.0, 3), "cannot be judged"),
    ],
)
def test_the_verdict(ours, said):
    assert verdict(CLAIM, ours) == said
