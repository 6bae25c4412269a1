"""The verb `new`: what it writes works as it stands, keeps the laws, and overwrites nothing."""

import importlib
import sys

import pytest

from sapwood.checks import broken
from sapwood.cli.checking import laws
from sapwood.cli.scaffold import TEXTS, begin
from sapwood.errors import InputError


@pytest.mark.parametrize("kind", TEXTS)
def test_a_file_that_was_begun_keeps_the_laws_and_passes_its_test(kind, tmp_path, monkeypatch, capsys):
    name = f"my_own_{kind}"
    begin(kind, name, tmp_path)
    assert capsys.readouterr().out.endswith(f"test_{name}.py\n")
    found = list(laws(str(tmp_path / f"{name}.py")))
    assert found
    assert broken(found) == []
    monkeypatch.syspath_prepend(str(tmp_path))
    test = importlib.import_module(f"test_{name}")
    ran = [function() for each, function in vars(test).items() if each.startswith("test_") and "laws" not in each]
    for module in (name, f"test_{name}"):
        del sys.modules[module]
    assert len(ran) == 1
    assert "check_" in (tmp_path / f"test_{name}.py").read_text("utf-8")


@pytest.mark.parametrize("name", ["my own", "class", "Mine", "1st", "", "a.b", "../a"])
def test_names_that_no_module_can_have_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"give a name as Python's modules have"):
        begin("gate", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_no_folder_is_made(tmp_path):
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(InputError, match=r"test_mine\.py is there already"):
        begin("method", "mine", tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("test_mine.py", "mine")]
    with pytest.raises(InputError, match="there is no folder"):
        begin("method", "mine", tmp_path / "nowhere")
    with pytest.raises(InputError, match="unknown kind"):
        begin("methods", "mine", tmp_path)
