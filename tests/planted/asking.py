"""Laws of what papers are made of, and bugs planted in it: which arm is subtracted, goals, variants, tuning."""

from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.study import columns, finals, questions, reached, standing, tuning, words
from sapwood.study.grid import NOTHING
from sapwood.training.goal import ACCURACY
from sapwood.trials.trial import Trial

minus = finals.minus


def asking_laws() -> Laws:
    """Two arms whose numbers were worked out by hand: text in bits, three seeds each."""
    return {
        "asked: a gap is the first arm minus the second, seed by seed": _gaps,
        "asked: only accuracy is in percent": _goal,
        "asked: a comparison that cannot be told is not counted for either side": _counted,
        "asked: a claim holds where most comparisons speak for it, and none against": _standing,
        "asked: that no difference was found shows no equality": _alike,
        "asked: an arm that missed its sparsity in any seed is named, no other": _missed,
        "asked: nobody is compared with itself": _dashes,
        "asked: tuning takes the lowest validation error of all candidates": _tuned,
    }


def _rows(values: dict[str, tuple[float, ...]], split: str = "test", metric: str = "bits", task: str = "text"):
    return [
        {"row": arm, "seed": seed, "task": task, "phase": None, "split": split, "metric": metric, "value": value}
        for arm, each in values.items()
        for seed, value in enumerate(each)
    ]


def _gaps() -> None:
    rows = _rows({"one": (2.0, 3.0), "other": (1.0, 1.5, 9.0)})
    found = questions.Gaps(finals.goal_value, {"it": ("one", "other")})(rows)
    demand(found == {"it": {0: 1.0, 1: 1.5}}, f"the gaps are {found}")


def _goal() -> None:
    bits = finals.goal_value(_rows({"one": (2.0,)}), "one")
    right = finals.goal_value(_rows({"one": (0.5,)}, metric="accuracy", task=""), "one")
    demand((bits, right) == ({0: 2.0}, {0: 50.0}), f"2 bits are {bits}, half of the answers right are {right}")


def _counted() -> None:
    pairs = {"up": {0: 1.0, 1: 1.0625}, "unsure": {0: 9.0, 1: -1.0}, "alone": {0: -1.0}}
    said = words.count(" arms", pairs, "up", "down")
    demand(said.startswith("1 of 3 arms are up, 0 down;"), said)


def _standing() -> None:
    up, down, unsure = {0: 1.0, 1: 1.0625}, {0: -1.0, 1: -1.0625}, {0: 9.0, 1: -1.0}
    cases = {"holds": (up, up, unsure), "holds in part": (up, unsure), "not supported": (up, up, down),
             "contradicted": (down, down, unsure)}  # fmt: skip
    found = {word: standing.stands("higher", [dict(enumerate(each))]) for word, each in cases.items()}
    demand(all(word == said for word, said in found.items()), f"claims stand as {found}")


def _alike() -> None:
    unsure = {"a": {0: 9.0, 1: -1.0}, "b": {0: 1.0, 1: -9.0}}
    found = {claimed: standing.stands(claimed, [unsure]) for claimed in ("alike", "no lower")}
    demand(set(found.values()) == {"cannot be told"}, f"of what cannot be told apart it says {found}")


def _missed() -> None:
    hidden = {"met": (0.8, 0.8), "late": (0.8, 0.7), "early": (0.7, 0.8)}
    trials = [
        Trial.make("gradual_magnitude", "mlp_digits", seed, arm, sparsity=0.8) for arm in hidden for seed in (0, 1)
    ]
    rows = _rows(hidden, "network", "sparsity_hidden") + _rows(
        dict.fromkeys(hidden, (0.78, 0.78)), "network", "sparsity"
    )
    found = [line.split()[1] for line in reached.elsewhere(trials, rows)]
    demand(found == ["late", "early"], f"said to have missed it are {found}")


def _dashes() -> None:
    gap = finals.less(finals.goal_value, "one")
    grid = columns.by_arm(("one", "other"), columns.mean("gap", gap, but=["one"]))(
        _rows({"one": (2.0,), "other": (1.0,)})
    )
    cells = [line[1] for line in grid.lines]
    demand(cells[0] == NOTHING and cells[1] != NOTHING, f"the gaps to one are shown as {cells}")


def _tuned() -> None:
    tried = tuning.Tuning(("one", "other"), (0.1, 0.2))
    values = {"tune one, 0.1": (3.0,), "tune one, 0.2": (2.0,), "tune other, 0.1": (1.0,)}
    found = tried.best(_rows(values, "valid"))
    demand(found == {"one": 0.2}, f"best are {found}")


SPEAKING = standing._speaking


def best_of_those_there(self, rows):
    found = tuning.errors(rows, "valid")
    there = {arm: [at for at in self.candidates if self.tried(arm, at) in found] for arm in self.arms}
    return {
        arm: min(each, key=lambda at: found[self.tried(arm, at)][0]) for arm, each in there.items() if each
    }  # fmt: skip


def highest(self, rows):
    found = tuning.errors(rows, "valid")
    names = {arm: {at: self.tried(arm, at) for at in self.candidates} for arm in self.arms}
    whole = {arm: each for arm, each in names.items() if found.keys() >= {*each.values()}}
    return {arm: max(each, key=lambda at: found[each[at]][0]) for arm, each in whole.items()}


MUTANTS = bugs(
    "asked",
    asking_laws,
    {
        "a gap is the first arm minus the second, seed by seed": {
            "the second arm minus the first": instead(questions, "minus", lambda one, other: minus(other, one)),
            "means are subtracted, not seeds": instead(
                questions, "minus", lambda a, b: dict.fromkeys(a, sum(a.values()) / len(a) - sum(b.values()) / len(b))
            ),
        },
        "only accuracy is in percent": {
            "every goal is taken for a fraction": instead(finals, "_scale", lambda goal: 100),
            "every task is judged by accuracy": instead(finals, "goal_of", lambda task: ACCURACY),
        },
        "a comparison that cannot be told is not counted for either side": {
            "the sign of the mean decides": instead(
                words, "told", lambda gap, more="higher", less="lower": more if gap.mean > 0 else less
            ),
        },
        "a claim holds where most comparisons speak for it, and none against": {
            "one comparison is enough": instead(
                standing, "_speaking", lambda some, against, every: SPEAKING(some, against, 1)
            ),
            "what speaks against it is passed over": instead(
                standing, "_speaking", lambda some, against, every: SPEAKING(some, against if not some else 0, every)
            ),
            "what cannot be told does not count": instead(
                standing, "_speaking", lambda some, against, every: SPEAKING(some, against, some + against)
            ),
        },
        "that no difference was found shows no equality": {
            "what cannot be told apart is alike": instead(
                standing, "stands", lambda claimed, pairs: "holds" if claimed in ("alike", "no lower") else ""
            ),
        },
        "an arm that missed its sparsity in any seed is named, no other": {
            "the nearest seed decides": instead(
                reached, "_furthest", lambda seeds, share: min(abs(value - share) for value in seeds.values())
            ),
            "the last seed decides": instead(reached, "_furthest", lambda seeds, share: abs(seeds[max(seeds)] - share)),
            "hidden layers are not looked at": instead(reached, "MEASURES", {"sparsity": "of all weights"}),
        },
        "nobody is compared with itself": {
            "an arm has a gap of 0 to itself": instead(
                columns, "mean", lambda title, value, decimals=2, *, but=(): columns.Column(
                    title, lambda rows, arm: columns.show(value(rows, arm), decimals))
            ),
        },
        "tuning takes the lowest validation error of all candidates": {
            "the candidates that have been run decide": instead(tuning.Tuning, "best", best_of_those_there),
            "the highest error is taken": instead(tuning.Tuning, "best", highest),
        },
    },
)  # fmt: skip
