"""Options that are several numbers: in Python, on the command line, in identities, files and tables, and in methods."""

import inspect
import json

import pytest
from toy import Interrupted, dying_after

from sapwood import InputError
from sapwood.cli.choosing import changed, only, pairs
from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.training.loop import train
from sapwood.trials import trial as trials
from sapwood.trials.archive import add, read_archive, restore
from sapwood.trials.execution import run_trial
from sapwood.trials.folder import read_trial
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial, parse_option


def several(run, *, levels: tuple[float, ...] = (0.5, 1.0), sizes: tuple[int, ...] | None = None, epochs: int = 2):
    """Trains, and notes what it was given."""
    run.note(levels=sum(levels), kinds=len({type(each) for each in (*levels, *(sizes or ()))}), count=len(sizes or ()))
    yield from train(run, epochs=epochs)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(METHODS, "several", several)
    monkeypatch.setitem(METHOD_VERSIONS, "several", 1)


def made(**options):
    return Trial.make("several", "mlp_digits", 0, **options)


def test_however_they_are_given_they_are_one_trial():
    one = made(levels=(1.0, 0.25), sizes=(3, 4))
    assert one == made(sizes=[3, 4], levels=[1, 0.25]) != made(levels=(0.25, 1.0), sizes=(3, 4))
    assert one.all_options() == {"levels": (1.0, 0.25), "sizes": (3, 4), "epochs": 2}
    assert [type(each) for each in one.all_options()["levels"]] == [float, float]
    assert made(levels=(0.5, 1)) == made()
    assert len({one, made(), made(levels=()), made(sizes=())}) == 4


def test_an_identity_is_what_its_file_gives_back():
    one = made(levels=(1, 0.25))
    assert one.identity["options"] == {"levels": [1.0, 0.25]}
    assert json.loads(json.dumps(one.identity)) == one.identity
    assert one.id == trials.id_of(json.loads(json.dumps(one.identity))) != made(levels=(1, 0.5)).id


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("levels", "1,0.25", (1.0, 0.25)), ("levels", " 1  0.25 ", (1.0, 0.25)), ("levels", "1e-3", (0.001,)),
        ("levels", "", ()), ("sizes", "3, 4", (3, 4)), ("sizes", "none", None), ("sizes", "7", (7,)),
    ],
)  # fmt: skip
def test_typed_numbers(name, text, value):
    found = parse_option("several", name, text)
    assert found == value
    assert [type(each) for each in found or ()] == [type(each) for each in value or ()]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: made(levels=0.5), "option 'levels' of method 'several' is 0.5; it must be tuple[float, ...]"),
        (lambda: made(levels="0.5"), "is '0.5'; it must be tuple[float, ...]"),
        (lambda: made(levels=(0.5, "1")), "is (0.5, '1'); it must be tuple[float, ...]"),
        (lambda: made(levels=(0.5, True)), "is (0.5, True); it must be"),
        (lambda: made(levels=(0.5, None)), "is (0.5, None); it must be"),
        (lambda: made(levels=((0.5,),)), "it must be"),
        (lambda: made(sizes=(1, 2.0)), "is (1, 2.0); it must be tuple[int, ...] | None"),
        (lambda: made(levels=(0.5, float("nan"))), "is (0.5, nan); give finite numbers"),
        (lambda: made(levels=[0.5, float("inf")]), "give finite numbers"),
        (lambda: made(epochs=(1,)), "is (1,); it must be int"),
        (lambda: parse_option("several", "levels", "0.5 much"), "is '0.5 much'; it must be tuple[float, ...]"),
        (lambda: parse_option("several", "sizes", "1.5"), "it must be tuple[int, ...] | None"),
        (lambda: parse_option("several", "levels", "1 inf"), "give finite numbers"),
    ],
)
def test_what_is_no_tuple_of_numbers_is_refused(make, says):
    with pytest.raises(InputError) as refusal:
        make()
    assert says in str(refusal.value)


def test_trials_are_chosen_and_changed_by_them():
    every = [made(), made(levels=(1.0, 0.25))]
    assert only(every, pairs(["levels=1 0.25"], "--only")) == every[1:]
    assert only(every, pairs(["levels=0.5,1"], "--only")) == every[:1]
    assert changed(every, pairs(["levels=2,3"], "--set")) == [made(levels=(2.0, 3.0))]
    with pytest.raises(InputError, match=r"unknown value of 'levels' in --only: '9'; known: \(0\.5, 1\.0\)"):
        only(every, pairs(["levels=9"], "--only"))


def test_a_recipe_takes_them_too(monkeypatch):
    known = {"widths": inspect.Parameter("widths", inspect.Parameter.KEYWORD_ONLY, default=None,
                                         annotation=tuple[int, ...] | None)}  # fmt: skip
    monkeypatch.setattr(trials, "recipe_options", lambda: known)
    one = made().under(widths=[30, 10])
    assert one.recipe == (("widths", (30, 10)),)
    assert one.identity["recipe"] == {"widths": [30, 10]}
    assert trials.split_recipe(one.identity["recipe"])[0] == {"widths": (30, 10)}
    assert made().under(widths=None) == made()


def test_a_trial_is_run_interrupted_resumed_kept_and_restored(tmp_path, monkeypatch):
    trial = made(levels=(1, 0.25), sizes=(3, 4))
    folder = tmp_path / "results" / trial.id
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "several", dying_after(several, 80))
        with pytest.raises(Interrupted):
            run_trial(trial, folder, save_every=0)
    run_trial(trial, folder, save_every=0)
    about = read_trial(folder)
    assert about["options"] == {"levels": [1.0, 0.25], "sizes": [3, 4], "epochs": 2}
    assert len(about["provenance"]) == 2
    notes = {row.metric: row.value for row in trials_rows(folder)}
    assert (notes["levels"], notes["kinds"], notes["count"]) == (1.25, 2, 2)
    assert add(tmp_path / "results", tmp_path / "kept", [trial]) == 1
    assert [each.about["identity"] for each in read_archive(tmp_path / "kept")] == [trial.identity]
    assert restore(tmp_path / "kept", tmp_path / "again") == 1
    assert read_trial(tmp_path / "again" / trial.id)["options"] == about["options"]


def trials_rows(folder):
    return [row for row in read_rows(folder / "rows.jsonl") if row.phase is None]
