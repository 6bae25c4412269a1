"""Verdicts: the claims of `rules`, and two that take more: the nearest penalty, and what local pruning costs."""

from statistics import fmean

from activation_pruning import arms as first

from sapwood.study.cost import EVERYWHERE, ONE_LAYER
from sapwood.study.cost_report import ratios
from sapwood.study.equivalence import Within
from sapwood.study.printed import judged
from sapwood.study.seeds import minus
from sapwood.study.spectra_tables import distance_from
from sapwood.study.standing import as_said, tally
from sapwood.study.study import Finding
from sapwood.study.table import Table
from sapwood.study.words import Pairs, finding

from .arms import KINDS, STRENGTHS, penalty
from .rules import NEAR, QUESTIONS

DISTANCE = distance_from(first.LIKE, (1, 2, 3, 4))


def nearest(rows: Table) -> dict[str, tuple[float, bool]]:
    """Of each kind of penalty the strength whose course is nearest to pruning's, and whether weaker and stronger ones
    were tried.
    """
    found = {}
    for kind in KINDS:
        away = {at: fmean(each.values()) for at in STRENGTHS if (each := DISTANCE(rows, penalty(kind, at)))}
        if away:
            best = min(away, key=lambda at: away[at])
            found[kind] = best, min(away) < best < max(away)
    return found


def beside_luck(rows: Table) -> Pairs:
    """The distance of the nearest penalty of each kind minus that of random neurons, seed by seed."""
    arms = {penalty(kind, strength) for kind, (strength, _) in nearest(rows).items()}
    return {arm: minus(DISTANCE(rows, arm), DISTANCE(rows, first.RANDOM)) for arm in sorted(arms)}


PENALTIES = Within("distance of the nearest penalty minus that of random neurons", beside_luck, NEAR, "further",
                   "closer", "(natural log)", claimed="lower")  # fmt: skip


def nuclear(rows: Table) -> Finding:
    """Whether a penalty comes closer to pruning than luck does."""
    open_ends = [penalty(kind, at) for kind, (at, closed) in nearest(rows).items() if not closed]
    grid = f"At an end of the grid: {', '.join(open_ends)}." if open_ends else "Weaker and stronger ones are further."
    claim = "Pruning by activity is equivalent to a (weighted) nuclear-norm penalty (section 5.6)"
    return finding(claim, PENALTIES(rows), grid)._replace(standing=PENALTIES.standing(rows))


def cost(rows: Table) -> Finding:
    """What a cycle in one of four equal layers costs beside one in all of them."""
    found = ratios(rows, ONE_LAYER, EVERYWHERE)
    said = ", ".join(f"{ratio:.2f} of the {metric}" for metric, ratio in found.items())
    return finding(
        "Local pruning takes less time and memory than global pruning (Table 1)",
        f"A cycle in one of four equal layers takes {said} of one in all." if found else "",
        "There are as many such cycles as layers; counting and training, which take longer, are the same.",
    )._replace(standing=as_said([ratio < 1 for ratio in found.values()]))


def findings(rows: Table) -> list[Finding]:
    """One for each claim."""
    return [*(question(rows) for question in QUESTIONS), nuclear(rows), cost(rows)]


def in_short(rows: Table) -> list[str]:
    """How the claims stand, and the answers about the main one, the sets and luck."""
    if not rows or not judged(rows):
        return []
    asked = {question.claim: question for question in QUESTIONS}
    main = [next(q for claim, q in asked.items() if claim.startswith(word)) for word in ("Nearly", "A random", "Does")]
    return [tally(findings(rows), "the paper's {} claims asked again"), *(q.answer[1](rows) for q in main)]
