"""Laws of what is kept and told of a study, and bugs planted in it: digests, pages, provenance, corrected p values."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from archives import KEPT, ROOT, STUDIES, writer
from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.errors import InputError
from sapwood.study import last_run, several
from sapwood.study.study import find
from sapwood.trials import archive as kept
from sapwood.trials import digests, provenance

PAGE = (ROOT / "docs" / "results.md").read_text("utf-8")


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
            kept.read_archive(folder)
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
        "told: the results page is what the kept rows say": _results,
        "told: a study's last run is that of all its kept trials": _last_run,
        "told: the vector instructions stand in a trial's provenance": lambda: demand(
            torch.backends.cpu.get_cpu_capability() in str(provenance.provenance("cpu")), "they do not"
        ),
        "told: trials that began before a study's rules were set are found": _older,
        "told: corrected for many comparisons, no p gets smaller and the least is multiplied by all": _corrected,
    }


def _results() -> None:
    results, study = writer("write_results"), find(str(ROOT / "studies" / STUDIES["quickstart"]))
    demand(results._section(study, results.kept("quickstart")) in PAGE, "the page says something else of quickstart")


def _last_run() -> None:
    said = last_run.last_run(KEPT / "lenet300")
    text = " ".join((ROOT / "studies" / STUDIES["lenet300"]).read_text("utf-8").split())
    demand(said in text, f"the study does not say: {said}")


def _older() -> None:
    """The first study's tolerances were committed while its arms ran; of the other, one trial has two lives."""
    found = last_run.older(KEPT / "activation_pruning", "2026-11-21T10:13:20+00:00")
    wanted = [f"{arm}, seed 0" for arm in ("S", "G1", "G2", "G3", "G4", "G5")]
    demand(found == wanted, f"begun before the tolerances were set are {found}")
    last = last_run.older(KEPT / "lenet300_record", "2026-11-22T01:00:00+01:00")
    demand("dense, seed 4" in last, f"a trial that began at 23:42 and went on at 00:07 is not among {last}")


def _corrected() -> None:
    plain = {"a": 0.01, "b": 0.02, "c": 0.03}
    found = {name: round(p, 9) for name, p in several.holm(plain).items()}
    demand(found == {"a": 0.03, "b": 0.04, "c": 0.04}, f"p of {plain} become {found}")


def rows_only(folder, names):
    said = (folder / digests.FILE).read_text("utf-8")
    if digests._digest(folder / "rows.csv") not in said:
        raise InputError(f"{folder / 'rows.csv'} is not what digests.txt says")


def unordered(p):
    """Without the maximum over those before."""
    return {name: (len(p) - at) * p[name] for at, name in enumerate(sorted(p, key=p.get))}


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
            "the results page is what the kept rows say": {
                "a number of the page is changed": partial(
                    patch.dict,
                    globals(),
                    {"PAGE": PAGE.replace("the dense network has 0.974", "the dense network has 0.9001")},
                )
            },
            "a study's last run is that of all its kept trials": {
                "the last run is that of the trial kept first": instead(
                    last_run, "read_trials", lambda folder: kept.read_trials(folder)[:1]
                ),
                "the last run took minutes called hours": instead(last_run, "HOUR", 60),
                "the last run is told by its first day and commit": instead(
                    last_run, "_ends", lambda values: next(iter(values))
                ),
            },
            "the vector instructions stand in a trial's provenance": {
                "provenance does not name the vector instructions": instead(
                    provenance, "device_name", lambda device: f"{device.type} (x86_64)"
                )
            },
            "trials that began before a study's rules were set are found": {
                "a trial begins when its last life does": instead(last_run, "min", max),
                "only the first trial is asked for when it began": instead(
                    last_run, "read_trials", lambda folder: kept.read_trials(folder)[:1]
                ),
            },
            "corrected for many comparisons, no p gets smaller and the least is multiplied by all": {
                "comparisons are not corrected for": instead(several, "holm", dict),
                "every p is multiplied by their number": instead(
                    several, "holm", lambda p: {name: min(1.0, len(p) * each) for name, each in p.items()}
                ),
                "a larger p may end up below a smaller one": instead(several, "holm", unordered),
            },
        },
    ),
)
