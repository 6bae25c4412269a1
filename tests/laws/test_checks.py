"""The public checks: every law is tried, one that fails says why, and the others are tried all the same."""

from functools import partial

import pytest
import torch

from sapwood import allocate, checks, schedule, select, statistics, stopping
from sapwood.checks import broken, check_criterion, check_selector, criterion
from sapwood.criteria import CRITERIA, magnitude
from sapwood.gates import GATES, UNIT_GATES
from sapwood.methods import METHODS
from sapwood.reconstruction import sparsegpt
from sapwood.scoring.criterion import Criterion

CHECKS = {  # each public check, on something sound
    "check_above": partial(checks.check_above, "above", select.above),
    "check_allocation": partial(checks.check_allocation, "erk", allocate.erk),
    "check_checkpoint": checks.check_checkpoint,
    "check_criterion": partial(checks.check_criterion, "magnitude", magnitude),
    "check_gate": partial(checks.check_gate, "variational_dropout", GATES["variational_dropout"]),
    "check_holding": partial(checks.check_holding, "Adam", torch.optim.Adam),
    "check_method": partial(checks.check_method, "dense", METHODS["dense"], epochs=1),
    "check_pattern": partial(checks.check_pattern, "n_of_m", select.n_of_m),
    "check_rule": partial(checks.check_rule, "spikes", stopping.spiked),
    "check_solver": partial(checks.check_solver, "sparsegpt", lambda w, g, s: sparsegpt(w, g, sparsity=s)),
    "check_schedule": partial(checks.check_schedule, "linear", schedule.linear),
    "check_selector": partial(checks.check_selector, "everywhere", select.everywhere),
    "check_shares": partial(checks.check_shares, "uniform", schedule.uniform_shares),
    "check_statistic": partial(checks.check_statistic, statistics.gram),
    "check_unit_gate": partial(checks.check_unit_gate, "clamp", UNIT_GATES["clamp"]),
    "check_within": partial(checks.check_within, "within", select.within),
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_what_is_sound_passes_every_law(check):
    results = check()
    assert len({result.law for result in results}) == len(results) >= 3
    assert [(result.law, result.reason) for result in results if not result.passed or result.reason] == []


def test_every_public_check_is_tried():
    assert set(CHECKS) == {name for name in vars(checks) if name.startswith("check_")}


def test_the_check_tries_the_laws_of_its_family():
    tried = [result.law for result in check_criterion("apoz", CRITERIA["apoz"])]
    assert tried == list(criterion.laws("apoz", CRITERIA["apoz"]))


def test_a_law_that_fails_says_why_and_the_others_are_still_tried():
    results = check_criterion("luck", Criterion(lambda w_OI, seen: torch.rand_like(w_OI)))
    failed = {result.law.partition(": ")[2]: result.reason for result in broken(results)}
    assert failed["the same bits twice"] == "AssertionError: two calls differ"
    assert "scores are finite" not in failed
    assert len(results) == len(criterion.laws("luck", magnitude))


def test_an_error_of_a_strangers_code_is_a_law_that_failed():
    results = check_selector("broken", lambda scores, sparsity: 1 / 0)
    assert {result.reason for result in results} == {"ZeroDivisionError: division by zero"}
    assert broken(results) == results
