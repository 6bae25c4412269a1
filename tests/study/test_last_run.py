"""Last run: every study says when, where and how long it was last run, as the trials that it keeps say."""

import csv
import subprocess
from pathlib import Path

import pytest

from sapwood.errors import InputError
from sapwood.study.last_run import commits, last_run
from sapwood.study.study import found

ROOT = Path(__file__).parents[2]
ARCHIVES = ROOT / "studies" / "results"
STUDIES = {name: study for name, study in found().items() if (ARCHIVES / name / "trials.csv").exists()}


def docstring(name):
    """A study's, in one line."""
    path = ROOT / "studies" / f"{name}.py"
    text = (path if path.exists() else ROOT / "studies" / name / "__init__.py").read_text("utf-8")
    return " ".join(text.split('"""')[1].split())


def git(*words):
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)


def copy(name, folder, changes):
    """The trials of a study, each line changed, without digests."""
    with (ARCHIVES / name / "trials.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    with (folder / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(line | changes(line) for line in lines)
    return folder


def test_the_studies_are_found():
    assert {"quickstart", "activation_pruning", "lenet300", "lenet300_record"} <= STUDIES.keys()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_what_its_kept_trials_say(name):
    wanted = last_run(ARCHIVES / name)
    assert wanted in docstring(name), f"put into the docstring of study {name}: {wanted}"
    assert docstring(name).count("Last run:") == 1


@pytest.mark.parametrize("name", STUDIES)
def test_the_commits_are_there(name):
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("no git history here")
    assert commits(ARCHIVES / name)
    gone = [each for each in commits(ARCHIVES / name) if git("cat-file", "-e", f"{each}^{{commit}}").returncode]
    assert gone == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (lambda line: {"seconds": "3600"}, "40 trials, 40.0 hours of computing"),
        (lambda line: {"seconds": "30"}, "40 trials, 20.0 minutes of computing"),
        (lambda line: {"started": f"2026-01-{1 + int(line['seed']):02}T00:00:00+00:00"}, "2026-01-01 to 2026-01-05, "),
        (lambda line: {"commit": f"ab{line['seed']}+changes"}, "at 5 commits, "),
        (lambda line: {"threads": "2" if line["seed"] == "2" else "1"}, "1 and cpu (x86_64, AVX512), threads: 2;"),
    ],
)  # fmt: skip
def test_another_number_is_another_sentence(changes, says, tmp_path):
    assert says in last_run(copy("quickstart", tmp_path, changes))
    assert says not in last_run(ARCHIVES / "quickstart")


def test_a_commit_with_changes_is_looked_for_without_them(tmp_path):
    assert commits(copy("quickstart", tmp_path, lambda line: {"commit": "abc+changes"})) == {"abc"}


def test_an_edited_file_and_an_empty_one_are_refused(tmp_path):
    copy("quickstart", tmp_path, lambda line: {"seconds": "1"})
    (tmp_path / "digests.txt").write_bytes((ARCHIVES / "quickstart" / "digests.txt").read_bytes())
    with pytest.raises(InputError, match=r"trials\.csv is not what was kept"):
        last_run(tmp_path)
    (tmp_path / "digests.txt").unlink()
    head = (tmp_path / "trials.csv").read_text().splitlines()[0]
    (tmp_path / "trials.csv").write_text(head + "\n")
    with pytest.raises(InputError, match="keeps no trial"):
        last_run(tmp_path)
