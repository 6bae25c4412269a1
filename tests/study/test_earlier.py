"""Earlier: results of a version before stay in use under their old names until the trial is run again."""

import json
import re

import pytest

from sapwood.methods import METHOD_VERSIONS, METHODS_BEFORE
from sapwood.study.earlier import as_found, both, in_words
from sapwood.study.report import report
from sapwood.study.study import Study
from sapwood.study.terminal import terminal_table
from sapwood.trials import folder as folders
from sapwood.trials.archive import add, read_archive, restore
from sapwood.trials.rows import Row, in_lines
from sapwood.trials.trial import Trial

PLAIN = Trial.make("dense", "mlp_digits", 0, "plain", epochs=1)
OLD = Trial.make("nuclear", "mlp_digits", 0, "old", epochs=1)
USING = Trial.make("low_rank", "mlp_digits", 0, "using").after(start=PLAIN, like=OLD)
BLANKED = Trial.make("dense", "mlp_digits", 1, "blanked").under(blank=2)
TRIALS = [PLAIN, OLD, USING, BLANKED]
STUDY = Study("mine", "Mine", "none", lambda scale: TRIALS)


def filed(results, trial, value=0.5):
    """The trial, over, as the version that it names has left it."""
    place = results / trial.id
    place.mkdir(parents=True)
    about = {"id": trial.id, "row": trial.arm, "method": trial.method, "task": trial.task, "seed": trial.seed}
    life = {name: "x" for name in ("sapwood", "commit", "python", "torch", "numpy", "device", "started")}
    about |= {"options": trial.all_options() | dict(trial.recipe), "identity": trial.identity, "data": "d"}
    (place / "trial.json").write_text(json.dumps(about | {"provenance": [life | {"threads": 1}]}))
    rows = in_lines(Row(4, 1, None, "test", "accuracy", value), Row(4, 1, None, "network", "sparsity", 0.0))
    (place / "rows.jsonl").write_bytes(rows)
    (place / "done").write_bytes(folders.in_json(folders.ending({"seconds": 1.0, "steps": 4, "epochs": 1}, rows)))


@pytest.fixture
def results(tmp_path):
    for trial in TRIALS:
        filed(tmp_path / "mine", trial.as_of(before=True))
    return tmp_path / "mine"


def test_what_is_as_it_was_has_one_name_and_what_has_changed_two():
    names = [len({trial.id, trial.as_of(before=True).id}) for trial in TRIALS]
    assert names == [1, 2, 2, 2], "itself, its method, a trial that it uses, what its recipe draws"
    assert len(list(both(TRIALS))) == 7
    assert OLD.as_of(before=True).as_of(before=False) == OLD


def test_results_of_before_are_found(results):
    found = as_found(TRIALS, results)
    assert [trial.id for trial in found] == [trial.as_of(before=True).id for trial in TRIALS]
    assert all(folders.over(results / trial.id) for trial in found)
    assert STUDY.latest(results) == found


def test_what_was_run_again_comes_first(results):
    filed(results, OLD)
    assert as_found(TRIALS, results)[1] == OLD
    assert as_found(TRIALS, results)[2] == USING.as_of(before=True)


def test_what_is_not_there_at_all_is_to_be_run_as_of_today(tmp_path):
    assert as_found(TRIALS, tmp_path) == TRIALS


def test_the_report_says_so_and_has_their_numbers(results):
    page = report(STUDY, results).read_text()
    said = next(in_words(as_found(TRIALS, results)))
    assert re.match(r"3 of 4 trials are as of the version before: .* are 1 of dense@2, 1 of low_rank@1, 1 of nuc", said)
    assert "3 of 4 trials are as of the version before" in page
    assert [trial.arm for trial in TRIALS] == [row for row in ("plain", "old", "using", "blanked") if row in page]
    assert list(in_words(TRIALS)) == []
    assert terminal_table(STUDY, []).row_count == 0


def test_they_are_kept_and_restored_under_their_old_ids(results, tmp_path):
    add(results, tmp_path / "kept", STUDY.latest(results))
    assert [each.about["id"] for each in read_archive(tmp_path / "kept")] == [t.as_of(before=True).id for t in TRIALS]
    assert restore(tmp_path / "kept", tmp_path / "again") == 4
    assert STUDY.latest(tmp_path / "again") == STUDY.latest(results)
    filed(results, OLD)
    add(results, tmp_path / "kept", STUDY.latest(results))
    assert OLD.id in [each.about["id"] for each in read_archive(tmp_path / "kept")]


def test_a_version_before_is_the_one_before():
    assert {name: METHOD_VERSIONS[name] - 1 for name in METHODS_BEFORE} == METHODS_BEFORE
