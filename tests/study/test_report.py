"""The report: one file that needs nothing else, from rows that are not mixed up."""

import csv
import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from rich.console import Console
from toy import Interrupted, dying_after, small

from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.study.claim import Claim
from sapwood.study.grid import MINUS, Column, grid, number
from sapwood.study.plots import NO_WEIGHTS, accuracies, curves, weight_maps
from sapwood.study.report import LINES, _in_words, first_lines, report
from sapwood.study.study import Figure, Study
from sapwood.study.table import Summary, over_seeds, read
from sapwood.study.terminal import terminal_table
from sapwood.trials.execution import run_into
from sapwood.trials.trial import Trial

DRAWINGS = (accuracies, curves, weight_maps("hidden1.weight"))
TITLES = ("Accuracies", "Curves", "Weights <first>")


def trials(scale):
    epochs = {"smoke": 1, "small": 2, "paper": 3}[scale]
    for seed in (0, 1):
        yield Trial.make("dense", "mlp_digits", seed, "S", epochs=epochs, stop="epochs")
        yield small("G & <b>", seed, epochs=epochs)


def found(rows):
    return over_seeds(rows, "sparsity", "network").get("G & <b>")


STUDY = Study(
    "mine", "Mine & <others>", "A paper", trials,
    claims=(Claim("table 1", "sparsity of G", 0.8, 0.5, found), Claim("table 2", "no rows", 1, 0.1, lambda rows: None)),
    figures=tuple(Figure(title, "a caption", draw) for title, draw in zip(TITLES, DRAWINGS, strict=True)),
    summary=lambda rows: [f"{len(rows)} rows of S"], notes="some notes",
    codes={"S": "the <standard> network", "G & <b>": "a pruned one", "unused": "nowhere"},
)  # fmt: skip


class Parts(HTMLParser):
    """The tags of a page, and its ids."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.ids, self.links = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [
            value for name, value in attrs if name.rpartition(":")[2] in ("href", "src", "srcset", "data", "action")
        ]


def without_codes(page):
    """The page without what explains its codes."""
    return re.sub(r'<span class="gloss">.*?</span>|<a class="code"[^>]*>|(?<=>[SG])</a>|(?<=&gt;)</a>', "", page)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for trial in STUDY.at("smoke"):
        run_into(folder, trial)
    run_into(folder, small("G & <b>", 0, epochs=1, sparsity=0.5))  # the same label, another trial
    return folder


@pytest.fixture(scope="module")
def page(results):
    return report(STUDY, results).read_text(encoding="utf-8")


def test_a_map_of_weights_that_are_not_there_says_so(tmp_path):
    (axes,) = weight_maps("hidden1.weight")([], tmp_path).axes
    assert [text.get_text() for text in axes.texts] == [NO_WEIGHTS]


def test_the_page_needs_nothing_from_outside(page):
    parts = Parts(page)
    assert parts.links, "the figures refer to their own parts"
    assert all(link.startswith(("#", "data:")) for link in parts.links)
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", page))
    assert {"script", "link", "iframe", "object", "embed"}.isdisjoint(parts.tags)
    assert "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert "@import" not in page
    assert parts.tags.count("svg") == 3
    assert len(set(parts.ids)) == len(parts.ids)
    assert {link[1:] for link in parts.links if link[0] == "#"} <= set(parts.ids)


def test_claims_come_first_then_figures_tables_and_how_it_was_made(page):
    order = ["Claims</h2>", "Figures</h2>", "Tables</h2>", "How this was made</h2>", "<pre>"]
    assert [page.index(each) for each in order] == sorted(page.index(each) for each in order)
    assert '<th scope="row">sparsity of G</th><td>not judged</td><td>table 1</td>' in page
    assert "sapwood run mine --scale smoke" in page
    assert "says nothing about" in page or "say nothing about" in page
    assert "zeros alone make nothing faster" in page
    assert re.search(r"takes \d+\.\d\d times as long", page)
    assert "torch 2" in page
    assert f", {torch.backends.cpu.get_cpu_capability()}), threads: " in page
    assert "some notes" in page


def test_text_is_escaped(page):
    assert "Mine &amp; &lt;others&gt;" in page
    assert "<others>" not in page
    assert "<b>" not in page


def test_other_trials_in_the_folder_are_counted_and_not_mixed_in(results, page):
    assert "1 other trial lies in the folder" in page
    with (results / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["trial"] for row in rows} == {trial.id for trial in STUDY.at("smoke")}
    cells = re.search(r">G &amp; &lt;b&gt;(?:</a>)?</th><td>(\d+)</td><td>(.*?)</td>", page)
    ours = over_seeds(read(results, [t.id for t in STUDY.at("smoke")]), "sparsity", "network")["G & <b>"]
    assert (cells[1], html.unescape(cells[2])) == ("2", number(ours))


def test_the_largest_scale_with_results_is_shown_and_others_on_request(results):
    paper = STUDY.at("paper")[1]
    run_into(results, paper)
    page = report(STUDY, results).read_text(encoding="utf-8")
    assert "Scale paper" in page
    assert '<th scope="row">sparsity of G</th><td>reproduced</td><td>table 1</td>' in page
    assert '<th scope="row">no rows</th><td>cannot be judged</td>' in page
    assert "3 of the trials are not finished" in page
    page = report(STUDY, results, STUDY.at("smoke"), command="sapwood run mine --scale smoke --workers 2").read_text()
    assert "Scale smoke" in page
    assert "<pre>sapwood run mine --scale smoke --workers 2</pre>" in page
    page = report(STUDY, results, [small("G & <b>", 0, epochs=1, sparsity=0.5)]).read_text(encoding="utf-8")
    assert "none of the study" in page


def test_lives_that_did_not_write_down_their_vector_instructions_are_told():
    life = {"sapwood": "1", "python": "3", "torch": "2", "numpy": "2", "commit": None, "threads": 1}
    assert "cpu (x86_64), vector instructions not recorded, threads: 1" in _in_words(life | {"device": "cpu (x86_64)"})
    assert "; cpu (x86_64, AVX2), threads: 1" in _in_words(life | {"device": "cpu (x86_64, AVX2)"})


def test_what_is_not_comparable_and_what_goes_on_from_what_is_said(results):
    short, like = small("G & <b>", 0, epochs=1, sparsity=0.5), small("G & <b>", 1, epochs=1)
    after = Trial.make("dense", "mlp_digits", 0, "S", epochs=1, stop="epochs").after(start=short, teacher=like)
    study = replace(STUDY, trials=lambda scale: [short, like, after], figures=(), control="S")
    page = without_codes(report(study, results, [*study.at("smoke")]).read_text("utf-8"))
    asked = r"Not comparable:</strong> arm G &amp; &lt;b&gt; asked for a sparsity of [\d.]+ and has "
    assert re.search(asked, page), page[page.index("<main>") :][:900]
    said = "begins with the weights of G &amp; &lt;b&gt;; learns from the answers of G &amp; &lt;b&gt;, seed 1"
    assert f"<li>S: {said}</li>" in page
    with pytest.raises(InputError, match="unknown arm as control of study 'mine': 's'; known: "):
        replace(study, control="s").at("smoke")


def test_a_study_with_much_to_say_has_a_report_with_the_rest_below(results):
    """After hours of computing nothing is refused for its words."""
    lines = [f"Sentence {at} of seven." for at in range(1, 8)]
    wordy = replace(STUDY, verdict=lambda rows: lines)
    assert first_lines(wordy, []) == lines[:LINES]
    page = report(wordy, results).read_text(encoding="utf-8")
    places = [page.index(line) for line in lines]
    below = page.index('id="findings"')
    assert places == sorted(places)
    assert places[LINES - 1] < below < places[LINES]


def test_failures_are_shown(tmp_path, monkeypatch):
    run_into(tmp_path, STUDY.at("smoke")[0])
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 5))
        with pytest.raises(Interrupted):
            run_into(tmp_path, STUDY.at("smoke")[1])
    page = without_codes(report(STUDY, tmp_path).read_text(encoding="utf-8"))
    assert "<strong>Failed:</strong> arm G &amp; &lt;b&gt;, seed 0: toy.Interrupted" in page
    assert "3 of the trials are not finished" in page


def test_nothing_is_finished_yet(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no trial of study 'mine' is finished"):
        report(STUDY, tmp_path)
    with pytest.raises(InputError, match="no trial of study 'mine' has any rows"):
        report(STUDY, tmp_path, STUDY.at("smoke"))
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "dense", dying_after(METHODS["dense"], 73))
        with pytest.raises(Interrupted):
            run_into(tmp_path, STUDY.at("smoke")[0])
    page = report(STUDY, tmp_path, STUDY.at("smoke")).read_text(encoding="utf-8")
    assert "4 of the trials are not finished" in page
    assert "not measured" in page


def test_numbers_and_their_intervals():
    assert number(None) == number(Summary(0.0, None, None, 0)) == "\u2013"
    assert number(Summary(1234.5, None, None, 1), 0) == "1,234"
    assert number(Summary(0.5, 0.5, 0.5, 3)) == "0.500"
    assert number(Summary(0.0, -1.0, 1.0, 3), 1) == f"0.0 [{MINUS}1.0,\u00a01.0]"


def test_a_grid_always_says_how_many_seeds(results):
    rows = read(results, [trial.id for trial in STUDY.at("smoke")])
    shown = grid(rows, Column("cycles", "cycles"), Column("nothing", "no such metric"))
    assert shown.columns == ("arm", "seeds (n)", "cycles", "nothing")
    assert sorted(shown.lines) == [("G & <b>", "2", "1", "\u2013"), ("S", "2", "0", "\u2013")]


def test_the_terminal_table_fits_80_columns(results):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(STUDY, read(results, [trial.id for trial in STUDY.at("smoke")])))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if line.strip().startswith(("S ", "G "))]
    assert [row[0] for row in rows] == ["S", "G"]  # the study's order
    assert rows[0][1:5] == ["2", "0.000", "0.000", "0"]
