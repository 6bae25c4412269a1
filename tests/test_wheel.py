"""The wheel: it holds what it should, and works in an empty environment, far from any checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from sapwood import __version__
from sapwood.study.study import SCALES, found

pytest.importorskip("hatchling", reason="not installed: hatchling; pip install -e '.[test]'")

ROOT = Path(__file__).parents[1]
NAME = f"sapwood-{__version__}"
ABOUT = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
BESIDE = {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "constraints.txt", ".gitignore", "PKG-INFO"}
IDS = """
import json
from sapwood.study.study import SCALES, found
from sapwood.trials.provenance import commit
studies = found().items()
ids = {name: {scale: [trial.id for trial in study.trials(scale)] for scale in SCALES} for name, study in studies}
print(json.dumps([ids, commit()]))
"""


def built(root, folder):
    """The source distribution and the wheel of a checkout."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    return folder / f"{NAME}.tar.gz", folder / f"{NAME}-py3-none-any.whl"


def alone():
    """The environment without what leads to this checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What is built of this checkout."""
    return built(ROOT, tmp_path_factory.mktemp("dist"))


def sources(folder):
    """The files that are part of the project, by their names from `folder` on."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "results" not in path.relative_to(folder).parts
    }


def test_the_wheel_holds_the_package_and_the_studies_and_nothing_else(files):
    with zipfile.ZipFile(files[1]) as wheel:
        held = set(wheel.namelist())
        assert b"License-Expression: Apache-2.0" in wheel.read(f"{NAME}.dist-info/METADATA")
    package = {f"sapwood/{name}" for name in sources(ROOT / "src" / "sapwood")}
    studies = {f"sapwood/studies/{name}" for name in sources(ROOT / "studies")}
    assert held == package | studies | ABOUT
    assert {"sapwood/studies/quickstart.py", "sapwood/py.typed", "sapwood/study/report.html.j2"} <= held


def test_the_source_distribution_holds_what_the_wheel_is_built_of(files, tmp_path):
    with tarfile.open(files[0]) as source:
        held = {each.name for each in source if each.isfile()}
        source.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # not in 3.11.2
    package = {f"src/sapwood/{name}" for name in sources(ROOT / "src" / "sapwood")}
    studies = {f"studies/{name}" for name in sources(ROOT / "studies")}
    assert held == {f"{NAME}/{name}" for name in package | studies | BESIDE}
    _, again = built(tmp_path / NAME, tmp_path / "again")
    assert again.read_bytes() == files[1].read_bytes()


class Installed:
    """An environment with the wheel, and beside it what is installed here: never this checkout."""

    def __init__(self, folder, wheel):
        venv.create(folder / "empty", with_pip=False)
        self.bin, self.away = folder / "empty" / "bin", folder / "away"
        self.away.mkdir()
        self.run(sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "-q", "--no-deps",
                 "--no-index", "--disable-pip-version-check", wheel)  # fmt: skip
        [inside] = (folder / "empty").glob("lib/python*/site-packages")
        here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (inside / "zz_borrowed.pth").write_text("\n".join(sorted(here)))  # a .pth file in there is not read

    def run(self, *words):
        """What a command prints, run in a folder of its own."""
        done = subprocess.run(list(map(str, words)), cwd=self.away, env=alone(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(files, tmp_path_factory):
    """The wheel, installed."""
    pytest.importorskip("pip", reason="not installed: pip")
    return Installed(tmp_path_factory.mktemp("installed"), files[1])


@pytest.mark.slow
def test_an_installed_wheel_finds_its_studies_and_their_trials_are_those_of_a_checkout(installed):
    assert installed.run(installed.bin / "sapwood", "--version") == f"sapwood {__version__}\n"
    listed = installed.run(installed.bin / "python", "-m", "sapwood", "list", "studies")
    assert {line.split()[0] for line in listed.splitlines()} == set(found())
    ids, commit = json.loads(installed.run(installed.bin / "python", "-c", IDS))
    assert ids == {
        name: {scale: [trial.id for trial in study.trials(scale)] for scale in SCALES}
        for name, study in found().items()
    }
    assert commit is None


@pytest.mark.slow
def test_an_installed_wheel_runs_a_study_and_writes_its_report(installed):
    only = ("--only", "seed=0", "--only", "method=dense", "--only", "method=gradual_magnitude")
    said = installed.run(installed.bin / "sapwood", "run", "quickstart", "--scale", "smoke", *only, "--pool", "serial")
    assert f"report: {Path('results/quickstart/report.html')}\n" in said
    trials = [json.loads(path.read_text()) for path in installed.away.glob("results/quickstart/*/trial.json")]
    assert {each["method"] for each in trials} == {"dense", "gradual_magnitude"}
    assert [life["commit"] for each in trials for life in each["provenance"]] == [None] * len(trials)
