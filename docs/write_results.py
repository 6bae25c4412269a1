"""The results page: docs/results.md, made of the trials that are kept in studies/results and of nothing else.

python docs/write_results.py           write it; a test says when that was forgotten
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from sapwood.study.grid import Grid, short
from sapwood.study.last_run import last_run
from sapwood.study.study import Finding, Study, Tabled, found
from sapwood.study.table import Table
from sapwood.trials import digests

ROOT = Path(__file__).resolve().parents[1]
ARCHIVES = ROOT / "studies" / "results"
PAGE = ROOT / "docs" / "results.md"
COURSES = (  # of arms V: at the end of each epoch, and at each prune
    *(",network,nuclear_", ",network,effective_rank_", ",network,stable_rank_"),
    *(",before prune,sigma_", ",after prune,sigma_"),
)
EVERY = "Every arm"
SHOWN = {  # study -> titles of its tables that stand here; the others are in its report
    "quickstart": (EVERY,),
    "activation_pruning": (EVERY, "Verdicts by table"),
    "lenet300": ("Test error (%)", "The originals' points"),
    "lenet300_record": ("Errors",),
    "rethinking": ("Protocols", "Comparisons"),
    "counting_channels": ("Test accuracy, and the difference seed by seed",),
}
HEAD = """# Results

What the methods have been shown to do, study by study. Written by `python docs/write_results.py` from the trials kept
in [studies/results](../studies/results/README.md), which say what made them. A number in brackets is a 95 % interval of
the mean over seeds; where arms are compared, it is that of the differences, seed by seed. Nothing is corrected for the
number of comparisons, unless it is said. That two arms cannot be told apart does not say that they are equally good.
Sparsity is that of all weights; *hidden* is that of the hidden layers, which most methods prune.
"""
FILES = {  # file -> what it is, and its columns that stand here
    "activation_pruning_compacted.csv": (
        "Pruned networks of the first study, seed 0, before and after `compact` (`benchmarks/compacted.py`)",
        ("arm", "widths", "parameters_before", "parameters", "accuracy_before", "accuracy", "time_ratio", "time_low",
         "time_high"),
    ),
    "smaller_resnets.csv": (
        "Trained ResNets for CIFAR-10 before, right after, and eight epochs after losing half of their multiply-adds, "
        "one seed each (`benchmarks/smaller_resnets.py`)",
        (),
    ),
}  # fmt: skip


@cache
def kept(name: str) -> Table:
    """The rows of a study that words and tables here need: those of the end, training accuracies, courses of arms V."""
    folder = ARCHIVES / name
    digests.check(folder, ("trials.csv", "rows.csv"))
    with (folder / "trials.csv").open(newline="") as file:
        trials = {line["trial"]: {"row": line.get("arm", "")} | line for line in csv.DictReader(file)}
    courses = {trial for trial, line in trials.items() if line["row"].startswith("V ")}
    with (folder / "rows.csv").open(newline="") as file:
        head, *lines = file.read().splitlines()
    wanted = csv.DictReader([head, *(line for line in lines if _wanted(line, courses))])
    return [_row(trials[line["trial"]], line) for line in wanted]


def _wanted(line: str, courses: set[str]) -> bool:
    """Looked at before it is taken apart, since there are a million lines."""
    trial, _, rest = line.partition(",")
    at_end, trained = rest.startswith(","), ",train,accuracy," in rest
    return at_end or trained or (trial in courses and any(each in rest for each in COURSES))


def _row(trial: Mapping[str, str], line: Mapping[str, str]) -> dict[str, object]:
    value, phase = (float(line[name]) if line[name] else None for name in ("value", "phase"))
    about = {name: trial[name] for name in ("trial", "row", "method", "task")} | {"seed": int(trial["seed"])}
    where = {name: line[name] for name in ("split", "metric")} | {name: int(line[name]) for name in ("step", "epoch")}
    return about | where | {"phase": phase, "value": value}


def page() -> str:
    """The whole page."""
    studies = {name: study for name, study in found().items() if (ARCHIVES / name / "trials.csv").exists()}
    parts = [HEAD, _by_method(studies), *(_section(study, kept(name)) for name, study in studies.items()), *_files()]
    return "\n".join(parts)


def _by_method(studies: Iterable[str]) -> str:
    """Which study has which method, and with how many trials."""
    counted: dict[str, dict[str, set[str]]] = {}
    for name in studies:
        for row in kept(name):
            counted.setdefault(row["method"], {}).setdefault(name, set()).add(row["trial"])
    lines = (
        (f"`{method}`", ", ".join(f"[{name}](#{name}) ({len(trials)} trials)" for name, trials in where.items()))
        for method, where in sorted(counted.items())
    )
    return f"## Which method is studied where\n\n{_markdown(Grid(('method', 'studies'), tuple(lines)), '---')}\n"


def _section(study: Study, rows: Table) -> str:
    report = f"results/{study.name}/report.html"
    link = (
        f" [Its report](../studies/{report}) has all tables and figures."
        if (ROOT / "studies" / report).exists()
        else ""
    )
    tables = [t for t in (Tabled(EVERY, "", short), *study.tables) if t.title in SHOWN.get(study.name, (EVERY,))]
    return "\n".join([
        f"## {study.name}\n",
        f"{study.title}. *Paper:* {study.paper.rstrip('.')}.{link}\n",
        f"{last_run(ARCHIVES / study.name)}\n",
        *_legend(study),
        *_findings(study.summary(rows) if study.summary else ()),
        "",
        *(f"### {study.name}: {table.title}\n\n{_markdown(table.build(rows))}\n" for table in tables),
    ])  # fmt: skip


def _legend(study: Study) -> Iterator[str]:
    """What the short names of arms and scores mean, before they are used."""
    if study.codes:
        yield f"Short names: {'; '.join(f'*{code}* {words}' for code, words in study.codes.items())}.\n"


def _findings(found: Iterable[str | Finding]) -> Iterator[str]:
    for each in found:
        yield f"- {each}" if isinstance(each, str) else f"- **{each.headline}** {each.answer}"


def _files() -> Iterator[str]:
    """What benchmarks have kept as CSV."""
    for name, (title, columns) in FILES.items():
        with (ARCHIVES / name).open(newline="") as file:
            lines = list(csv.DictReader(file))
        shown = columns or tuple(lines[0])
        cells = tuple(tuple(_brief(line[each]) for each in shown) for line in lines)
        grid = Grid(tuple(each.replace("_", " ") for each in shown), cells)
        yield f"## {name}\n\n{title}.\n\n{_markdown(grid)}\n"


def _brief(cell: str) -> str:
    """A fraction with four digits; anything else as it is."""
    return f"{float(cell):.4g}" if re.fullmatch(r"\d+\.\d{5,}(e-\d+)?", cell) else cell


def _markdown(grid: Grid, align: str = "---:") -> str:
    rows = [grid.columns, ("---",) + (align,) * (len(grid.columns) - 1), *grid.lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)
