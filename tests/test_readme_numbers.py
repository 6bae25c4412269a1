"""README's numbers: each is what the kept rows give, or stands in a list of what is not from rows, with its reason."""

import html
import re

import pytest
from quoted.kept import KEPT, ROOT, kept, part
from quoted.page import ELSEWHERE, faults, flat, quotes

README = (ROOT / "README.md").read_text("utf-8")


def test_every_number_is_what_the_kept_rows_say_or_is_known_not_to_be_from_rows():
    assert faults(README) == []


def test_nothing_is_excused_that_is_not_there():
    assert [pattern for pattern in ELSEWHERE if not re.search(pattern, flat(README))] == []
    assert len(list(quotes())) > 50


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("digits: 0.976", "digits: 0.986"),
        ("463 reproduce", "473 reproduce"),
        ("0 of 12 pruned networks", "1 of 12 pruned networks"),
        ("1.69 [0.40, 2.99]", "1.69 [0.41, 2.99]"),
        ("4.20 [4.13, 4.27] 105 %", "4.20 [4.13, 4.27] 115 %"),
        ("73,403 of 321,360", "73,304 of 321,360"),
        ("13.9 % (*Neurons", "12.9 % (*Neurons"),
        ("and downloaded only when asked to.", "and downloaded only when asked to, 7 times faster."),
    ],
)
def test_a_number_that_is_changed_or_new_is_noticed(old, new):
    page = flat(README)
    assert old in page
    assert len(faults(page.replace(old, new, 1))) >= 1


@pytest.mark.parametrize("study", ["activation_pruning", "lenet300"])
def test_kept_reports_open_with_what_the_kept_rows_say(study):
    """The page in git is that of today's code and rows, as far as the rows that are read here tell."""
    page, rows = html.unescape((KEPT / study / "report.html").read_text("utf-8")), kept(study)
    if study == "activation_pruning":
        said = [part(study, "verdicts_of_text").in_short(rows), part(study, "verdicts").numbers(rows)]
    else:
        said = [part(study, "verdicts").dense(rows), part(study, "verdicts").headline(rows).answer]
    for words in (*said, *part(study, "assumptions").assumptions(rows)):
        assert words in page, f"make the page again: sapwood report {study} --from studies/results; it lacks {words!r}"
    assert page.index(said[0]) < page.index("What these numbers assume") < page.index("Figures</h2>")
