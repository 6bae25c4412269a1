"""Kept results: to two files and back, what is left out and what comes back, and files that cannot be used."""

import json
import math
import shutil

import pytest
from toy import Interrupted, dying_after, small

from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.study.table import over_seeds, read
from sapwood.trials import digests
from sapwood.trials.archive import add, read_archive, restore
from sapwood.trials.execution import alone, finished, over, read_trial, run_into, run_trial, sums
from sapwood.trials.folder import sealed
from sapwood.trials.rows import Row, RowFile, read_rows
from sapwood.trials.trial import Trial

FILES = ("trials.csv", "rows.csv")
BEFORE = small("before", epochs=3).tracing("spectra")
OTHER = small("other", seed=1, epochs=5, cycles=4).tracing("spectra")
AFTER = Trial.make("dense", "mlp_digits", 0, "after, with a comma", epochs=1, stop="epochs").after(start=BEFORE)
ALL = [BEFORE, OTHER, AFTER]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for trial in ALL:
        run_into(folder, trial)
    return folder


@pytest.fixture
def target(results, tmp_path):
    assert add(results, tmp_path / "kept", ALL) == len(ALL)
    return tmp_path / "kept"


def content(folder):
    return [(folder / name).read_bytes() for name in FILES]


def rounded(rows):
    return [row._replace(value=row.value and float(f"{row.value:.7g}")) for row in rows]


def test_restored_trials_have_the_same_rows_and_say_the_same(results, target, tmp_path):
    assert restore(target, tmp_path / "new") == len(ALL)
    for trial in ALL:
        old, new = results / trial.id, tmp_path / "new" / trial.id
        assert {each.name for each in new.iterdir()} == {"trial.json", "rows.jsonl", "kept"}
        assert over(new)
        assert not finished(new)
        assert (
            sums(new) == sums(old) == {k: v for k, v in json.loads((old / "done").read_text()).items() if k != "rows"}
        )
        assert sealed(new)
        assert read_trial(new) == read_trial(old)
        was = read_rows(old / "rows.jsonl")
        if trial.seed:
            prunes = sorted({row.step for row in was if row.split == "before prune"})
            was = [row for row in was if not row.split.endswith(" prune") or row.step in (prunes[0], prunes[-1])]
        assert rounded(read_rows(new / "rows.jsonl")) == rounded(was) != []
    every = [row.step for row in read_rows(results / OTHER.id / "rows.jsonl") if row.split == "before prune"]
    assert len(set(every)) > 2
    assert over_seeds(read(tmp_path / "new"), "zeros", "network") == over_seeds(read(results), "zeros", "network")


def test_kept_again_gives_the_same_bytes(target, tmp_path):
    restore(target, tmp_path / "new")
    add(tmp_path / "new", tmp_path / "again", ALL)
    assert content(tmp_path / "again") == content(target)


def test_only_trials_that_are_over_are_kept_in_their_order(results, tmp_path):
    more = [AFTER, small("never run", seed=7), BEFORE]
    assert add(results, tmp_path, more) == 2
    assert [each.about["id"] for each in read_archive(tmp_path)] == [AFTER.id, BEFORE.id]
    with pytest.raises(InputError, match=r"no trial in .* is finished, so there is nothing for an archive"):
        add(results, tmp_path, more[1:2])


def test_what_was_kept_is_not_lost(results, target, tmp_path):
    before = content(target)
    shutil.copytree(results / AFTER.id, tmp_path / "few" / AFTER.id)
    with pytest.raises(
        InputError, match=r"2 of the trials kept in .* are not finished .*restore them first with --from"
    ):
        add(tmp_path / "few", target, ALL)
    assert content(target) == before
    assert restore(target, tmp_path / "few") == 2
    assert add(tmp_path / "few", target, ALL) == 3
    assert content(target) == before


def row(epoch, split, metric, value, phase=0):
    return Row(10 * epoch, epoch, phase, split, metric, value)


def epochs(values, metric, phase=0, start=1):
    """Rows of epochs as they are recorded; None: an epoch without this metric."""
    for epoch, value in enumerate(values, start=start):
        yield row(epoch, "train", "loss", 1 / epoch, phase)
        yield row(epoch, "valid", "loss", 2 / epoch, phase)
        if value is not None:
            yield row(epoch, "network", metric, value, phase)
        if epoch == 2:
            yield row(epoch, "prune", "sparsity", 0.25, phase)


CASES = {
    "it stays": ([0.5] * 6, 2),
    "it changes": ([0.0, 0.0, 0.25, 0.25, 0.25, 0.5], 3),
    "it changes and stays": ([0.0, 0.25, 0.25, 0.25], 3),
    "it comes late": ([None, None, 3.0, 3.0, 3.0, 4.0], 2),
    "it ends": ([3.0, 3.0, 3.0, 4.0, None, None], 2),
    "it goes back": ([1.0, 2.0, 2.0, 2.0, 1.0, 1.0], 4),
    "it is no number at times": ([1.0, math.nan, math.nan, math.nan, 1.0], 3),
    "once": ([None, 1.0, None], 1),
}


@pytest.mark.parametrize(("values", "lines"), CASES.values(), ids=CASES)
def test_what_stays_is_kept_where_it_changes_and_comes_back_everywhere(tmp_path, values, lines):
    trial = small()
    again = epochs([7.0, 7.0, 7.0], "round", phase=1, start=len(values) + 1)
    whole = [*epochs(values, "sparsity"), *again, row(12, "network", "sparsity", 1.0, None)]
    folder = made(tmp_path / "old", trial, whole)
    add(folder, tmp_path / "kept", [trial])
    kept = [line for line in (tmp_path / "kept" / "rows.csv").read_text().splitlines() if ",network," in line]
    assert len(kept) == lines + 2 + 1  # those of the second phase, and the one of the end
    restore(tmp_path / "kept", tmp_path / "new")
    found, was = (read_rows(place / trial.id / "rows.jsonl") for place in (tmp_path / "new", folder))
    assert rounded(found) == rounded(was)


def made(folder, trial, rows, lives=1):
    """A results folder with one finished trial that has these rows."""
    (folder / trial.id).mkdir(parents=True)
    life = dict.fromkeys(("sapwood", "commit", "python", "torch", "numpy", "device", "started"), "x") | {"threads": 1}
    about = {"id": trial.id, "row": trial.arm, "method": trial.method, "task": trial.task, "seed": trial.seed}
    about |= {"options": trial.all_options(), "identity": trial.identity, "data": "d"}
    provenance = [life | {"commit": ("a", None, "a")[n % 3], "started": str(n)} for n in range(lives)]
    (folder / trial.id / "trial.json").write_text(json.dumps(about | {"provenance": provenance}))
    (folder / trial.id / "done").write_text(json.dumps({"seconds": 1.5, "steps": 20, "epochs": 2}))
    with RowFile(folder / trial.id / "rows.jsonl") as file:
        file.write(*rows)
    return folder


def test_lives_that_differ_are_told_apart(tmp_path):
    folder = made(tmp_path / "old", small(), [row(1, "train", "loss", 1.0)], lives=3)
    add(folder, tmp_path, [small()])
    [found] = read_archive(tmp_path)
    assert [(life["commit"], life["started"]) for life in found.about["provenance"]] == [("a", "0"), (None, "1")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (123456789.0, "123456789"),
        (-3.0, "-3"),
        (1 / 3, "0.3333333"),
        (1.5e-9, "1.5e-09"),
        (2.0**80, "1.208926e+24"),
    ],
)
def test_numbers_as_they_are_written(tmp_path, value, text):
    add(made(tmp_path / "old", small(), [row(1, "test", "x", value, None)]), tmp_path, [small()])
    assert (tmp_path / "rows.csv").read_text().splitlines()[1] == f"{small().id},,10,1,test,x,{text}"
    [found] = read_archive(tmp_path)
    assert found.rows[0].value == (None if value is None else float(text))


def test_what_is_over_begun_or_at_work_is_left_alone(results, target, tmp_path, monkeypatch):
    folder = tmp_path / "new"
    shutil.copytree(results / BEFORE.id, folder / BEFORE.id)
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 80))
        with pytest.raises(Interrupted):
            run_trial(OTHER, folder / OTHER.id, save_every=0.0)
    (folder / AFTER.id).mkdir()
    before = {path: path.read_bytes() for path in folder.glob("*/*")}
    with alone(folder / AFTER.id):
        assert restore(target, folder) == 0
    assert {path: path.read_bytes() for path in folder.glob("*/*")} == before
    assert restore(target, folder) == 1
    assert over(folder / AFTER.id)
    assert restore(target, folder) == 0


def test_a_failure_before_anything_was_saved_gives_way(results, target, tmp_path):
    with pytest.raises(InputError, match="is not finished"):
        run_into(tmp_path / "new", AFTER)
    assert (tmp_path / "new" / AFTER.id / "failed").exists()
    restore(target, tmp_path / "new")
    assert {each.name for each in (tmp_path / "new" / AFTER.id).iterdir()} == {"trial.json", "rows.jsonl", "kept"}


def test_a_kept_trial_is_run_from_scratch_when_its_weights_are_wanted(results, target, tmp_path):
    restore(target, tmp_path / "new")
    with pytest.raises(InputError, match="arm 'after, with a comma' goes on from arm 'before', seed 0, which is not"):
        run_into(tmp_path / "new", AFTER)
    assert over(tmp_path / "new" / AFTER.id), "what was restored stays until a run has begun"
    for trial in (BEFORE, AFTER):
        run_into(tmp_path / "new", trial)
        one, other = (folder / trial.id for folder in (results, tmp_path / "new"))
        assert {each.name for each in one.iterdir()} == {each.name for each in other.iterdir()}
        assert (one / "rows.jsonl").read_bytes() == (other / "rows.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("trials.csv", "trial,arm", "id,arm", "the columns should be trial,arm,"),
        ("trials.csv", '""seed"":1', '""seed"":2', ", the digest of its identity"),
        ("trials.csv", "mlp_digits,1,", "mlp_digits,2,", "seed is 2, not 1 as in its identity"),
        ("trials.csv", "before,", "", "it has 19 cells, not 20"),
        ("rows.csv", ",0,", ",x,", "'x' is no whole number"),
        ("rows.csv", BEFORE.id, "0123456789ab", "trial '0123456789ab' is not in trials.csv"),
        ("rows.csv", "valid,accuracy,0.", "valid,accuracy,O.", "is no finite number"),
        ("rows.csv", "valid,accuracy,0.", "valid,accuracy,1e999", "'1e999' is no finite number"),
        ("rows.csv", "valid,accuracy", 'valid,"acc"uracy', "expected after"),
        ("rows.csv", "valid,accuracy", "valid,\udcffaccuracy", "it is not UTF-8"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_nothing_is_restored(target, tmp_path, file, old, new, says):
    lines = (target / file).read_text().splitlines()
    number = next(at for at, line in enumerate(lines) if old in line)
    before, _, after = lines[number].partition(old)
    lines[number] = before + new + ("" if "1e999" in new else after)
    refused(target, tmp_path, file, lines, f"line {number + 1} of {target / file} cannot be used (", says)


def test_lines_too_many_or_too_few_are_noticed(target, tmp_path):
    trials, rows = ((target / name).read_text().splitlines() for name in FILES)
    of_trials, of_rows = (f" of {target / name} cannot be used (" for name in FILES)
    refused(target, tmp_path, "trials.csv", [*trials, trials[2]], f"line 5{of_trials}trial {OTHER.id} is there twice")
    (target / "trials.csv").write_text("\n".join([*trials, ""]))
    refused(
        target, tmp_path, "rows.csv", rows[:-1], f"line 4{of_trials}rows.csv has ", f"lines of trial {AFTER.id}, not"
    )
    refused(target, tmp_path, "rows.csv", [rows[0], rows[1][:-2]], f"line 2{of_rows}its end is missing", end="")
    refused(target, tmp_path, "rows.csv", [], f"line 1{of_rows}its end is missing", end="")


def refused(target, tmp_path, file, lines, *says, end="\n"):
    (target / file).write_bytes(("\n".join(lines) + end).encode(errors="surrogateescape"))
    with pytest.raises(InputError) as refusal:
        restore(target, tmp_path / "new")
    assert all(part in str(refusal.value) for part in says), str(refusal.value)
    assert not (tmp_path / "new").exists()


def test_an_edited_number_is_refused_by_the_name_of_its_file(target, tmp_path):
    """It is a number like others: no line of the file is wrong, but the digest is."""
    lines = (target / "rows.csv").read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if ",test,accuracy,0." in line)
    lines[at] = lines[at][:-1] + ("1" if lines[at][-1] != "1" else "2")
    says = (f"{target / 'rows.csv'} is not what was kept", "digests.txt", "take the folder from git again")
    refused(target, tmp_path, "rows.csv", lines, *says)
    keep_again = "keep the results once more with report --keep"
    refused(target, tmp_path, "rows.csv", lines, keep_again)


def test_every_kept_file_has_a_digest(results, tmp_path):
    target = tmp_path / "kept"
    (results / "more.csv").write_text("a,b\n")
    add(results, target, ALL, ["more.csv", "not there.csv"])
    assert [line.split("  ")[1] for line in (target / "digests.txt").read_text().splitlines()] == [*FILES, "more.csv"]
    assert len(read_archive(target)) == len(ALL)
    (target / "more.csv").write_text("a,c\n")
    with pytest.raises(InputError, match=r"more\.csv is not what was kept"):
        read_archive(target)
    (target / "more.csv").unlink()
    with pytest.raises(InputError, match=r"more\.csv cannot be read .*but digests\.txt beside it names it"):
        read_archive(target)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"nonsense\n", r"line 1 of .*digests\.txt is no digest and name: 'nonsense'"),
        (b"", r"digests\.txt has no digest of trials\.csv, so it may have been edited"),
        (b"0" * 64 + b"  ../trials.csv\n", "is no digest and name"),
        (b"\xff\n", r"digests\.txt cannot be read"),
    ],
)
def test_digests_that_cannot_be_used_are_refused(target, tmp_path, wrong, says):
    (target / "digests.txt").write_bytes(wrong)
    with pytest.raises(InputError, match=says):
        restore(target, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_results_kept_before_there_were_digests_are_still_read(target, tmp_path):
    assert digests.there(target)
    (target / "digests.txt").unlink()
    assert not digests.there(target)
    assert restore(target, tmp_path / "new") == len(ALL)


def test_nothing_kept(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*trials\.csv: No such file or directory; was anything kept"):
        restore(tmp_path, tmp_path / "new")


def test_what_an_earlier_version_kept_is_read_with_its_digests(target, tmp_path):
    path = target / "trials.csv"
    path.write_text(path.read_text().replace("trial,arm,", "trial,row,", 1))  # as the column was called
    digests.write(target, FILES)
    digests.check(target, FILES)
    assert [each.about["row"] for each in read_archive(target)] == [trial.arm for trial in ALL]
    assert restore(target, tmp_path / "new") == len(ALL)
