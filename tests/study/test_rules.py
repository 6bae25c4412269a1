"""Rules: what a study judges by was set before its first trial, as far as kept rows and the history can say.

Beside the rules stands when they were set; `golden/rules.lock` has their digest for that time, so that nobody changes
the one without the other. Kept trials are not older. Where git knows the commits that they were run at, the rules were
the same there; in a copy without history that is passed over.
"""

import hashlib
import sys
from pathlib import Path

import pytest
from test_defaults_lock import _recipe
from test_last_run import git

from sapwood.errors import InputError
from sapwood.study.last_run import commits, older
from sapwood.study.study import find

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "tests" / "golden" / "rules.lock"
RULES = {"activation_pruning_again": "rules.py"}  # study: the file in its folder that has SET


def digest(text):
    """Of what the rules say to a computer: comments, docstrings and layout may change."""
    return hashlib.blake2b(_recipe(text).encode(), digest_size=8).hexdigest()


def path(study):
    return f"studies/{study}/{RULES[study]}"


def set_at(study):
    find(str(ROOT / "studies" / study / "__init__.py"))
    return sys.modules[f"sapwood_study_{study}.{RULES[study].removesuffix('.py')}"].SET


def line(study):
    return f"{study} {set_at(study)} {digest((ROOT / path(study)).read_text('utf-8'))}"


def elsewhere(study, found, ask=git):
    """The commits, of those that git knows, at which the rules were others or not there yet."""
    now = digest((ROOT / path(study)).read_text("utf-8"))
    known = [commit for commit in sorted(found) if ask("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0]
    there = {commit: ask("show", f"{commit}:{path(study)}") for commit in known}
    return [commit for commit, said in there.items() if said.returncode or digest(said.stdout) != now]


@pytest.mark.parametrize("study", RULES)
def test_rules_are_as_they_were_when_they_were_set(study):
    assert line(study) in LOCK.read_text("utf-8").splitlines(), (
        f"the rules of {study} have changed: give a new time as SET, write this line into tests/golden/rules.lock in "
        f"place of its old one, and run the trials again that are older:\n{line(study)}"
    )


@pytest.mark.parametrize("study", RULES)
def test_no_kept_trial_is_older_than_the_rules_that_judge_it(study):
    archive = ROOT / "studies" / "results" / study
    if (archive / "trials.csv").exists():
        assert older(archive, set_at(study)) == []
        assert elsewhere(study, commits(archive)) == []


def test_trials_that_are_older_are_found():
    """Those of the first study, whose tolerances were committed while it ran."""
    archive = ROOT / "studies" / "results" / "activation_pruning"
    assert older(archive, "2026-11-21T10:13:20+00:00") == [
        f"{arm}, seed 0" for arm in ("S", "G1", "G2", "G3", "G4", "G5")
    ]
    assert older(archive, "2026-11-21T11:06:52+01:00") == []
    with pytest.raises(InputError, match="give it with its offset"):
        older(archive, "2026-11-21T10:13:20")


class Said:
    """What git answers."""

    def __init__(self, stdout=None):
        self.returncode, self.stdout = int(stdout is None), stdout or ""


def test_rules_that_were_others_at_a_trial_s_commit_are_found():
    (study,) = RULES
    now = (ROOT / path(study)).read_text("utf-8")
    history = {"same": now, "reworded": now.replace('"""Rules', '"""Some rules', 1),
               "softer": now.replace('(best_value, 0.5)', '(best_value, 5.0)'), "before": None}  # fmt: skip

    def ask(what, *words):
        commit = words[-1].removesuffix("^{commit}").partition(":")[0]
        return Said("" if commit in history else None) if what == "cat-file" else Said(history[commit])

    assert history["softer"] != now
    assert elsewhere(study, {"same", "reworded", "softer", "before", "unknown"}, ask) == ["before", "softer"]
