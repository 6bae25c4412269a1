"""`sapwood check`: every kind of thing that has laws, told by its type or parameters, by its name or by a word."""

import pytest

from sapwood.cli.checking import KINDS

HEAD = """import torch
from torch import nn
from sapwood import Criterion, UnitGate, declares, sites, train
from sapwood.gates import WeightGate
from sapwood.selection import select
from sapwood.reconstruction import reduced_rank, sparsegpt, thinet
"""
SOLVERS = """
def columns(w_OI, gram_II, *, sparsity, block=8):
    return sparsegpt(w_OI, gram_II, sparsity=sparsity, block=block)

def units(w_OI, gram_II, cross_IO=None, *, sparsity=0.5):
    return thinet(w_OI, gram_II, sparsity=sparsity)

def ranks(w_OI, gram_II, sparsity):
    return reduced_rank(w_OI, gram_II, sparsity=sparsity)

def called_otherwise(weight, products, share):
    return sparsegpt(weight, products, sparsity=share)

def blind(w_OI, gram_II, sparsity):
    keep = torch.arange(w_OI.numel()).view_as(w_OI) >= round(sparsity * w_OI.numel())
    return w_OI * keep, keep

def of_a_matrix(w_OI, gram_II):
    raise AssertionError
"""
SELECTORS = """
def everywhere(scores, sparsity):
    return select.everywhere(scores, sparsity)

def layer_by_layer(scores, sparsity, ties="first stays"):
    return select.per_layer(scores, sparsity)

def row_by_row(scores, sparsity):
    return select.per_row(scores, sparsity)

def all_but_one(scores, sparsity):
    return {name: torch.arange(s.numel()).view_as(s) > 0 for name, s in scores.items()}
"""
UNITS = """
norms = Criterion(lambda w_OI, seen: w_OI.norm(dim=1), per="output")
inputs = Criterion(lambda w_OI, seen: w_OI.abs().sum(0), per="input")

class Soft(UnitGate):
    def __init__(self, units):
        super().__init__(units)
        self.logit = nn.Parameter(torch.full((units,), 2.0))
    def open(self):
        return torch.sigmoid(self.logit)
    def keep(self):
        return self.open().detach() > 0.1
    def draw(self, x):
        return self.open() * self.keep()
"""
REBUILDS = """
@declares("rebuilds")
def halves(run, *, macs=0.9, epochs=1):
    yield from train(run, epochs=epochs)
    found = sites(run.model, run.task.examples)[:1]
    run.shrink({found[0].name: torch.arange(found[0].units) > 0}, found)
    yield from train(run, epochs=epochs)
"""


@pytest.fixture
def check(tmp_path, sapwood):
    """Writes a file and checks it: (exit status, {kind and name: laws that failed}, what went to standard error)."""

    def checked(code, name="", *words):
        (tmp_path / "mine.py").write_text(HEAD + code)
        status, out, err = sapwood("check", f"{tmp_path / 'mine.py'}{name}", *words)
        found = {}
        for line in out.splitlines():
            if line.startswith(("pass  ", "FAIL  ")):
                subject, _, law = line[6:].partition(": ")
                found.setdefault(subject, []).extend([law] if line.startswith("FAIL") else [])
        return status, found, err

    return checked


def test_solvers_are_told_by_their_parameters_and_what_they_remove_by_their_answers(check):
    status, found, _ = check(SOLVERS)
    assert status == 1
    assert {name: bool(failed) for name, failed in found.items()} == {
        "solver columns": False, "solver units": False, "solver ranks": False, "solver blind": True}  # fmt: skip
    assert found["solver blind"] == [
        "the error is at most magnitude's at the same sparsity",
        "what cannot be used is refused",
    ]


def test_one_thing_by_its_name(check):
    assert check(SOLVERS, ":units") == (0, {"solver units": []}, "")
    status, found, _ = check(SOLVERS, ":blind")
    assert (status, list(found)) == (1, ["solver blind"])
    assert check(SOLVERS, ":sparsegpt")[:2] == (0, {"solver sparsegpt": []})  # also one that is from elsewhere


def test_a_word_says_what_parameters_of_other_names_do_not(check):
    status, _, err = check(SOLVERS, ":called_otherwise")
    assert status == 2
    assert "called_otherwise in " in err
    assert "is def called_otherwise(weight, products, share), of no kind that has laws; say which with --as" in err
    assert err.count("\n") == 1
    assert check(SOLVERS, ":called_otherwise", "--as", "solver") == (0, {"solver called_otherwise": []}, "")


def test_selectors_and_what_they_rank_together(check):
    status, found, _ = check(SELECTORS)
    assert status == 1
    assert {name: not failed for name, failed in found.items()} == {
        "selector everywhere": True, "selector layer_by_layer": True, "selector row_by_row": True,
        "selector all_but_one": False}  # fmt: skip


def test_criteria_and_gates_of_units(check):
    status, found, err = check(UNITS)
    assert (status, found, err) == (0, {"criterion norms": [], "criterion inputs": [], "unit gate Soft": []}, "")
    assert list(check(UNITS, ":norms")[1]) == ["criterion norms"]
    assert list(check(UNITS, "", "--as", "unit_gate")[1]) == ["unit gate Soft"]


def test_a_method_that_rebuilds(check):
    status, found, err = check(REBUILDS, ":halves")
    assert (status, found, err) == (0, {"method halves": []}, "")


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        (":uints", (), "unknown name in {file}: 'uints'; did you mean 'units'?"),
        (":units", ("--as", "solvers"), "unknown kind in --as 'solvers'; did you mean 'solver'?"),
        (":blind", ("--as", "criterion"), "blind in {file} is def blind(w_OI, gram_II, sparsity), not a Criterion"),
        (":Criterion", (), "Criterion in {file} is class Criterion, of no kind that has laws"),
        (":Criterion", ("--as", "method"), "Criterion in {file} is class Criterion, not def NAME(run, *, option=...)"),
        (":torch", ("--as", "solver"), "torch in {file} is of type module, not def NAME(w_OI, gram_II, *, sparsity)"),
        ("", ("--as", "selector"), "{file} defines no selector (def NAME(scores, sparsity)); name one thing in it"),
        (":", ("--as", "gate"), "{file} defines no gate (a class under WeightGate)"),
        (":blind", ("--set", "sparsity=1"), "--set sparsity is for methods, and there is none here; leave it out"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_one_clear_error(check, tmp_path, name, words, says):
    status, found, err = check(SOLVERS, name, *words)
    assert (status, found) == (2, {})
    assert err.startswith("error: " + says.format(file=tmp_path / "mine.py"))
    assert err.count("\n") == 1


def test_help_names_every_kind(sapwood):
    words = " ".join(sapwood("check", "--help")[1].split())
    assert [kind for kind in KINDS if kind not in words] == []


TASKS = """
from sapwood.checks import tiny_task
from sapwood.training.task import Task
from sapwood import InputError

given = tiny_task()

def mine() -> Task:
    return tiny_task()

def other():
    return tiny_task()

def forgetful(run, *, epochs=1, rate=0.5):
    if rate > 1:
        raise InputError("rate is too high")
    yield from train(run, epochs=epochs)
"""


def test_tasks_are_told_by_what_they_are_or_say_that_they_return(check):
    status, found, err = check(TASKS, "", "--as", "task")
    assert (status, err) == (0, "")
    assert found == {"task given": [], "task mine": []}
    assert check(TASKS, ":other", "--as", "task")[:2] == (0, {"task other": []})


def test_a_method_is_tried_with_the_options_that_are_set(check):
    assert check(TASKS, ":forgetful")[:2] == (0, {"method forgetful": []})
    status, found, _ = check(TASKS, ":forgetful", "--set", "rate=2")
    assert status == 1
    assert found["method forgetful"]
    for word, says in (("rat=2", "unknown option in --set 'rat'; did you mean 'rate'?"),
                       ("rate=much", "option 'rate' of method 'forgetful' is 'much'; it must be")):  # fmt: skip
        status, found, err = check(TASKS, ":forgetful", "--set", word)
        assert (status, found) == (2, {})
        assert err.startswith(f"error: {says}")
