"""Report: a study's results as one HTML file that needs nothing else, and its rows as CSV."""

import html
import io
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from sapwood import disk
from sapwood.errors import InputError
from sapwood.extras import optional
from sapwood.study.claim import verdict
from sapwood.study.earlier import in_words
from sapwood.study.grid import MINUS, Grid, number, overview, ranks, sizes
from sapwood.study.plots import STYLE
from sapwood.study.speed import speed
from sapwood.study.study import SCALES, Study, Tabled
from sapwood.study.table import Table, in_order, read, write_csv
from sapwood.training import checkpoint
from sapwood.trials.execution import over, read_trial, sums
from sapwood.trials.folder import last_words
from sapwood.trials.trial import Trial

with optional("a report"):
    import jinja2

ABOUT_SCALE = {
    "smoke": "Scale smoke: this shows that the study runs. Its numbers say nothing about the paper's.",
    "small": "Scale small: less than the claims are about, so a verdict here is an indication only.",
    "paper": "Scale paper: what the claims are about.",
    "": "Options were changed or trials left out: this is none of the study's own scales.",
}
ASSUMED = (  # of every study's numbers
    f"An interval is mean ± t(0.975, n {MINUS} 1) · s / √n over n seeds. A seed changes the initial weights and the "
    "order of the data; the test images are the same for all, so nothing is said about others. Where arms are "
    "compared, the interval is that of the differences, seed by seed.",
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


class Shown(NamedTuple):
    """A drawing as the page has it."""

    title: str
    caption: str
    svg: str


def report(study: Study, folder: Path, trials: Sequence[Trial] | None = None, command: str = "") -> Path:
    """Write report.html and rows.csv into the study's results folder; the page's path.

    Shows `trials`; without them, those of the largest scale that has a finished one. What else lies in the folder,
    from other scales or changed options, is counted but never mixed in. `command` is what was typed, if it is known.
    """
    shown = trials if trials is not None else study.latest(folder)
    ids = [trial.id for trial in shown]
    rows = in_order(read(folder, ids), ids)
    if not rows:
        failures = "".join(f"; arm {arm}, seed {seed} failed: {what}" for arm, seed, what in _failed(shown, folder)[:1])
        raise InputError(f"no trial of study {study.name!r} has any rows in {folder}{failures}; run it first")
    scale = _scale(study, shown)
    measured = [*rows, *study.more(folder)] if study.more else rows
    page = _template().render(
        study=study,
        scale=scale,
        about_scale="" if scale == "every" else ABOUT_SCALE[scale],
        summary=study.summary(rows) if study.summary else (),
        speed=speed(rows, folder),
        assumed=[*ASSUMED, *(study.assumes(rows) if study.assumes else ()), *in_words(shown)],
        claims=_claims(study, rows, judged=scale not in ("smoke", "")),
        figures=_drawn(study, rows, folder),
        tables=[(t, t.build(measured)) for t in study.tables or TABLES],
        failed=_failed(shown, folder),
        unfinished=_unfinished(shown, folder),
        others=_others(ids, folder),
        made=_made(ids, folder),
        seconds=_seconds(ids, folder),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        command=command or _command(study, scale),
    )
    write_csv(rows, folder / "rows.csv")
    checkpoint.replace(folder / "report.html", page.encode())
    return folder / "report.html"


def _scale(study: Study, trials: Sequence[Trial]) -> str:
    """The scale that has exactly these trials; "every" when all scales have, "" when none has."""
    mine = {trial.as_of(before=False).id for trial in trials}
    same = [scale for scale in SCALES if {trial.id for trial in study.at(scale)} == mine]
    if len(same) == len(SCALES):
        return "every"
    return same[-1] if same else ""


def _command(study: Study, scale: str) -> str:
    if scale in SCALES:
        return f"sapwood run {study.name} --scale {scale}"
    return (study.command or f"sapwood run {study.name}") + ("" if scale else "  # with --set and --only as it was run")


def _template() -> jinja2.Template:
    text = files("sapwood.study").joinpath("report.html.j2").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)


def _claims(study: Study, rows: Table, *, judged: bool) -> Grid | None:
    """Verdicts where the rows are what the claims are about; a smoke test has the numbers only."""
    columns = ("verdict", "claim", "where", "paper", "tolerance", "ours [95 % interval]", "seeds (n)")
    lines = []
    for claim in study.claims:
        ours = claim.found(rows)
        said = verdict(claim, ours) if judged else "not judged"
        paper = (claim.text, claim.where, f"{claim.value:g}", f"± {claim.tolerance:g}")
        lines.append((said, *paper, number(ours, 4), str(ours.n if ours else 0)))
    return Grid(columns, tuple(lines)) if lines else None


def _drawn(study: Study, rows: Table, folder: Path) -> list[Shown]:
    with optional("a figure"):
        from matplotlib import rc_context

    with rc_context(STYLE):
        drawings = [(figure, figure.draw(rows, folder)) for figure in study.figures]
        return [
            Shown(each.title, each.caption, svg(drawing, f"f{i}-", each.title))
            for i, (each, drawing) in enumerate(drawings)
        ]


def svg(figure: Any, prefix: str, title: str) -> str:
    """A matplotlib figure as an element to put into a page: no links to anywhere, and ids that no other figure has."""
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=200, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    whole = text.getvalue()
    element = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", whole[whole.index("<svg") :])
    element = re.sub(r'\bid="', f'id="{prefix}', element)
    element = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)


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
