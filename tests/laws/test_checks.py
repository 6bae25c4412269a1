"""The public checks: every law is tried, one that fails says why, and the others are tried all the same."""

from functools import partial

import pytest
import torch

from sapwood import InputError, allocate, checks, schedule, select, sites, statistics, stopping, train
from sapwood.checks import broken, check_criterion, check_method, check_selector, criterion, method
from sapwood.checks.tiny import tiny_conv_task
from sapwood.criteria import CRITERIA, UNIT_CRITERIA, magnitude
from sapwood.gates import GATES, UNIT_GATES
from sapwood.masking import stepping
from sapwood.methods import METHODS
from sapwood.reconstruction import sparsegpt
from sapwood.scoring.criterion import Criterion
from sapwood.training.declared import declares

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
    "check_samples": partial(checks.check_samples, "digits", checks.tiny_task().data.train),
    "check_schedule": partial(checks.check_schedule, "linear", schedule.linear),
    "check_selector": partial(checks.check_selector, "everywhere", select.everywhere),
    "check_shares": partial(checks.check_shares, "uniform", schedule.uniform_shares),
    "check_statistic": partial(checks.check_statistic, statistics.gram),
    "check_task": partial(checks.check_task, "tiny", checks.tiny_task()),
    "check_unit_criterion": partial(checks.check_unit_criterion, "l1", UNIT_CRITERIA["l1"]),
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


@pytest.mark.parametrize("lr", [0.1, float("nan")], ids=["laws that hold", "laws that fail"])
def test_nothing_is_held_any_longer_when_the_laws_of_holding_were_tried(lr):
    before = {known() for known in stepping._forces}
    results = checks.check_holding("SGD", partial(torch.optim.SGD, lr=lr))
    assert {known() for known in stepping._forces} - before <= {None}
    assert bool(broken(results)) is (lr != lr)


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


SAYS = "another seed gives other bits"


def trained(run, *, epochs: int = 1):
    """Trains, and neither masks nor rebuilds."""
    yield from train(run, epochs=epochs)


def rebuilt(run, *, macs: float = 0.5):
    """Goes on with the first half of each site's units, and says nothing of it."""
    found = sites(run.model, run.task.data.train.inputs[:2])
    run.shrink({site.name: torch.arange(site.units) < site.units / 2 for site in found}, found)
    yield from train(run, steps=2)


def test_laws_are_chosen_by_what_a_method_declares():
    def claims(*kinds):
        return {law.partition(": ")[2] for law in method.laws("m", declares(*kinds)(lambda run: iter(())))}

    general = claims()
    masks, rebuilds, solves = (claims(kind) - general for kind in ("masks", "rebuilds", "solves"))
    assert masks == {"masked weights are 0 at every moment", "masks only shrink",
                     "masked weights are 0 in every pass, also while the dense ones learn"}  # fmt: skip
    assert (len(rebuilds), len(solves)) == (6, 1)
    assert claims("masks", "rebuilds", "solves") == general | masks | rebuilds | solves
    undeclared = {law.partition(": ")[2] for law in method.laws("m", lambda run: iter(()))}
    assert undeclared == general | masks


def test_a_method_that_rebuilds_without_saying_so_does_not_pass():
    [failed] = broken(check_method("silent", rebuilt, task=tiny_conv_task()))
    assert failed.law == "method silent: it does to the network what it declares"
    assert failed.reason == "AssertionError: it rebuilds, and does not declare it: @declares('rebuilds')"


@pytest.mark.parametrize("kind", ["masks", "rebuilds"])
def test_a_method_that_declares_more_than_it_does_is_caught(kind):
    failed = broken(check_method("modest", declares(kind)(lambda run, **options: trained(run))))
    assert f"AssertionError: it is declared that it {kind}, and it does not" in {result.reason for result in failed}


def test_a_law_declared_as_unmet_gives_its_reason_and_is_a_failure_where_it_holds():
    def fixed(run, *, epochs: int = 1):
        torch.manual_seed(0)
        run.rewind({name: torch.zeros_like(value) for name, value in run.model.state_dict().items()})
        yield from train(run, steps=epochs * 0)

    said = {
        r.law.partition(": ")[2]: r for r in check_method("fixed", declares(unmet={SAYS: "it draws nothing"})(fixed))
    }
    assert (said[SAYS].passed, said[SAYS].reason) == (True, "not met, as declared: it draws nothing")
    [failed] = broken(check_method("honest", declares(unmet={SAYS: "who knows"})(lambda run, **options: trained(run))))
    assert failed.reason == "AssertionError: declared as not met (who knows), and it holds; take it out of unmet"
    with pytest.raises(InputError, match="declares 'gravity' as unmet, and no law of its kinds claims that"):
        method.laws("odd", declares(unmet={"gravity": "none"})(trained))
    with pytest.raises(InputError, match="unknown kind 'grows'"):
        declares("grows")
