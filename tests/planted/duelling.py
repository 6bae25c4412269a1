"""Bugs planted in duels: who is chosen, by which images, and what counts as at least equal."""

from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.study import duels
from sapwood.study.finals import goal_value
from sapwood.study.table import Summary

ABOUT = {"method": "", "task": "conv_digits", "step": 1, "epoch": 1, "phase": None, "metric": "accuracy"}
CLOSE = Summary(-0.2, -0.9, 0.5, 3)
WIDE = Summary(-2.0, -9.0, 5.0, 3)


def laws() -> Laws:
    return {
        "duels: an arm stands for its side by validation images, whatever test images say": _chosen,
        "duels: what lies far below is not equal, however wide its interval": _judged,
        "duels: asked for is at least equal everywhere": _tallied,
    }


def rows():
    """Arm a is better on validation images, arm b on test images."""
    found = {"a": (0.9, 0.7), "b": (0.8, 0.95), "c": (0.5, 0.6)}
    return [ABOUT | {"trial": arm + split, "row": arm, "seed": seed, "split": split, "value": value + seed / 100}
            for arm, both in found.items() for split, value in zip(("valid", "test"), both, strict=True)
            for seed in range(2)]  # fmt: skip


def _chosen():
    found = duels.duel(rows(), ["a", "b"], ["c"])
    demand(found is not None and found.ours == "a", f"{found and found.ours} is chosen, and a has the best validation")
    demand(abs(found.gap.mean - 10) < 1e-9, f"the difference is {found.gap.mean}, and test accuracies differ by 10")


def _judged():
    demand(duels.judged(CLOSE, 0.3) == duels.EQUAL, "-0.2 with an interval that reaches above 0 is not called equal")
    demand(duels.judged(WIDE, 0.3) == duels.LESS, "-2.0 is called equal, because its interval is wide")


def _tallied():
    every = [duels.Duel("a", "b", gap) for gap in (Summary(1, 0.5, 1.5, 3), WIDE)]
    said = duels.tallied(every, 0.3)
    demand(said.endswith(": not met."), f"one of two is below, and it is said: {said}")


MUTANTS = (
    *bugs("duels", laws, {
        "an arm stands for its side by validation images, whatever test images say": {
            "the best on test images is chosen": instead(
                duels, "goal_value", lambda rows, arm, split="test": goal_value(rows, arm)
            ),
        },
        "what lies far below is not equal, however wide its interval": {
            "an interval that reaches 0 is enough": instead(
                duels, "judged", lambda gap, points: duels.EQUAL if gap.high >= 0 else duels.LESS
            ),
        },
        "asked for is at least equal everywhere": {
            "what cannot be told is called better": instead(duels, "judged", lambda gap, points: duels.BETTER),
        },
    }),
)  # fmt: skip
