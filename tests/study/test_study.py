"""Studies: found by name or file, and their trials checked."""

import sys
from pathlib import Path

import pytest
from toy import small

from sapwood.errors import InputError
from sapwood.study.study import Study, find, found

GOOD = '''"""A study."""

from sapwood.study.study import Study

STUDY = Study("mine", "Mine", "", lambda scale: [])
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "studies"


def test_the_package_checkouts_studies_are_found_from_anywhere(here):
    assert find("quickstart").name == "quickstart"
    assert "quickstart" in found()


def test_the_current_folders_studies_come_first(here):
    (here / "mine.py").write_text(GOOD)
    (here / "quickstart.py").write_text(GOOD)
    assert find("mine").title == "Mine"
    assert find("quickstart").title == "Mine"
    assert find(str(here / "mine.py")).title == "Mine"


EPOCHS = {"smoke": 1, "small": 2, "paper": 3}
FOLDER = {
    "__init__.py": GOOD.replace("from sapwood", "from .words import TITLE\nfrom sapwood").replace('"Mine"', "TITLE"),
    "words.py": "from .more.deep import WORD\n\nTITLE = f'{WORD} in parts'\n",
    "more/__init__.py": "",
    "more/deep.py": "from dataclasses import make_dataclass\n\nWORD = make_dataclass('W', ['text'])('A study').text\n",
}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_study_may_be_a_folder_of_files(here):
    write(here / "parts", FOLDER)
    assert find("parts").title == "A study in parts"
    assert find(str(here / "parts" / "__init__.py")).title == "A study in parts"
    assert found()["parts"].title == "A study in parts"


def test_a_folder_of_the_same_name_brings_its_own_parts(here, tmp_path):
    write(here / "parts", FOLDER)
    assert find("parts").title == "A study in parts"
    write(tmp_path / "elsewhere" / "parts", FOLDER | {"words.py": "TITLE = 'Another'\n"})
    assert find(str(tmp_path / "elsewhere" / "parts" / "__init__.py")).title == "Another"
    assert find("parts").title == "A study in parts"


def test_a_folder_may_go_on_from_another_study(here):
    """Its arms, for example; the path is left as it was."""
    before = [*sys.path]
    write(here / "first_edition", {"__init__.py": "", "arms.py": "TITLE = 'The same arms'\n"})
    write(here / "parts", FOLDER | {"words.py": "from first_edition.arms import TITLE as TITLE\n"})
    assert find("parts").title == "The same arms"
    assert sys.path == before


def test_an_error_in_a_part_is_told_with_the_study(here):
    write(here / "parts", FOLDER | {"words.py": "from .nowhere import TITLE\n"})
    with pytest.raises(InputError, match=r"parts.__init__\.py cannot be loaded \(ModuleNotFoundError: .*nowhere"):
        find("parts")


def test_folders_without_a_study_are_none(here):
    write(here / "results", {"__init__.py": ""})
    write(here / "_parts", FOLDER)
    assert {"results", "_parts"}.isdisjoint(found())


def test_the_latest_scale_is_the_largest_with_a_trial_that_is_over(tmp_path):
    study = Study("mine", "Mine", "", lambda scale: [small(epochs=EPOCHS[scale], seed=seed) for seed in (0, 1)])
    with pytest.raises(InputError, match=r"no trial of study 'mine' is finished in .*; run: sapwood run mine"):
        study.latest(tmp_path)
    write(tmp_path / study.at("smoke")[0].id, {"done": "{}"})
    assert study.latest(tmp_path) == study.at("smoke")
    write(tmp_path / study.at("paper")[1].id, {"trial.json": "{}"})  # begun only
    assert study.latest(tmp_path) == study.at("smoke")
    write(tmp_path / study.at("paper")[1].id, {"kept": "{}"})
    assert study.latest(tmp_path) == study.at("paper")


def test_scripts_that_are_no_studies_are_not_run(here):
    (here / "script.py").write_text("raise SystemExit('this was run')\n")
    (here / "_parts.py").write_text(GOOD)
    assert {"script", "_parts"}.isdisjoint(found())


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("1 / 0\nSTUDY = 1\n", "cannot be loaded (ZeroDivisionError: division by zero)"),
        ("\nSTUDY = 1\n", "has no STUDY that is a sapwood.study.study.Study"),
    ],
)
def test_bad_study_files_are_refused(here, code, says):
    (here / "mine.py").write_text(code)
    with pytest.raises(InputError) as refusal:
        find("mine")
    assert says in str(refusal.value)


def test_unknown_studies_are_refused(here):
    with pytest.raises(InputError, match="unknown study 'quickstrat'; did you mean 'quickstart'"):
        find("quickstrat")
    with pytest.raises(InputError, match=r"there is no study file 'no\.py'"):
        find("no.py")


def test_trials_of_a_scale_are_checked():
    def study(*trials):
        return Study("mine", "Mine", "", lambda scale: trials)

    assert study(small("a"), small("a", seed=1)).at("smoke") == [small(), small(seed=1)]
    with pytest.raises(InputError, match="unknown scale 'smok'; did you mean 'smoke'"):
        study(small()).at("smok")
    with pytest.raises(InputError, match="arms 'a' and 'b' are the same trial with seed 0"):
        study(small("a"), small("b")).at("small")
    with pytest.raises(InputError, match="has no trials at scale 'paper'"):
        study().at("paper")


def test_every_study_of_this_repository_says_what_it_is():
    folder = Path(__file__).parents[2] / "studies"
    for name, study in found().items():
        if (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists():
            assert study.name == name
            assert study.title
            assert all(study.at(scale) for scale in ("smoke", "small", "paper"))
