"""Claims: the rule of the verdict, at its edges."""

import pytest

from sapwood.study.claim import Claim, by_group, verdict
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


def test_claims_are_counted_by_the_table_they_stand_in():
    def claim(where, mean):
        return Claim(where, "a number", 10.0, 0.5, found=lambda rows: Summary(mean, mean, mean, len(rows)))

    claims = [claim("table 2, row G1", 10), claim("table 1, row S", 10), claim("table 2, row G2", 12)]
    counted = by_group([*claims, claim("table 2", 9.6)], [{}, {}])
    assert list(counted) == ["table 2", "table 1"]
    assert counted["table 2"] == {"reproduced": 2, "not reproduced": 1}
    assert by_group(claims, [])["table 2"] == {"cannot be judged": 2}
