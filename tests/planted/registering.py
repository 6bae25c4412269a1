"""Bugs planted in tables, in options that are several numbers, in telling what `check` is given, and in new weights."""

import json
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws, broken, tiny_task
from sapwood.checks.law import demand
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.methods.dense import dense
from sapwood.training.draws import luck
from sapwood.training.entry import NOTHING, Column, Entry, table
from sapwood.training.run import start
from sapwood.trials import trial as trials
from sapwood.trials import values
from sapwood.trials.trial import Trial

checking, scratch = map(import_module, ("sapwood.cli.checking", "sapwood.methods.pruning_from_scratch"))


def table_laws() -> Laws:
    """A table and its columns."""
    return {
        "table: what is set in one column leaves the others as they were": _others_stay,
        "table: a column leaves out what says nothing": _left_out,
        "table: a method of one's own needs one line": _one_line,
    }


def _others_stay() -> None:
    entries = table(Entry(dense, version=3, before=2))
    Column(entries, "version")["dense"] = 4
    Column(entries, "make")["dense"] = _one_line
    demand(entries["dense"] == Entry(_one_line, version=4, before=2), f"it is {entries['dense']}")


def _left_out() -> None:
    before = Column(table(Entry(dense), Entry(_one_line, before=1)), "before")
    demand(list(before) == ["_one_line"] and len(before) == 1, f"it has {list(before)}")
    demand("dense" not in before and before == {"_one_line": 1}, "it has another value")


def _one_line() -> None:
    METHODS["mine"] = dense
    try:
        found = Trial.make("mine", "mlp_digits", 0).identity["method"]
    except (KeyError, InputError) as error:
        raise AssertionError(f"it is not known: {error}") from error
    finally:
        del METHODS["mine"]
    demand(found == "mine@1", f"it is {found}")


def numbers_laws() -> Laws:
    """Options that are tuples of numbers."""
    return {
        "numbers: however they are given they are one trial": partial(_with_several, _one_trial),
        "numbers: an identity is what its file gives back": partial(_with_several, _given_back),
        "numbers: what is typed is read as the annotation says": partial(_with_several, _typed),
    }


def several(run, *, levels: tuple[float, ...] = (0.5,), sizes: tuple[int, ...] = (1,)):
    """Has two options of several numbers."""
    yield from ()


def _with_several(law) -> None:
    METHODS["several"] = several
    try:
        law(partial(Trial.make, "several", "mlp_digits", 0))
    except InputError as error:
        raise AssertionError(f"refused: {error}") from error
    finally:
        del METHODS["several"]


def _one_trial(make) -> None:
    ids = {make(levels=each).id for each in ((1.0, 2.0), (1, 2), [1, 2.0])}
    demand(len(ids) == 1, f"{len(ids)} trials")


def _given_back(make) -> None:
    identity = make(levels=(1.0, 2.0)).identity
    demand(json.loads(json.dumps(identity)) == identity, "another one")


def _typed(make) -> None:
    found = [trials.parse_option("several", name, "3, 4") for name in ("levels", "sizes")]
    demand([*map(repr, found)] == ["(3.0, 4.0)", "(3, 4)"], f"they are {found}")


def check_laws() -> Laws:
    """What `sapwood check` makes of a file."""
    return {
        "check: what a solver removes is seen": partial(_all_pass, "solver units"),
        "check: what a selector ranks together is seen": partial(_all_pass, "selector by_layer"),
        "check: a function that is no member of a family is left alone": _left_alone,
        "check: what a file only imports is left alone": _imported,
    }


FILE = """
from sapwood.reconstruction import thinet
from sapwood.reconstruction.refitting import refit
from sapwood.selection.select import everywhere, per_layer

def units(w_OI, gram_II, *, sparsity):
    return thinet(w_OI, gram_II, sparsity=sparsity)

def by_layer(scores, sparsity):
    return per_layer(scores, sparsity)

def refitted(w_OI, gram_II, *, keep):
    return refit(w_OI, gram_II, keep=keep)
"""


def _results(name: str = "") -> list:
    with TemporaryDirectory() as folder:
        (file := Path(folder) / "mine.py").write_text(FILE)
        return [*checking.laws(f"{file}{name}")]


def _all_pass(subject: str) -> None:
    found = _results(f":{subject.split()[1]}")
    demand(all(each.law.startswith(subject) for each in found), f"taken for {found[0].law}")
    demand(not broken(found), f"{len(broken(found))} of {len(found)} laws fail")


def _told() -> set[str]:
    with TemporaryDirectory() as folder:
        (file := Path(folder) / "mine.py").write_text(FILE)
        return set(checking._all_in(checking.load(file), file, None))


def _left_alone() -> None:
    demand("refitted" not in _told(), "a function without a sparsity is taken for a solver")


def _imported() -> None:
    demand(not _told() & {"everywhere", "per_layer", "thinet"}, f"held to laws: {_told()}")


def fresh_laws() -> Laws:
    """New weights of a network that was rebuilt."""
    return {"fresh: a smaller network's new weights are those of the task's rule for its size": _of_its_size}


def _of_its_size() -> None:
    run = start(tiny_task())
    for _ in METHODS["pruning_from_scratch"](run, macs=0.6, gate_epochs=1, epochs=0):
        pass
    word = int(torch.randint(2**32, (), generator=luck(0, "weights of its size")))
    found = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.task.init(run.model, word)
    wrong = [name for name, value in run.model.state_dict().items() if not torch.equal(value, found[name])]
    demand(not wrong, f"{', '.join(wrong)} are others")


def as_it_is(value, annotation):
    return tuple(value)


def any_with_a_gram_matrix(thing):
    return "solver" if "gram_II" in checking._parameters(thing) else ""


def _anew(column, name, value):
    column._entries[name] = Entry(**{"make": None, column._field: value})


def _unversioned(column, name, value):
    column._entries[name] = Entry(value, version=None) if column._field == "make" else NOTHING


def _everything(column):
    return iter(column._entries)


MUTANTS = (
    *bugs(
        "table",
        table_laws,
        {
            "what is set in one column leaves the others as they were": {
                "an entry is made anew whenever a column is set": instead(Column, "_put", _anew)
            },
            "a column leaves out what says nothing": {
                "a column counts all entries": instead(Column, "__iter__", _everything)
            },
            "a method of one's own needs one line": {
                "a method of one's own has no version": instead(Column, "_put", _unversioned)
            },
        },
    ),
    *bugs(
        "numbers",
        numbers_laws,
        {
            "however they are given they are one trial": {
                "whole numbers stay whole in a tuple of floats": instead(
                    values, "_nearly", lambda value, of: tuple(value)
                )
            },
            "an identity is what its file gives back": {
                "an identity has tuples, its file lists": instead(trials, "_in_words", dict)
            },
            "what is typed is read as the annotation says": {
                "every typed number is a float": partial(
                    patch.dict, values._READ, {tuple: lambda text: tuple(map(float, text.split(",")))}
                )
            },
        },
    ),
    *bugs(
        "check",
        check_laws,
        {
            "what a solver removes is seen": {
                "every solver is taken for one of weights": instead(
                    checking.solver, "removed_by", lambda solve: "weights"
                )
            },
            "what a selector ranks together is seen": {
                "every selector is taken for one of all layers": instead(
                    checking.selector, "scope_of", lambda select: "global"
                )
            },
            "a function that is no member of a family is left alone": {
                "whatever takes a matrix and its Gram matrix is a solver": instead(
                    checking, "_kind_of", any_with_a_gram_matrix
                )
            },
            "what a file only imports is left alone": {
                "what is imported is tried as well": instead(checking, "_defined_in", lambda module, thing: True)
            },
        },
    ),
    *bugs(
        "fresh",
        fresh_laws,
        {
            "a smaller network's new weights are those of the task's rule for its size": {
                "they are cut from a larger network's": instead(scratch, "drawn_for_its_size", lambda run: None),
                "they are those of the run's own seed": instead(
                    scratch, "drawn_for_its_size", lambda run: run.task.init(run.model, run.seed)
                ),
            }
        },
    ),
)
