"""`sapwood scan`: what the sites of a network of the user's own are worth, from a file of Python."""

import runpy
from pathlib import Path

import pytest

import sapwood as package

FILE = '''
"""A network of somebody's own, and what it is asked."""
import torch
from torch import nn

print("imported")

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)), torch.ones(1, 4)

def evaluate(model):
    with torch.no_grad():
        return model(torch.ones(3, 4)).square().mean()

def words(model):
    return "good"
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with mine.py."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)


def test_a_table_a_picture_and_a_file_by_which_it_goes_on(sapwood, mine):
    status, out, err = sapwood("scan", "mine.py:make", "--share", "0.25", "--share", "0.5", "--to", "a.svg")
    assert (status, err) == (0, "")
    assert out.count("imported") == 1
    space = runpy.run_path("mine.py")
    scan = package.sensitivity(*space["make"](), space["evaluate"], shares=[0.25, 0.5])
    for line in str(scan).splitlines():
        assert line.rstrip() in out
    assert out.splitlines()[-2:] == [
        "kept: make.scan, by which the same scan goes on, or asks for next to nothing",
        "written: a.svg",
    ]
    assert Path("a.svg").read_text().startswith("<svg")
    again = sapwood("scan", "mine.py:make", "--share", "0.25", "--share", "0.5")[1]
    assert "asked    for 1 of 3 numbers; the others were in the cache" in again
    lower = sapwood("scan", "mine.py:make", "--lower", "--cache", "other.scan", "--share", "0.5")[1]
    assert f"({scan.values['0'][0] - scan.whole:.4f})" in lower


@pytest.mark.parametrize(
    ("words", "says", "imported"),
    [
        (["--by", "apoz"], "--by apoz looks at data, which a file of Python has: use sapwood.sensitivity", False),
        (["--to", "a.png"], "--to a.png ends in '.png'; give a name that ends in .html or .svg", False),
        (["--share", "half"], "--share is 'half'; give a number", False),
        (["--cache", "bad.scan"], "bad.scan is not a readable checkpoint", False),
        (["--evaluate", "evaluat"], "unknown function in mine.py: 'evaluat'; did you mean 'evaluate'?", True),
        (["--evaluate", "words"], "evaluate(model) gave a str; it must give one number", True),
        (["--share", "2"], "a share is 2.0; give the part", True),
    ],
)
def test_what_is_typed_wrongly_is_one_line(sapwood, mine, words, says, imported):
    Path("bad.scan").write_bytes(b"no scan")
    status, out, err = sapwood("scan", "mine.py:make", *words)
    assert status == 2
    assert ("imported" in out) is imported
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1
    assert not Path("make.scan").exists()
