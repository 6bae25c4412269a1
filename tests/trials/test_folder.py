"""A trial's folder whose files say what no trial would: each refused by name, for tables and for what is kept."""

import json

import pytest
from toy import small

from sapwood import checkpoint
from sapwood.errors import InputError
from sapwood.study.report import report
from sapwood.study.study import Study
from sapwood.study.table import read
from sapwood.trials.archive import _found
from sapwood.trials.execution import run_trial
from sapwood.trials.folder import read_trial, rows_of, sums, weights_of
from sapwood.trials.trial import id_of

TRIAL = small(epochs=1).under(learning_rate=0.05)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a finished trial."""
    folder = tmp_path_factory.mktemp("whole")
    run_trial(TRIAL, folder, final=lambda run: [("test", "accuracy", 0.5)])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(files, tmp_path):
    (tmp_path / TRIAL.id).mkdir()
    for name, content in files.items():
        (tmp_path / TRIAL.id / name).write_bytes(content)
    return tmp_path / TRIAL.id


def put(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def unsealed(folder):
    """Its end has no digest of the rows, as one of an earlier version, so that their words are all there is."""
    done = json.loads((folder / "done").read_text())
    put(folder / "done", {name: value for name, value in done.items() if name != "rows"})


KEYS = ("id", "row", "method", "task", "seed", "options", "identity", "data", "provenance")
WRONG = {
    "a list": ([], "it is .., not a dict"),
    "id of another": ({"id": "0123456789ab"}, "id is '0123456789ab', not "),
    "id that leads elsewhere": ({"id": "../../elsewhere"}, "id is '../../elsewhere', not "),
    "row is a number": ({"row": 7}, "row is 7, not a word"),
    "row is half a character": ({"row": "\ud800"}, "half a character"),
    "seed is a word": ({"seed": "0"}, "seed is '0', not a whole number"),
    "seed of another": ({"seed": 5}, "seed is 5, not 0 as in its identity"),
    "seed is true": ({"seed": True}, "seed is True, not a whole number"),
    "method of another": ({"method": "dense"}, "method is 'dense', not global_activation as in its identity"),
    "task is nothing": ({"task": None}, "task is None, not a word"),
    "options are a list": ({"options": []}, "options is .., not a dict"),
    "an option is a dict": ({"options": {"target": {}}}, "options.'target'. is {}, not a finite number"),
    "an option is endless": ({"options": {"target": float("inf")}}, "it holds Infinity, which is no number"),
    "an option is huge": ({"options": {"target": 10**40}}, "options.'target'. is 1000.*, not a finite number"),
    "no options": ({"options": {}}, "is None, not .* as in its identity"),
    "identity is a word": ({"identity": "x"}, "identity is 'x', not a dict"),
    "a recipe is a list": ({"identity": TRIAL.identity | {"recipe": []}}, "recipe'. is .., not a dict"),
    "a recipe of lists": ({"identity": TRIAL.identity | {"recipe": {"course": [[]]}}}, "is .., not a finite number"),
    "a seed below 0": ({"identity": TRIAL.identity | {"seed": -1}}, "is -1, not a whole number"),
    "no provenance": ({"provenance": {}}, "provenance is {}, not a list"),
    "a life is a word": ({"provenance": ["x"]}, "provenance.0. is 'x', not a dict"),
    "a life without threads": ({"provenance": [{"sapwood": "1"}]}, "provenance.0. has no 'python'"),
    "data is a number": ({"data": 0.5}, "data is 0.5, not a word"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_trial_that_says_what_none_would_is_refused(folder, how):
    spoil, says = WRONG[how]
    about = json.loads((folder / "trial.json").read_text())
    put(folder / "trial.json", about | spoil if isinstance(spoil, dict) else spoil)
    for action in (
        lambda: read(folder.parent, [folder.name]),
        lambda: _found(folder),
        lambda: run_trial(TRIAL, folder),
    ):
        with pytest.raises(InputError, match=f"trial.json is damaged .*{says}.*; delete .* and run the trial again"):
            action()


@pytest.mark.parametrize("key", KEYS)
def test_a_trial_that_leaves_something_out_is_refused(folder, key):
    about = json.loads((folder / "trial.json").read_text())
    put(folder / "trial.json", {name: value for name, value in about.items() if name != key})
    with pytest.raises(InputError, match=f"trial.json is damaged .it has no '{key}'"):
        read_trial(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000 + "]" * 100_000, '{"a": 1, "a": 1}', "9" * 5000, "\ufeff{}"])
@pytest.mark.parametrize("name", ["trial.json", "done"])
def test_texts_that_are_no_words_are_refused(folder, name, text):
    put(folder / name, text)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        (read_trial if name == "trial.json" else sums)(folder)


def test_a_trial_that_forges_all_of_its_identity_is_another_trial(folder):
    about = json.loads((folder / "trial.json").read_text())
    about["identity"]["seed"] = about["seed"] = 5
    put(folder / "trial.json", about | {"id": id_of(about["identity"])})
    assert read_trial(folder)["seed"] == 5
    with pytest.raises(InputError, match="holds another trial"):
        run_trial(TRIAL, folder)


ROWS = {
    "step": ["x", None, -1, 1.5, True, 10**40], "epoch": [[], "1"], "phase": ["0", 0.5, False], "split": [None, 3, []],
    "metric": [[], {}, 0], "value": ["x", {}, [], True, 10**40],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, every in ROWS.items() for value in every])
def test_a_row_of_other_kinds_is_refused_where_no_digest_tells(folder, key, value):
    unsealed(folder)
    first, *others = (folder / "rows.jsonl").read_text().splitlines()
    put(folder / "rows.jsonl", "\n".join([*others, json.dumps(json.loads(first) | {key: value}), ""]))
    for action in (lambda: read(folder.parent, [folder.name]), lambda: _found(folder)):
        with pytest.raises(InputError, match=rf"line {len(others) + 1} of .*rows.jsonl is not a row \({key} is "):
            action()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"seconds": -1}, "numbers of 0 or more"),
        ({"seconds": float("nan")}, "it holds NaN"),
        ({"seconds": "1"}, "seconds is '1', not a finite number"),
        ({"steps": 1.5}, "steps is 1.5, not a whole number"),
        ({"epochs": None}, "epochs is None, not a finite number"),
        ({"rows": 3}, "rows is 3, not a word"),
    ],
)
def test_an_end_that_says_what_none_would_is_refused(folder, spoil, says):
    put(folder / "done", json.loads((folder / "done").read_text()) | spoil)
    with pytest.raises(InputError, match=f"done is damaged .*{says}.*; delete .* and run the trial again"):
        sums(folder)
    with pytest.raises(InputError, match="done is damaged"):
        rows_of(folder)


@pytest.mark.parametrize("tree", [{}, {"model": {}}, {"model": {"w": 3}, "masks": {}}, {"model": [], "masks": {}}])
def test_weights_that_are_none_are_refused(folder, tree):
    checkpoint.write(folder / "weights.safetensors", tree)
    with pytest.raises(InputError, match=r"weights\.safetensors holds no finished network .*; delete"):
        weights_of(folder)


@pytest.mark.parametrize("failed", [b"", b"\n\n", b"\xff\xfe\n", b"Traceback\nValueError: x\n"])
def test_a_report_shows_a_failure_whatever_was_left_of_it(folder, failed):
    other = small("other", seed=1, epochs=1)
    (folder.parent / other.id).mkdir()
    (folder.parent / other.id / "failed").write_bytes(failed)
    study = Study("made", "Made", "nobody's", lambda scale: [TRIAL, other])
    page = report(study, folder.parent, [TRIAL, other]).read_text()
    assert "other" in page
    assert ("was not written down" in page) == (not failed.strip())
