"""How the documentation site is built: the Markdown pages of this repository, as they are, by Sphinx and MyST.

`make site` builds it from the repository's root, so that links between pages lead to the same places here and there.
"""

import re
from typing import Any

project = "sapwood"
author = "the sapwood authors"
copyright = "the sapwood authors, Apache-2.0"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/decisions/*.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LOG.md",
    "studies/results/README.md",
]
templates_path = ["_site"]
nitpicky = True

# Markdown as a forge shows it: anchors of headings, no other syntax.
myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["myst.header"]  # the API page goes from its title to entries of a class

html_theme = "furo"
html_title = "sapwood"
html_static_path = ["_site/static"]
html_css_files = ["sapwood.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_additional_pages = {"index": "redirect.html"}
html_theme_options: dict[str, Any] = {
    "light_css_variables": {"color-brand-primary": "#1f6f43", "color-brand-content": "#1f6f43"},
    "dark_css_variables": {"color-brand-primary": "#7fd1a0", "color-brand-content": "#7fd1a0"},
}


def _said_for_sphinx(app: object, name: str, source: list[str]) -> None:
    """Examples with a prompt are highlighted as a Python console; nothing else is changed."""
    source[0] = re.sub(r"^```pycon$", "```python-console", source[0], flags=re.MULTILINE)


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx about the one change, and that pages may be read side by side."""
    app.connect("source-read", _said_for_sphinx)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
