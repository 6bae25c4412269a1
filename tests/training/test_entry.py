"""Tables: one line for a method or a task; the columns read as dicts do, and what is set in one is in the table."""

import pytest

from sapwood import InputError
from sapwood.methods import ENTRIES, METHOD_VERSIONS, METHODS, METHODS_BEFORE
from sapwood.tasks import ENTRIES as TASK_ENTRIES
from sapwood.tasks import TASK_DATA, TASK_GOALS, TASK_VERSIONS, TASKS
from sapwood.training.entry import Column, Entry, table


def one():
    """A function."""


def two():
    """Another one."""


@pytest.fixture
def entries():
    return table(Entry(one), Entry(two, version=3, before=2, data="digits"))


def column(entries, field):
    return Column(entries, field)


def test_a_column_reads_as_a_dict_without_the_entries_that_say_nothing(entries):
    assert dict(column(entries, "make")) == {"one": one, "two": two}
    assert column(entries, "version") == {"one": 1, "two": 3}
    before = column(entries, "before")
    assert (before, list(before), len(before), "one" in before, before.get("one")) == (
        {"two": 2},
        ["two"],
        1,
        False,
        None,
    )
    with pytest.raises(KeyError, match="one"):
        before["one"]
    with pytest.raises(KeyError, match="three"):
        before["three"]
    assert repr(before) == "{'two': 2}"


def test_columns_join_as_dicts_do(entries):
    version, before = column(entries, "version"), column(entries, "before")
    assert version | before == {"one": 1, "two": 2}
    assert before | version == {"one": 1, "two": 3}
    assert {"one": 9, "zero": 0} | before == {"one": 9, "zero": 0, "two": 2}


@pytest.mark.parametrize("first", ["make", "version"])
def test_what_is_set_in_the_columns_is_one_entry_in_either_order(entries, first):
    values = {"make": test_columns_join_as_dicts_do, "version": 4}
    for field in sorted(values, key=lambda field: field != first):
        column(entries, field)["mine"] = values[field]
    assert entries["mine"] == Entry(values["make"], version=4)
    assert list(column(entries, "make")) == ["one", "two", "mine"]
    del column(entries, "make")["mine"]
    assert "mine" not in entries


def test_setting_one_field_leaves_the_others_and_deleting_puts_back_the_usual(entries):
    column(entries, "make")["two"] = one
    assert entries["two"] == Entry(one, version=3, before=2, data="digits")
    for field in ("version", "before"):
        del column(entries, field)["two"]
    assert entries["two"] == Entry(one, data="digits")
    with pytest.raises(KeyError):
        del column(entries, "before")["two"]


def test_two_functions_of_one_name_are_refused():
    with pytest.raises(InputError, match="two entries of a table are called 'one'"):
        table(Entry(one), Entry(two), Entry(one, version=2))


@pytest.mark.parametrize(
    ("entries", "columns"),
    [
        (ENTRIES, {"make": METHODS, "version": METHOD_VERSIONS, "before": METHODS_BEFORE}),
        (TASK_ENTRIES, {"make": TASKS, "version": TASK_VERSIONS, "data": TASK_DATA, "goal": TASK_GOALS}),
    ],
)
def test_the_tables_of_old_are_columns_of_one(entries, columns):
    for field, each in columns.items():
        said = {name: getattr(entry, field) for name, entry in entries.items()}
        assert each == {name: value for name, value in said.items() if value is not None}
    assert all(name == entry.make.__name__ for name, entry in entries.items())
