"""Laws of a study's page, and bugs planted in it: intervals, links, codes, tables, the numbers that it carries."""

import base64
import csv
import gzip
import io
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

from archives import KEPT, ROOT, STUDIES
from planted.mutant import Plant, bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.study import attached, codes, grid, report, seeds, table, words
from sapwood.study.earlier import as_found
from sapwood.study.finals import goal_value, zeros
from sapwood.study.study import find
from sapwood.study.table import Summary
from sapwood.trials.archive import restore

ARMS = {"one": (0.9, 0.99, 1.0), "other": (0.1, 0.9, 1.0)}  # accuracies and sparsities, seed by seed
CODES = {"N": "a <short> code", "N & W": "a longer one"}
TEXT = (
    "<h2>N</h2><p>By N &amp; W, then N.</p><table><tr><td>N</td></tr></table>"
    "<details><p>N, again N.</p></details><p>N and N &amp; W.</p><svg><text>N</text></svg>"
)
REAL = report._source


def laws() -> Laws:
    """What holds of every page."""
    return {
        "pages: no interval reaches beyond what a number can be": _within,
        "pages: a number that is the same in every seed says so": _same,
        "pages: every link inside a page leads somewhere": _links,
        "pages: a code is explained where it is first used, and nowhere else": _explained,
        "pages: a table scrolls by itself, and its rows have headers": _tables,
        "pages: a page carries all final numbers of its trials": _carried,
    }


def _rows() -> table.Table:
    about = {"phase": None, "task": "", "step": 1, "epoch": 1}
    return [
        about | {"trial": f"{arm}{seed}", "row": arm, "seed": seed, "split": split, "metric": metric, "value": value}
        for (arm, values), (split, metric) in product(
            ARMS.items(), (("test", "accuracy"), ("network", "sparsity"))
        )
        for seed, value in enumerate(values)
    ]  # fmt: skip


def _within() -> None:
    rows = _rows()
    found = {
        "accuracy": (table.over_seeds(rows, "accuracy", "test")["other"], 0, 1),
        "difference": (table.difference(rows, "accuracy", "test", "one", "other"), -1, 1),
        "accuracy in percent": (seeds.summed_up(goal_value(rows, "other")), 0, 100),
        "zeros in percent": (seeds.summed_up(zeros(rows, "one")), 0, 100),
        "error in percent": (seeds.summed_up(seeds.errors(rows)["other"]), 0, 100),
        "a gap in points": (seeds.excess(rows, "one", "other"), -100, 100),
    }
    for name, (each, low, high) in found.items():
        demand(low <= each.low <= each.mean <= each.high <= high, f"the interval of the {name} is {each}")
    plain = table.summary([1.0, 2.0, 4.0])
    demand(plain.high > 6, f"an interval of any numbers was cut: {plain}")


def _same() -> None:
    said = words.difference(Summary(9.62, 9.62, 9.62, 5))
    demand("the same in every seed" in said and "[" not in said, f"of equal differences it says {said!r}")
    mixed = grid.Grid(("arm", "number"), (("a", "0.800"), ("b", "0.700 [0.600, 0.800]")))
    demand("every seed gave the same" in report.unbracketed(mixed), "no word on the number without brackets")
    alike = grid.Grid(("arm", "number"), (("a", "0.800"), ("b", "0.700")))
    demand(report.unbracketed(alike) == "", "a word on brackets where there are none")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    place = tempfile.TemporaryDirectory()
    restore(KEPT / "quickstart", Path(place.name))
    return place


def _page() -> str:
    """The page of four trials, without figures."""
    study = find(str(ROOT / "studies" / STUDIES["quickstart"]))
    folder = Path(_folder().name)
    few = as_found(study.at("smoke")[:4], folder)
    return report.report(replace(study, figures=()), folder, few).read_text("utf-8")


def _links() -> None:
    page = _page()
    ids = set(re.findall(r'\bid="([^"]*)"', page))
    missing = sorted({link for link in re.findall(r'href="#([^"]*)"', page) if link not in ids})
    demand(bool(ids) and missing == [], f"there is nothing at {missing}")


def _explained() -> None:
    page = codes.explained(TEXT, CODES)
    said = re.sub(r"<a [^>]*>|</a>|</?span[^>]*>", "", page)
    wanted = TEXT.replace("By N &amp; W, then N.", "By N &amp; W (a longer one), then N (a &lt;short&gt; code).")
    demand(said == wanted, f"it says {said}")
    folded = page[page.index("<details>") : page.index("</details>")]
    demand(folded.count('href="#code-N"') == 1, f"what is folded away has these links: {folded}")


def _tables() -> None:
    page = _page()
    bodies = re.findall(r'(<div class="wide"[^>]*>)?<table.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    demand(len(bodies) > 2 and all(wrapper for wrapper, _ in bodies), "a table has nothing to scroll in")
    lines = [line for _, body in bodies for line in re.findall(r"<tr>(.*?)</tr>", body)]
    demand(all(line.startswith('<th scope="row">') for line in lines), "a row has no header")


def _carried() -> None:
    address = re.search(r'download="quickstart\.csv(\.gz)?" href="data:[^,]*base64,([^"]*)"', _page())
    demand(address is not None, "there is no link to the numbers")
    content = base64.b64decode(address[2])
    lines = list(csv.DictReader(io.StringIO((gzip.decompress(content) if address[1] else content).decode())))
    trials = {line["trial"] for line in lines}
    wanted = [(row["trial"], row["metric"], str(row["value"])) for row in
              table.final(table.read(Path(_folder().name), trials))]  # fmt: skip
    demand(len(trials) == 4, f"the numbers are of {len(trials)} trials")
    demand(sorted((line["trial"], line["metric"], line["value"]) for line in lines) == sorted(wanted), "not all are")


def template(old: str, new: str) -> Plant:
    """The page's template with something replaced."""
    demand(old in REAL(), f"{old!r} is not in the template")
    return instead(report, "_source", lambda: REAL().replace(old, new))


def shortest_first(names: object) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(name.replace("&", "&amp;")) for name in sorted(names, key=len)))


def uncut(end: float, to: object, values: object) -> float:
    return end


WITH_ZERO: Callable[..., str] = lambda found, decimals=2: f"{found.mean} [{found.low}, {found.high}]"  # noqa: E731
MUTANTS = bugs(
    "pages",
    laws,
    {
        "no interval reaches beyond what a number can be": {
            "the interval of an accuracy reaches beyond 1": instead(table, "cut", uncut),
            "a difference forgets what is possible": instead(seeds, "between", lambda one, other: (-1e9, 1e9)),
        },
        "a number that is the same in every seed says so": {
            "an interval of no width is shown without a word": instead(words, "difference", WITH_ZERO),
        },
        "every link inside a page leads somewhere": {
            "the legend of codes has no places to link to": instead(report, "_legend", lambda used: ""),
            "the contents lead to a section of another name": template('href="#tables"', 'href="#table"'),
        },
        "a code is explained where it is first used, and nowhere else": {
            "a code is found in the name of a longer one": instead(codes, "_finder", shortest_first),
            "headings and drawings are explained, too": instead(codes, "_count", lambda depth, tag: None),
        },
        "a table scrolls by itself, and its rows have headers": {
            "a table is wider than the page": template('<div class="wide" role', '<div role'),
            "the headers of rows are cells like others": template('<th scope="row">{{', '<td>{{'),
        },
        "a page carries all final numbers of its trials": {
            "a page carries the first numbers only": instead(attached, "final", lambda rows: table.final(rows)[:9]),
        },
    },
)  # fmt: skip
