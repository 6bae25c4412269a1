"""The laws of what a network is stored as, which planted bugs break."""

import pytest
from planted import coding
from planted.mutant import caught

LAWS = coding.huffman_laws() | coding.adaptive_laws() | coding.storing_laws() | coding.sharing_laws()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_law(law):
    law()


@pytest.mark.parametrize("mutant", coding.MUTANTS, ids=lambda mutant: mutant.bug)
def test_the_law_catches_its_bug(mutant):
    assert caught(mutant) is not None, f"no law noticed: {mutant.bug}"


def test_every_law_has_a_bug():
    assert set(LAWS) == {mutant.law for mutant in coding.MUTANTS if not mutant.law.startswith("method")}
