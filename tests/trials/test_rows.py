"""Rows: append only, whole lines only, and cut back to a step."""

import pytest

from sapwood.errors import InputError
from sapwood.trials.rows import Row, RowFile, cut, read_rows


def row(step, value=1.0, phase=0):
    return Row(step, 1, phase, "train", "loss", value)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    with RowFile(path) as rows:
        rows.write(row(1), row(2))
        rows.write(row(3))
    return path


def test_rows_come_back_and_more_are_added_behind(file):
    with RowFile(file) as rows:
        rows.write(row(4, 0.1 + 0.2))
        assert read_rows(file)[-1] == row(4, 0.1 + 0.2)  # to be seen at once, with all digits
    assert [each.step for each in read_rows(file)] == [1, 2, 3, 4]


def test_a_torn_last_line_is_passed_over_wherever_it_is_torn(file):
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last, len(whole)):
        file.write_bytes(whole[:end])
        assert [each.step for each in read_rows(file)] == [1, 2]


def test_cutting_leaves_whole_lines_up_to_a_step_and_none_of_the_end(file):
    with RowFile(file) as rows:
        rows.write(row(2, phase=None))
    file.write_bytes(file.read_bytes() + b'{"step": 9, "ep')
    assert cut(file, 2) == [row(1), row(2)] == read_rows(file)
    with RowFile(file) as rows:
        rows.write(row(3))
    assert [each.step for each in read_rows(file)] == [1, 2, 3]
    assert cut(file, -1) == []
    assert file.read_bytes() == b""


def test_a_missing_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "rows.jsonl") == []


def test_a_damaged_line_is_named(file):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"{broken\n" + lines[2])
    with pytest.raises(InputError, match=r"line 2 of .*rows\.jsonl is not a row"):
        read_rows(file)
    file.write_bytes(b'{"step": 1}\n')
    with pytest.raises(InputError, match="line 1"):
        read_rows(file)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_json_cannot_say_is_null(tmp_path, value):
    with RowFile(tmp_path / "rows.jsonl") as rows:
        rows.write(row(1, value))
    assert "null" in (tmp_path / "rows.jsonl").read_text()
    assert read_rows(tmp_path / "rows.jsonl") == [row(1, None)]
