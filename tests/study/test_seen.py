"""Pages seen in a browser: reports, kept ones too, and the page of `look` fit, can be read, and lead somewhere."""

import re

import pytest
import torch
from archives import KEPT
from browser import PHONE, browser, faults, missing
from torch import nn

from sapwood.cli.looks import page as looked_at
from sapwood.shrinking.tracing.site import Couplings, Pinned, Site, Slot
from sapwood.study.report import report
from sapwood.study.study import find
from sapwood.trials.archive import restore

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")
GOOD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"><style>:root { color-scheme: light dark; }
.wide { overflow-x: auto; }</style></head><body><h1 id="top">A page</h1><p>Some words, <a href="#top">a link</a>.</p>
<div class="wide"><table><tr><td>a wide table<td>WIDE</table></div><details><summary>More</summary>MORE</details>
</body></html>"""
PLANTED = {  # what is wrong with a page -> (what of it is replaced, by what), and what is said of it
    "a table outside of what scrolls": (("wide", "narrow"), "at 390 pixels: "),
    "something wide folded away": (("MORE", "<p style='width: 2000px'>.</p>"), "at 390 pixels, all opened: 2"),
    "a link to a place that is not there": (("#top", "#bottom"), "link '#bottom' leads to no place"),
    "a link to a file that is not there": (("#top", "other.html#top"), "link 'other.html#top' leads to no file"),
    "text that is hard to read": (("<p>", "<p style='color: #777'>"), "contrast 4.48 of"),
    "text that is dark on dark": (("<p>", "<p style='color: #333'>"), "dark: contrast"),
    "an error in a script": (("</body>", "<script>nothing.at.all()</script></body>"), "console: "),
    "something fetched": (("</body>", "<img src='no.png' alt=''></body>"), "fetches "),
}  # fmt: skip


@pytest.fixture(scope="module")
def window():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def network_page(tmp_path_factory):
    """The page that `sapwood look --to look.html` writes."""
    network = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 20))
    ends = {"0.weight": ("makes", 0), "0.bias": ("holds", 0), "2.weight": ("reads", 1)}
    slots = (Slot(name, dim, torch.arange(30), role) for name, (role, dim) in ends.items())
    found = Couplings((Site("0", 30, tuple(slots), torch.zeros(30) > 0),), (Pinned("2", 20, "it is the answer"),))
    file = tmp_path_factory.mktemp("look") / "look.html"
    file.write_text(looked_at(network, found, "network.py"), "utf-8")
    return file


@pytest.fixture(scope="module")
def quickstart_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "quickstart"
    restore(KEPT / "quickstart", folder)
    return report(find("quickstart"), folder)


def test_a_report_made_now_is_as_it_should_be(window, quickstart_page):
    assert faults([quickstart_page], alone=True, by=window) == []


def test_a_page_of_what_hangs_together_is_as_it_should_be(window, network_page):
    """On a phone the whole picture is seen, too: it is not what scrolls."""
    assert faults([network_page], alone=True, by=window) == []
    window.open(network_page)
    window.look(PHONE, "light")
    ends = window.ask("return [...document.querySelectorAll('rect')].map((each) => each.getBoundingClientRect().right)")
    assert len(ends) == 4 + 2
    assert max(ends) <= PHONE[0]


@pytest.mark.parametrize("study", ["activation_pruning", "lenet300"])
def test_a_kept_report_is_as_it_should_be(study, window):
    assert faults([KEPT / study / "report.html"], alone=True, by=window) == []


def test_a_verdict_is_on_the_first_screen_and_what_is_long_is_folded(window, quickstart_page):
    window.open(quickstart_page)
    window.look(PHONE, "light")
    box = window.ask("return document.querySelector('.verdict').getBoundingClientRect().bottom")
    assert box < 1.2 * PHONE[1]
    window.ask("document.querySelectorAll('.table').forEach((each) => { each.open = false; });")
    link = window.ask("return location.hash = document.querySelector('.table [id]').id")
    assert window.ask("return document.getElementById(arguments[0]).checkVisibility()", link), "it stays folded"


def test_a_good_page_has_no_fault_and_each_planted_one_is_found(window, tmp_path):
    wide = GOOD.replace("WIDE", "w" * 500)
    for bug, ((what, by), said) in {"nothing": (("", ""), ""), **PLANTED}.items():
        page = tmp_path / (re.sub(r"\W", "-", bug) + ".html")
        page.write_text(wide.replace(what, by, 1) if what != "wide" else wide.replace('class="wide"', ""), "utf-8")
        found = faults([page], alone=True, by=window)
        assert bool(found) == (bug != "nothing"), (bug, found)
        assert said in "\n".join(found), (bug, found)


def test_links_into_other_pages_are_followed(window, tmp_path):
    one, other = tmp_path / "one.html", tmp_path / "two" / "index.html"
    other.parent.mkdir()
    other.write_text(GOOD.replace("WIDE", ""), "utf-8")
    one.write_text(GOOD.replace("WIDE", "").replace("#top", "two/#top", 1), "utf-8")
    assert faults([one, other], by=window) == []
    one.write_text(GOOD.replace("WIDE", "").replace("#top", "two/#bottom", 1), "utf-8")
    assert faults([one], by=window) == ["one.html: link 'two/#bottom' leads to no place in index.html"]


def test_without_a_browser_it_is_said_what_is_missing(monkeypatch):
    missing.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert missing() == "no chromium and no chromedriver: apt-get install chromium chromium-driver"
    monkeypatch.undo()
    missing.cache_clear()
