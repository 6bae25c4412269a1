"""Bugs planted where printed numbers are judged three ways: one more run, other arms, luck."""

from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.study import thrice
from sapwood.study.claim import Claim
from sapwood.study.printed import Printed, Shown
from sapwood.study.strictness import Strictness
from sapwood.study.table import Summary

TABLES = {1: {"a": {"x": 1.0}, "b": {"x": 5.0}, "c": {"x": 9.0}}}
FOUND = {"a": Summary(1.1, 1.0, 1.2, 3), "b": Summary(5.0, 4.9, 5.1, 3), "c": Summary(5.4, 5.3, 5.5, 3),
         "luck": Summary(1.2, 1.1, 1.3, 3)}  # fmt: skip


def laws() -> Laws:
    return {
        "thrice: one more run lies in a wider interval than the mean": _one_run,
        "thrice: what another arm or luck would pass too discriminates nothing": _alone,
    }


def judged():
    """The printed numbers of a, b and c; c's own would pass as b's, luck's as a's."""

    def claim(table, label, column, value):
        return Claim(f"Table {table}, row {label}", f"{label}: {column}", value, 0.5, lambda rows: rows.get(label))

    printed = Printed(TABLES, claim, lambda column: Shown(column, "", 2), lambda rows, table, label: ("3",))
    made = thrice.Thrice(Strictness(printed, ("all",), lambda cell: "all"), "", "luck")
    return {each.cell.label: each for each in made.numbers(FOUND)}


def _one_run():
    found = thrice.one_run(Summary(10.0, 9.0, 11.0, 3))
    demand(found == (8.0, 12.0), f"of 10 [9, 11], n = 3, one more run lies in 8 to 12, not {found}")
    demand(judged()["c"].as_one_run == "not reproduced", "9 passes for a run of 5.4 [5.3, 5.5]")


def _alone():
    passing = {label: each.passing for label, each in judged().items()}
    demand(passing == {"a": 1, "b": 1, "c": 0}, f"luck passes for a and c for b, and it says {passing}")
    demand(not any(each.discriminating for each in judged().values()), "one of them is said to discriminate")


MUTANTS = bugs("thrice", laws, {
    "one more run lies in a wider interval than the mean": {
        "it is the mean's": instead(thrice, "one_run", lambda ours: (ours.low, ours.high)),
        "it is as wide for any number of runs": instead(thrice, "sqrt", lambda n: 1.5),
    },
    "what another arm or luck would pass too discriminates nothing": {
        "other arms are not tried": instead(thrice, "_beside", lambda other, cell: False),
        "luck is not tried": instead(thrice, "_luck", lambda *of: None),
    },
})  # fmt: skip
