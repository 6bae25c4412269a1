"""Report: a study's results as one HTML file that needs nothing else, and its rows as CSV."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from sapwood import disk
from sapwood.errors import InputError
from sapwood.extras import optional
from sapwood.study import codes, smaller
from sapwood.study.attached import rows_file, table_file
from sapwood.study.claim import verdict
from sapwood.study.controlled import against_control, of_control
from sapwood.study.earlier import in_words
from sapwood.study.grid import MINUS, Grid, number, overview, ranks, sizes
from sapwood.study.lineage import lineage
from sapwood.study.pictures import Shown, drawn
from sapwood.study.pictures import svg as svg
from sapwood.study.reached import elsewhere
from sapwood.study.speed import speed
from sapwood.study.standing import RULE
from sapwood.study.study import SCALES, Finding, Study, Tabled
from sapwood.study.table import Table, read, write_csv
from sapwood.training import checkpoint
from sapwood.trials.execution import over, read_trial, sums
from sapwood.trials.folder import last_words
from sapwood.trials.trial import Trial

with optional("a report"):
    import jinja2
    from markupsafe import Markup

LINES, SHORT = 5, 240  # of the verdict box: lines, and letters of a finding that may stand there
LEGEND = "<!--legend-->"
NO_BRACKETS = (
    "Without brackets: every seed gave the same in the digits shown, or only one seed has finished (column seeds)."
)
ABOUT_SCALE = {
    "smoke": "Scale smoke: this shows that the study runs. Its numbers say nothing about the paper's.",
    "small": "Scale small: less than the claims are about, so a verdict here is an indication only.",
    "paper": "Scale paper: what the claims are about.",
    "": "Options were changed or trials left out: this is none of the study's own scales.",
}
ASSUMED = (  # of every study's numbers
    f"An interval is mean ± t(0.975, n {MINUS} 1) · s / √n over n seeds. A seed changes the initial weights and the "
    "order of the data; the test images are the same for all, so nothing is said about others. It is cut off where no "
    "mean can be: a fraction's below 0 and above 1, a count's below 0. How much a layer has of what is counted, such "
    "as neurons, is not known here, so that an interval may reach beyond it. Where arms are compared, the interval is "
    "that of the differences, seed by seed.",
    "Nothing is corrected for the number of comparisons, unless it is said: of 20 comparisons of arms that are alike, "
    "one is expected to have an interval that leaves out 0.",
    "That two arms cannot be told apart does not say that they are equally good: so few seeds see large differences "
    "only.",
    "The bits of a trial depend on the processor's vector instructions, because sums are split differently. Another "
    "processor gives other numbers, as another seed would. What made these stands at the end.",
)
TABLES = (
    Tabled(
        "What each arm reached",
        "Mean over seeds, 95 % interval in brackets where seeds differ in the digits shown.",
        overview,
    ),
    Tabled(
        "Ranks", "Of each hidden layer's weights (NumPy's float32 rule); live: neurons with any weight left.", ranks
    ),
    Tabled("Sizes", "Senses of smaller, none of which is speed; 1 means no smaller.", sizes),
)


def report(study: Study, folder: Path, trials: Sequence[Trial] | None = None, command: str = "") -> Path:
    """Write report.html and rows.csv into the study's results folder; the page's path.

    Shows `trials`; without them, those of the largest scale that has a finished one. What else lies in the folder,
    from other scales or changed options, is counted but never mixed in. `command` is what was typed, if it is known.
    """
    shown = trials if trials is not None else study.latest(folder)
    ids = [trial.id for trial in shown]
    rows = read(folder, ids)
    if not rows:
        failures = "".join(f"; arm {arm}, seed {seed} failed: {what}" for arm, seed, what in _failed(shown, folder)[:1])
        raise InputError(f"no trial of study {study.name!r} has any rows in {folder}{failures or '; run it first'}")
    scale = _scale(study, shown)
    measured = [*rows, *study.more(folder)] if study.more else rows
    figures = drawn(study, rows, folder)
    page = _template(study).render(
        study=study,
        scale=scale,
        about_scale=_about(study, scale),
        **_said(study, rows),
        speed=speed(rows, folder),
        smaller=smaller.said(folder),
        assumed=[*ASSUMED, *(study.assumes(rows) if study.assumes else ()), *in_words(shown)],
        claims=_claims(study, rows, judged=scale not in ("smoke", "")),
        figures=figures,
        tables=_tables(study, measured),
        file=rows_file(study.name, rows),
        failed=_failed(shown, folder),
        elsewhere=elsewhere(shown, rows),
        lineage=lineage(shown),
        unfinished=_unfinished(shown, folder),
        others=_others(ids, folder),
        made=_made(ids, folder),
        seconds=_seconds(ids, folder),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        command=command or _command(study, scale),
    )
    write_csv(rows, folder / "rows.csv")
    checkpoint.replace(folder / "report.html", _finished(page, study, figures).encode())
    return folder / "report.html"


def _scale(study: Study, trials: Sequence[Trial]) -> str:
    """The scale that has exactly these trials; "every" when all scales have, "" when none has."""
    mine = {trial.as_of(before=False).id for trial in trials}
    same = [scale for scale in SCALES if {trial.id for trial in study.at(scale)} == mine]
    if len(same) == len(SCALES):
        return "every"
    return same[-1] if same else ""


def _about(study: Study, scale: str) -> str:
    """What a scale is worth beside the claims, if there are any."""
    if scale == "every" or (scale in ("small", "paper") and not study.claims):
        return ""
    return ABOUT_SCALE[scale]


def _command(study: Study, scale: str) -> str:
    if scale in SCALES:
        return f"sapwood run {study.name} --scale {scale}"
    return (study.command or f"sapwood run {study.name}") + ("" if scale else "  # with --set and --only as it was run")


def _source() -> str:
    return files("sapwood.study").joinpath("report.html.j2").read_text(encoding="utf-8")


def _template(study: Study) -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["coded"] = lambda cell: Markup(codes.linked(cell, study.codes))
    return environment.from_string(_source())


def _said(study: Study, rows: Table) -> dict[str, Any]:
    """The lines of the verdict box, the other sentences, and the findings."""
    every = list(study.summary(rows)) if study.summary else []
    plain = [each for each in every if isinstance(each, str)]
    findings = [each for each in every if not isinstance(each, str)]
    lines = _lines(study, rows, every)
    return {
        "verdict": lines[:LINES],
        "sentences": [*lines[LINES:], *(each for each in plain if each not in lines)],
        "findings": findings,
        "standings": {word: rule for word, rule in RULE.items() if any(each.standing == word for each in findings)},
    }


def first_lines(study: Study, rows: Table) -> list[str]:
    """What the report's first screen says was found, in at most `LINES` lines."""
    return _lines(study, rows, [] if study.verdict or not study.summary else list(study.summary(rows)))[:LINES]


def _lines(study: Study, rows: Table, every: Sequence[str | Finding]) -> list[str]:
    """All lines of the study's verdict, the first `LINES` for the first screen; without one, its summary in short."""
    if study.verdict:
        return list(study.verdict(rows))
    plain = [each for each in every if isinstance(each, str)]
    answers = [f"{each.headline} {each.answer}" for each in every if not isinstance(each, str)]
    short = [line for line in answers if len(line) <= SHORT]
    return [*plain, *short, *against_control(study.control, rows)][:LINES]


def _tables(study: Study, rows: Table) -> list[dict[str, Any]]:
    """Each table with its words, a note on missing brackets, and itself as a file."""
    compared = [of_control(study.control)] if study.control else []
    built = [(each, each.build(rows)) for each in (*(study.tables or TABLES), *compared)]
    return [
        {"about": about, "grid": grid, "note": unbracketed(grid), "file": table_file(study.name, at, grid)}
        for at, (about, grid) in enumerate(built, start=1)
    ]


def unbracketed(grid: Grid) -> str:
    """Why some numbers of a table have no interval, where others in the same column have one."""
    for column in zip(*grid.lines, strict=True):
        some = [cell for cell in column if cell[:1].isdigit() or cell.startswith(MINUS)]
        bare = [cell for cell in some if "[" not in cell]
        if bare and len(bare) < len(some):
            return NO_BRACKETS
    return ""


def _finished(page: str, study: Study, figures: Sequence[Shown]) -> str:
    """The page with its codes explained and its drawings in their places."""
    used = codes.used(page, study.codes)
    page = codes.explained(page.replace(LEGEND, _legend(used)), used)
    for at, figure in enumerate(figures, start=1):
        page = page.replace(f"<!--figure {at}-->", figure.svg, 1)
    return page


def _legend(used: Mapping[str, str]) -> str:
    lines = (
        f'<dt id="{codes.anchor(code)}">{escape(code)}</dt><dd>{escape(words)}</dd>' for code, words in used.items()
    )
    return f'<dl class="codes">{"".join(lines)}</dl>' if used else "<p>None is used.</p>"


def _claims(study: Study, rows: Table, *, judged: bool) -> Grid | None:
    """Verdicts where the rows are what the claims are about; a smoke test has the numbers only."""
    columns = ("claim", "verdict", "where", "paper", "tolerance", "ours [95 % interval]", "seeds (n)")
    lines = []
    for claim in study.claims:
        ours = claim.found(rows)
        said = verdict(claim, ours) if judged else "not judged"
        paper = (claim.where, f"{claim.value:g}", f"± {claim.tolerance:g}")
        lines.append((claim.text, said, *paper, number(ours, 4), str(ours.n if ours else 0)))
    return Grid(columns, tuple(lines)) if lines else None


def _failed(trials: Sequence[Trial], folder: Path) -> list[tuple[str, int, str]]:
    """Which trials failed, and the last line of each traceback."""
    found = [(trial, last_words(folder / trial.id)) for trial in trials]
    return [(trial.arm, trial.seed, said) for trial, said in found if said]


def _unfinished(trials: Sequence[Trial], folder: Path) -> int:
    return sum(not over(folder / trial.id) for trial in trials)


def _others(ids: Sequence[str], folder: Path) -> int:
    mine = set(ids)
    return sum(file.parent.name not in mine for file in folder.glob("*/trial.json"))


def _made(ids: Sequence[str], folder: Path) -> list[tuple[str, int]]:
    """With what the trials were made, and how many with each; a resumed trial counts once per life that differs."""
    lives: Counter[str] = Counter()
    for trial in ids:
        if disk.there(folder / trial / "trial.json"):
            lives.update({_in_words(life) for life in read_trial(folder / trial)["provenance"]})
    return lives.most_common()


def _in_words(life: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {life[name]}" for name in ("sapwood", "python", "torch", "numpy"))
    device = life["device"]
    if device.startswith("cpu") and "," not in device:  # kept before they were written down
        device += ", vector instructions not recorded"
    return f"{versions}; commit {life['commit'] or 'unknown'}; {device}, threads: {life['threads']}"


def _seconds(ids: Sequence[str], folder: Path) -> float:
    return sum(sums(folder / trial)["seconds"] for trial in ids if over(folder / trial))
