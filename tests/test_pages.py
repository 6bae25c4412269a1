"""Pages that are written by a command are current."""

import html
import re

import pytest
from archives import part, writer

from sapwood.study.study import found

DENSE = {"quickstart": "dense", "activation_pruning": "S", "lenet300": "dense", "lenet300_record": "dense"}  # rows


def test_the_results_page_is_what_the_kept_rows_say():
    results = writer("write_results")
    assert results.page() == results.PAGE.read_text("utf-8"), "run: python docs/write_results.py"


def test_the_api_page_is_what_the_docstrings_say():
    api = writer("write_api")
    assert api.page() == api.PAGE.read_text("utf-8"), "run: python docs/write_api.py"


@pytest.mark.parametrize("study", DENSE)
def test_another_number_in_the_rows_is_another_page(study):
    results, of = writer("write_results"), found()[study]
    rows = results.kept(study)
    about = {"phase": None, "split": "test", "metric": "accuracy", "row": DENSE[study]}
    at = next(at for at, row in enumerate(rows) if about.items() <= row.items())
    worse = [*rows[:at], rows[at] | {"value": 0.5}, *rows[at + 1 :]]
    assert results._section(of, worse) != results._section(of, rows)
    assert results._section(of, rows) in results.PAGE.read_text("utf-8")


@pytest.mark.parametrize("study", ["activation_pruning", "lenet300"])
def test_kept_reports_open_with_what_the_kept_rows_say(study):
    """The page in git is that of today's code and rows, as far as the rows that are read here tell."""
    results = writer("write_results")
    page, rows = (results.ARCHIVES / study / "report.html").read_text("utf-8"), results.kept(study)
    page = html.unescape(re.sub(r'<span class="gloss">.*?</span>|</?a\b[^>]*>', "", page))  # what codes mean
    if study == "activation_pruning":
        said = part(study, "verdicts").in_short(rows)
    else:
        said = [part(study, "verdicts").dense(rows), part(study, "verdicts").headline(rows).answer]
    for words in (*said, *part(study, "assumptions").assumptions(rows)):
        assert words in page, f"make the page again: sapwood report {study} --from studies/results; it lacks {words!r}"
    assert page.index(said[0]) < page.index("What these numbers assume") < page.index("Figures</h2>")
