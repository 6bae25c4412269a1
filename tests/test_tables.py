"""The tables: every file of a family is in its table, and every entry says what it is."""

import ast
from pathlib import Path

import pytest

from sapwood import criteria, methods, tasks
from sapwood.cli.listing import KINDS
from sapwood.scoring.statistics import ABOUT, STATISTICS

NOT_MEMBERS = {
    "criteria": set(),
    "methods": {"presets"},
    "tasks": {"split", "recipe"},
}  # what a family's members are made with
FAMILIES = {
    "criteria": (criteria, [criteria.UNIT_CRITERIA | criteria.CRITERIA]),
    "methods": (methods, [methods.METHODS, methods.METHOD_VERSIONS]),
    "tasks": (tasks, [tasks.TASKS, tasks.TASK_VERSIONS, tasks.TASK_DATA]),
}


def files(package) -> set[str]:
    """The names of a package's files."""
    return {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}


def missing(family: str, found: set[str], table) -> set[str]:
    """The files that are in no table, and the entries that have no file."""
    return (found - NOT_MEMBERS[family]) ^ set(table)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_is_in_the_tables_under_its_own_name(family):
    package, tables = FAMILIES[family]
    for table in tables:
        assert missing(family, files(package), table) == set()
    assert NOT_MEMBERS[family] <= files(package)


def test_a_forgotten_entry_is_noticed():
    both = criteria.CRITERIA | criteria.UNIT_CRITERIA
    assert missing("criteria", files(criteria) | {"forgotten"}, both) == {"forgotten"}
    assert missing("tasks", files(tasks), dict(tasks.TASKS) | {"imagined": None}) == {"imagined"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_begins_by_saying_what_it_is(family):
    package, _ = FAMILIES[family]
    for path in Path(package.__file__).parent.glob("*.py"):
        words = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        assert len(words.partition("\n")[0]) > 20, f"{path.name} needs a first line that says which concept lives in it"


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_documented(kind):
    lines = KINDS[kind]()
    assert lines, f"nothing is listed under {kind}"
    assert [name for name, about in lines.items() if len(about) < 15 or about.startswith(("dict(", "partial("))] == []


def test_every_statistic_says_what_it_sums():
    assert set(ABOUT) == set(STATISTICS)
