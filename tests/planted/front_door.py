"""Bugs planted where people come in: tables of names, what was typed, extras, the studies that a wheel brings."""

import tempfile
from importlib import import_module
from pathlib import Path

from planted.mutant import bugs, instead

from sapwood.checks.law import demand

errors, extras, typed, owned = (
    import_module(f"sapwood.{name}") for name in ("errors", "extras", "cli.typed", "cli.owned")
)
study, entry = import_module("sapwood.study.study"), import_module("sapwood.training.entry")


def laws():
    """Of the front door."""
    return {
        "front door: a wrong name in any table is a KeyError that says the nearest": _tables,
        "front door: a number outside its range is refused with the range": _ranges,
        "front door: an absent package is told with the line that installs it": _extras,
        "front door: an installed package finds the studies that it brings": _studies,
        "front door: a network that cannot be made is told in one line": _made,
    }


def _said(call, kind):
    """What the error of this kind says, "" for any other end."""
    try:
        call()
    except kind as error:
        return str(error)
    except Exception as error:
        return f"({type(error).__name__})"
    return ""


def _tables():
    tables = errors.Names("gate", {"clamp": 1}), entry.Column({"clamp": entry.Entry(print)}, "make", "gate")
    for table in tables:
        said = _said(lambda table=table: table["clmp"], KeyError)
        demand(said == "unknown gate 'clmp'; did you mean 'clamp'?", f"it says {said}")


def _ranges():
    for text in ("0", "5", "x"):
        said = _said(lambda text=text: typed.whole("--n", text, most=4), errors.InputError)
        demand("from 1 to 4" in said, f"{text} is answered by {said!r}")
    demand([typed.whole("--n", text, most=4) for text in ("1", "4")] == [1, 4], "what is in the range is not taken")


def _extras():
    def absent():
        with extras.optional("a figure"):
            raise ModuleNotFoundError("no", name="matplotlib.figure")

    said = _said(absent, errors.InputError)
    demand(said == 'a figure needs matplotlib.figure; run: pip install "sapwood[study]"', f"it says {said!r}")


def _studies():
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve() / "lib" / "site-packages" / "sapwood"
        (home / "studies").mkdir(parents=True)
        found = study._ours(str(home / "study" / "study.py"))
        demand(found == home / "studies", f"{found} is looked into")


def _made():
    def fails():
        raise ValueError("one\ntwo")

    said = _said(lambda: owned._made(fails, "mine.py:make"), errors.InputError)
    demand(said.startswith("mine.py:make fails: ValueError: one;") and "\n" not in said, f"it says {said!r}")


def of_keys_only(self, name):
    raise KeyError(name)


def from_zero(option, text, *, least=1, most=None, why=""):
    return _whole(option, text, least=0, most=most, why=why)


_whole = typed.whole
CLAIMS = {
    "a wrong name in any table is a KeyError that says the nearest": {
        "a table is a dict and no more": instead(errors.Names, "__missing__", of_keys_only),
        "a column does not know its kind": instead(entry, "unknown", lambda kind, *rest: errors.unknown("name", *rest)),
    },
    "a number outside its range is refused with the range": {
        "zero is a number of workers": instead(typed, "whole", from_zero)
    },
    "an absent package is told with the line that installs it": {
        "only whole packages are looked up": instead(
            extras, "installs", lambda module: {"matplotlib": "study"}.get(module)
        )
    },
    "an installed package finds the studies that it brings": {
        "studies are looked for in checkouts only": instead(
            study, "_ours", lambda here: Path(here).resolve().parents[3] / "studies"
        )
    },
    "a network that cannot be made is told in one line": {
        "the whole message is handed on": instead(owned, "said", lambda error: f"{type(error).__name__}: {error}")
    },
}

MUTANTS = bugs("front door", laws, CLAIMS)
