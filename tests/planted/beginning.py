"""Laws of the first pages and of what `sapwood new` writes, and bugs planted in both."""

import re
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from archives import writer
from planted.mutant import bugs, instead

from sapwood.checks import Laws, broken
from sapwood.checks.law import demand
from sapwood.cli import scaffold
from sapwood.cli.checking import laws
from sapwood.errors import InputError

PRINTED = writer("write_printed")


def page_laws() -> Laws:
    """What a page may show of what its code prints."""
    return {
        "pages: a number that was not printed is not shown": _exactly,
        "pages: an accuracy may be a little off, and no more": _nearly,
        "pages: every line stands there, but for dots": _whole,
    }


def _exactly() -> None:
    demand(PRINTED.alike("MACs 5\n", "MACs 5\n"), "the same is not alike")
    demand(not PRINTED.alike("MACs 5\n", "MACs 6\n"), "5 is shown and 6 was printed")


def _nearly() -> None:
    demand(PRINTED.alike("accuracy 0.981\n", "accuracy 0.979\n"), "0.981 for 0.979 is refused")
    demand(not PRINTED.alike("accuracy 0.981\n", "accuracy 0.901\n"), "0.981 is shown and 0.901 was printed")


def _whole() -> None:
    demand(PRINTED.alike("a\n...\nc\n", "a\nb\nc\n"), "dots do not stand for a line")
    demand(not PRINTED.alike("a\nc\n", "a\nb\nc\n"), "a line was left out without dots")


def begun_laws() -> Laws:
    """What `sapwood new` writes, and what it leaves alone."""
    return {"begun: a criterion keeps its laws": _lawful, "begun: nothing is overwritten": _spared}


def _lawful() -> None:
    with TemporaryDirectory() as folder:
        _begun(folder)
        failed = broken(list(laws(str(Path(folder) / "begun_here.py"))))
        demand(not failed, f"what was begun breaks {[each.law for each in failed]}")


def _spared() -> None:
    with TemporaryDirectory() as folder:
        mine = Path(folder) / "test_begun_here.py"
        mine.write_text("mine")
        with suppress(InputError):
            _begun(folder)
        demand(mine.read_text() == "mine", "a file was overwritten")


def _begun(folder: str) -> None:
    with redirect_stdout(StringIO()):
        scaffold.begin("criterion", "begun_here", Path(folder))


SPOILT = {"criterion": (scaffold.CRITERION.replace("w_OI.abs() *", "w_OI.sum(1) *"), scaffold.CRITERION_TEST)}

MUTANTS = (
    *bugs("pages", page_laws, {
        "a number that was not printed is not shown": {
            "the numbers of every line may differ": instead(PRINTED, "ANY", re.compile("")),
        },
        "an accuracy may be a little off, and no more": {
            "accuracies may be a tenth off": instead(PRINTED, "ACCURACY", 0.1),
        },
        "every line stands there, but for dots": {
            "only the lines that are shown are looked at": instead(
                PRINTED, "alike", lambda shown, said: set(shown.splitlines()) - {"..."} <= set(said.splitlines())
            ),
        },
    }),
    *bugs("begun", begun_laws, {
        "a criterion keeps its laws": {
            "the criterion that is written adds up its rows": instead(scaffold, "TEXTS", SPOILT),
        },
        "nothing is overwritten": {
            "nobody looks for files that are there": instead(Path, "exists", lambda self: False),
        },
    }),
)  # fmt: skip
