"""The documentation site as `make site` has built it, seen in a browser: it fits, can be read, and leads somewhere."""

import pytest
from archives import ROOT

browser = pytest.importorskip("browser", reason="no browser is asked here")
SITE = ROOT / "build" / "site"
PAGES = ("README", "docs/index", "docs/first-steps", "docs/how-much", "docs/api", "docs/speed", "docs/troubleshooting")
pytestmark = [
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "there is a browser"),
    pytest.mark.skipif(not SITE.is_dir(), reason="no site in build/site: make site"),
]


def test_pages_of_the_site_fit_a_phone_and_a_screen_light_and_dark_and_lead_somewhere():
    assert browser.faults([SITE / f"{page}.html" for page in PAGES]) == []


def test_the_first_address_leads_to_the_contents():
    assert 'url=docs/index.html"' in (SITE / "index.html").read_text("utf-8")
