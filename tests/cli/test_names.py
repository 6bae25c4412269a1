"""Names that no file can have, and files where folders should be: one line from every verb, and nothing is made."""

import pytest

LONG, DEEP = "x" * 300, "/".join(["y" * 200] * 25)


@pytest.mark.parametrize("name", [LONG, DEEP, f"{LONG}.safetensors"])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "quickstart", "--only", "arm=dense", "--only", "seed=0", "--scale", "smoke", "--results"],
        ["report", "quickstart", "--results"],
        ["report", "quickstart", "--from"],
        ["run", "quickstart", "--from"],
        ["export", "--to", "small.safetensors"],
        ["shrink", "--to", "small.safetensors"],
        ["check"],
        ["run"],
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_a_name_that_is_too_long_is_one_line(sapwood, tmp_path, monkeypatch, words, name):
    monkeypatch.chdir(tmp_path)
    status, _, said = sapwood(*words, name)
    assert status == 2
    assert said.startswith("error: "), said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_results_in_a_file_are_one_line(sapwood, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("words")
    status, _, said = sapwood("run", "quickstart", "--only", "arm=dense", "--scale", "smoke", "--results", "file")
    assert (status, said) == (
        2,
        "error: cannot make the folder file/quickstart: Not a directory; choose another results folder\n",
    )
    assert (tmp_path / "file").read_text() == "words"


def test_what_nobody_has_put_in_words_is_one_line_all_the_same(sapwood, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error", "a file")

    monkeypatch.setattr("sapwood.cli.listing.print_lists", broken)
    assert sapwood("list")[::2] == (2, "error: cannot use a file: Input/output error; look after it and try again\n")
