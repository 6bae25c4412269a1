"""Laws of what is kept and told of a study, and bugs planted in it: digests, README, provenance, corrected p values."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from quoted import page
from quoted.kept import KEPT, ROOT

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.errors import InputError
from sapwood.study import several
from sapwood.trials import archive as kept
from sapwood.trials import digests, provenance

PAGE = (ROOT / "README.md").read_text("utf-8")


def kept_laws() -> Laws:
    """A small study's kept rows, edited."""
    return {
        "kept: rows as they were kept are read": lambda: _reads(lambda folder: None, refused=""),
        "kept: an edited file is refused by its name": _refuses,
    }


def _refuses() -> None:
    _reads(partial(_edited, "rows.csv", ",test,accuracy,0.97", ",test,accuracy,0.98"), refused="rows.csv")
    _reads(partial(_edited, "trials.csv", "cpu (", "CPU ("), refused="trials.csv")


def _reads(change: Callable[[Path], None], refused: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(KEPT / "quickstart", Path(place) / "quickstart"))
        change(folder)
        try:
            kept.read_kept(folder)
        except InputError as error:
            demand(bool(refused) and refused in str(error) and "digests.txt" in str(error), f"it says {error}")
            return
    demand(not refused, f"an edited {refused} was taken for what was kept")


def _edited(name: str, old: str, new: str, folder: Path) -> None:
    text = (folder / name).read_text("utf-8")
    demand(old in text, f"{old!r} is not in {name}")
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")


def told_laws() -> Laws:
    """What is said of results."""
    return {
        "told: README's numbers are those of the kept rows": lambda: demand(
            not (wrong := page.faults(PAGE)), "; ".join(wrong)
        ),
        "told: the vector instructions stand in a trial's provenance": lambda: demand(
            torch.backends.cpu.get_cpu_capability() in str(provenance.provenance("cpu")), "they do not"
        ),
        "told: corrected for many comparisons, no p gets smaller and the least is multiplied by all": _corrected,
    }


def _corrected() -> None:
    plain = {"a": 0.01, "b": 0.02, "c": 0.03}
    found = {name: round(p, 9) for name, p in several.holm(plain).items()}
    demand(found == {"a": 0.03, "b": 0.04, "c": 0.04}, f"p of {plain} become {found}")


def rows_only(folder, names):
    said = (folder / digests.FILE).read_text("utf-8")
    if digests._digest(folder / "rows.csv") not in said:
        raise InputError(f"{folder / 'rows.csv'} is not what digests.txt says")


MUTANTS = (
    *bugs(
        "kept",
        kept_laws,
        {
            "rows as they were kept are read": {
                "every digest is another": instead(digests, "_digest", lambda path: "0" * 64)
            },
            "an edited file is refused by its name": {
                "an edited row of kept results is believed": instead(digests, "check", lambda folder, names: None),
                "only rows are looked at, not what trials they are of": instead(digests, "check", rows_only),
            },
        },
    ),
    *bugs(
        "told",
        told_laws,
        {
            "README's numbers are those of the kept rows": {
                "a number of README is changed": partial(
                    patch.dict, globals(), {"PAGE": PAGE.replace("463 reproduce", "483 reproduce")}
                )
            },
            "the vector instructions stand in a trial's provenance": {
                "provenance does not name the vector instructions": instead(
                    provenance, "device_name", lambda device: f"{device.type} (x86_64)"
                )
            },
            "corrected for many comparisons, no p gets smaller and the least is multiplied by all": {
                "comparisons are not corrected for": instead(several, "holm", dict)
            },
        },
    ),
)
