"""Bugs planted in equivalence: which interval, whose margin, what is corrected for, and what "as good as" takes."""

from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.study import equivalence, several
from sapwood.study.equivalence import Within

ROOT = 0.75**0.5
FLAT = [ROOT, ROOT, -ROOT, -ROOT]  # mean 0, s = 1: t = ± 2 for a margin of 1, p = 0.06966
no_worse, holm, in_words = equivalence.no_worse, equivalence.holm, equivalence.in_words
NEAR = {0: 0.1, 1: -0.1, 2: 0.05, 3: -0.05}
FAR = {0: 1.0, 1: 1.1, 2: 0.9, 3: 1.0}
WIDE = {0: 3.0, 1: -3.0, 2: 2.0, 3: -1.0}


def laws() -> Laws:
    return {
        "equal: p is the larger of two one-sided tests": _both_sides,
        "equal: what was not seen to differ is not as good": _not_seen,
        "equal: as many as are compared are corrected for": _corrected,
        "equal: what would have been seen is said at the corrected level": _seen,
        "equal: what is better is no lower, and not alike": _one_side,
    }


def _both_sides() -> None:
    p = equivalence.as_good(FLAT, 1.0)
    demand(p is not None and abs(p - 0.0696628) < 1e-6, f"t = 2 with 3 degrees of freedom has p = 0.0697, not {p}")
    for sign in (1, -1):
        beyond = equivalence.as_good([sign * each for each in FAR.values()], 0.5)
        demand(beyond is not None and beyond > 0.99, f"{sign} is within 0.5, it says, with p = {beyond}")


def _not_seen() -> None:
    found = equivalence.told({"wide": WIDE}, 0.5)["wide"]
    said = equivalence.in_words(found, 0.5)
    demand(said.startswith("cannot be told apart"), f"of -1 to 3 it says: {said}")
    demand(Within("", lambda rows: {"wide": WIDE}, 0.5, claimed="alike").standing([]) == "cannot be told", "it stands")


def _corrected() -> None:
    one, three = (equivalence.told(dict.fromkeys("abc"[:n], NEAR), 0.3)["a"] for n in (1, 3))
    demand(abs(three.alike - 3 * one.alike) < 1e-12, f"one of three has p = {three.alike}, alone {one.alike}")


def _seen() -> None:
    one, three = (equivalence.told(dict.fromkeys("abc"[:n], WIDE), 0.3)["a"].seen for n in (1, 3))
    demand(one is not None and three is not None and three > 1.1 * one, f"{three} of three, {one} alone")
    demand(abs(one - (several.detectable(WIDE.values()) or 0)) < 1e-9, f"alone {one}")


def _one_side() -> None:
    stands = {claimed: Within("", lambda rows: {"far": FAR}, 0.5, claimed=claimed).standing([])
              for claimed in ("no lower", "alike", "lower")}  # fmt: skip
    wanted = {"no lower": "holds", "alike": "contradicted", "lower": "contradicted"}
    demand(stands == wanted, f"of 1 point more it says {stands}")


def one_sided(differences, margin):
    return no_worse(list(differences), margin)


def smaller(differences, margin):
    seen = list(differences)
    return min(no_worse(seen, margin), no_worse([-each for each in seen], margin))


MUTANTS = bugs("equal", laws, {
    "p is the larger of two one-sided tests": {
        "one side is enough": instead(equivalence, "as_good", one_sided),
        "the smaller p of both sides is taken": instead(equivalence, "as_good", smaller),
        "the margin is taken twice": instead(
            equivalence, "no_worse", lambda seen, margin: no_worse(seen, 2 * margin)
        ),
    },
    "what was not seen to differ is not as good": {
        "a p above 0.05 of a difference shows equality": instead(
            equivalence.Told, "equal", property(lambda told: told.differs >= several.ALPHA)
        ),
    },
    "as many as are compared are corrected for": {
        "tests of equality are not corrected for": instead(equivalence, "holm", dict),
    },
    "what would have been seen is said at the corrected level": {
        "what would have been seen is that of a single comparison": instead(
            equivalence, "detectable", lambda values, alpha: several.detectable(values)
        ),
    },
    "what is better is no lower, and not alike": {
        "what differs is alike": instead(equivalence, "FOR", dict.fromkeys(equivalence.FOR, bool)),
        "nothing speaks against a claim": instead(
            equivalence, "AGAINST", dict.fromkeys(equivalence.AGAINST, lambda each: False)
        ),
    },
})  # fmt: skip
