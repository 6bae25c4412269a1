"""Old names of modules: each gives the new module and says once what it is called now; nothing else says anything."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from sapwood import moved

EVERY = """
import sys, warnings
from importlib import import_module
import sapwood
from sapwood import moved

for old, new in moved.PLACES.items():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first, second = import_module(old), import_module(old)
        inside = [name for name in vars(import_module(new)) if not name.startswith("__")]
        assert all(getattr(first, name) is getattr(import_module(new), name) for name in inside), old
    stands_in = old in moved.FUNCTIONS | moved.ELSEWHERE.keys() | moved.FOLDED
    assert first is second and (first is import_module(new)) is not stands_in, old
    about = [str(each.message) for each in said if each.category is DeprecationWarning]
    assert about == [f"{old} is now {new}; the old name goes with the next release"], (old, about)
print(len(moved.PLACES))
"""


# Each code runs as if in a new interpreter: sapwood is imported anew, and torch, which takes long, once for all.
FORKS = """
import json, os, sys, tempfile, warnings, torch
for line in sys.stdin:
    code, options = json.loads(line)
    assert "sapwood" not in sys.modules
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            for each in options:
                warnings._setoption(each)
            try:
                exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
            except BaseException:
                import traceback; traceback.print_exc()
                sys.stdout.flush(), sys.stderr.flush(), os._exit(1)
            sys.stdout.flush(), sys.stderr.flush(), os._exit(0)
        status = os.waitpid(child, 0)[1]
        said = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
    print(json.dumps([status, *said]), flush=True)
"""


@pytest.fixture(scope="module")
def in_fresh_python():
    """(code, options as after -W) -> what it prints, and what it says on standard error; it must end well."""

    def run(code, *options):
        print(json.dumps([code, options]), file=forks.stdin, flush=True)
        status, out, err = json.loads(forks.stdout.readline())
        assert status == 0, err
        return out.strip(), err

    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forks:
        yield run
        forks.stdin.close()


def test_every_old_name_gives_the_new_module_and_says_so_once(in_fresh_python):
    out, _ = in_fresh_python(EVERY)
    assert int(out) == len(moved.PLACES) > 80


def test_the_changelog_lists_every_old_name():
    said = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
    assert not [old for old in moved.PLACES if f"`{old.removeprefix('sapwood.')}`" not in said]


def test_a_function_called_like_its_old_module_is_the_function_in_any_order(in_fresh_python):
    codes = ["from sapwood.measure.flops import macs\nfrom sapwood import measure\nassert callable(measure.flops)"]
    for name in ("hold", "observe", "train"):
        assert f"sapwood.{name}" in moved.FUNCTIONS
        for first in (f"import sapwood.{name}", f"from sapwood.{name} import {name}", f"from sapwood import {name}"):
            codes.append(f"{first}\nimport sapwood\nfrom sapwood.{name} import {name} as f\nassert f is sapwood.{name}")
    for code in codes:
        in_fresh_python(code)
    with pytest.raises(AssertionError, match="Error"):
        in_fresh_python("assert False")


def test_the_warning_names_the_line_that_imports(in_fresh_python):
    for line in ("from sapwood.train import train", "import sapwood.run", "from sapwood import criterion"):
        _, err = in_fresh_python(f"pass\n{line}\n")
        assert "<string>:2: DeprecationWarning: sapwood." in err, err
        assert err.count("Warning") == 1, err


def test_names_that_an_old_module_handed_on_are_still_there(in_fresh_python):
    code = "from sapwood.observe import Evidence, Sight, Statistic, chosen, counted, evaluating, hidden, prunable"
    in_fresh_python(f"{code}\nfrom sapwood.select import Keep, Scores\nfrom sapwood.masks import Masks")
    in_fresh_python("import sapwood\nassert sapwood.run.start is sapwood.start")
    in_fresh_python("from sapwood.gates.gate import Gate, Gated, decided")


def test_files_of_a_room_that_became_part_of_another_are_loaded_once(in_fresh_python):
    code = """
from sapwood.shrinking.proof import equal
from sapwood.shrinking.proof.wide import Wide
import sapwood.shrinking.proof.sizes as sizes
from sapwood.shrinking import cutting
assert equal is cutting.equal and Wide is cutting.wide.Wide and sizes is cutting.sizes
"""
    _, said = in_fresh_python(code, "always::DeprecationWarning")
    assert said.count("sapwood.shrinking.proof.wide is now sapwood.shrinking.cutting.wide") == 1


def test_the_package_itself_uses_no_old_name(in_fresh_python):
    code = (
        "import pkgutil, sapwood\nfor m in pkgutil.walk_packages(sapwood.__path__, 'sapwood.'):\n"
        "    m.name.endswith('__main__') or __import__(m.name)"
    )
    in_fresh_python(code, "error::DeprecationWarning:sapwood")


def test_nothing_old_is_in_the_way():
    with pytest.raises(ImportError):
        import_module("sapwood.not_there")
    assert not any(new in moved.PLACES for new in moved.PLACES.values())


def test_names_that_changed_in_a_module_that_moved_are_there_under_the_old_ones(in_fresh_python):
    code = """
from sapwood.study.kept import Kept, keep, read_kept
from sapwood.trials import archive
assert (Kept, keep, read_kept) == (archive.Archived, archive.add, archive.read_archive)
"""
    _, said = in_fresh_python(code, "always::DeprecationWarning")
    assert said.count("sapwood.study.kept is now sapwood.trials.archive") == 1
