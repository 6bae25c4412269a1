"""Every planted bug is caught by the law named for it, and every law catches a bug."""

import pytest
from mutants import MUTANTS, table
from planted import training
from planted.mutant import Mutant, caught

from sapwood.checks import Laws


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_the_named_law_catches_the_bug(mutant):
    assert caught(mutant) is not None, f"no law noticed: {mutant.bug}"


def test_every_law_catches_a_bug():
    """Of each family, whatever its members are called; a law that catches nothing is removed."""
    every = {_claim(law) for laws in {mutant.laws for mutant in MUTANTS} for law in laws()}
    assert every == {_claim(mutant.law) for mutant in MUTANTS}


def _claim(law: str) -> tuple[str, str]:
    subject, _, claim = law.partition(": ")
    return subject.split()[0], claim


def test_bugs_are_described_once():
    assert len({mutant.bug for mutant in MUTANTS}) == len(MUTANTS) >= 24


def test_a_bug_that_no_law_catches_is_reported():
    def laws() -> Laws:
        return {"nothing is wrong": lambda: None}

    harmless = Mutant("harmless", "nothing is wrong", laws, training.without(memory={}))
    assert caught(harmless) is None
    lines, missed = table((harmless,))
    assert missed == 1
    assert "NO" in lines[1]


def test_the_training_loop_of_the_mutants_is_sound_but_for_when_it_saves():
    law = "method global: interrupted before any step and resumed: the same bits"
    assert caught(Mutant("none", law, training.masked_laws, training.saving())) is None


def test_a_law_that_fails_without_the_bug_proves_nothing():
    def laws() -> Laws:
        def fails() -> None:
            raise AssertionError("as always")

        return {"all is lost": fails}

    with pytest.raises(AssertionError, match="as always"):
        caught(Mutant("none", "all is lost", laws, training.without(memory={})))
