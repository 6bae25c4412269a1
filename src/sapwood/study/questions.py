"""Questions: what a paper claims, as comparisons of arms, and the findings that the rows give.

A question is declared: its claim, what is counted for the answer, and the numbers behind that. Comparisons are `Gaps`,
or any function of the rows that gives {what is compared: {seed: difference}}.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sapwood.study import words
from sapwood.study.finals import Number
from sapwood.study.seeds import minus
from sapwood.study.several import Family
from sapwood.study.standing import Claimed, as_whole, stands
from sapwood.study.study import Finding, Standing
from sapwood.study.table import Table
from sapwood.study.words import Pairs, finding, there

Said = Callable[[Table], str]
Comparisons = Callable[[Table], Pairs]


@dataclass(frozen=True)
class Gaps:
    """A number in which pairs of arms are compared, {what is compared: (one, other)}: one minus the other."""

    number: Number
    pairs: Mapping[str, tuple[str, str]]

    def __call__(self, rows: Table) -> Pairs:
        """The differences, seed by seed, of those comparisons that have any."""
        gaps = {
            name: minus(self.number(rows, one), self.number(rows, other)) for name, (one, other) in self.pairs.items()
        }
        return there(gaps)


def each(number: Number, arms: Iterable[str]) -> Comparisons:
    """A number of each arm that is a difference itself."""
    names = tuple(arms)
    return lambda rows: there({arm: number(rows, arm) for arm in names})


def to(other: str, arms: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Each arm compared with `other`, under the arm's own name; {} in `other` stands for it."""
    return {arm: (arm, other.format(arm)) for arm in arms}


def against(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The first of each pair compared with the second, as "ONE against OTHER"."""
    return {f"{one} against {other}": (one, other) for one, other in pairs}


@dataclass(frozen=True)
class Counted:
    """How many comparisons are `more`, how many `less`, and what the claim says of them, if it is the paper's."""

    of: str
    pairs: Comparisons
    more: str
    less: str
    claimed: Claimed | None = None

    def __call__(self, rows: Table) -> str:
        """The sentence: see `words.count`."""
        return words.count(self.of, self.pairs(rows), self.more, self.less)


def counted(of: str, pairs: Comparisons, more: str, less: str, *, claimed: Claimed | None = None) -> Counted:
    """How many comparisons are `more`, how many `less`: see `words.count`. By what is `claimed`, the claim stands."""
    return Counted(of, pairs, more, less, claimed)


def listed(start: str, pairs: Comparisons, more: str = "higher", less: str = "lower", decimals: int | None = 2) -> Said:
    """Which comparisons are `more` and which `less`, with their numbers: see `words.sentence`."""
    return lambda rows: words.sentence(start, pairs(rows), more, less, decimals)


def corrected(start: str, pairs: Comparisons) -> Said:
    """Which comparisons are left after Holm's correction: see `words.corrected`."""
    return lambda rows: words.corrected(start, pairs(rows))


@dataclass(frozen=True)
class Question:
    """A claim, what is counted for its answer, and sentences behind that; a string is said whatever the rows say.

    How the claim stands is read off the counts that say what is `claimed`, those that claim the same together, unless
    `judge` says it.
    """

    claim: str
    answer: Sequence[Said]
    details: Sequence[Said | str] = ()
    judge: Callable[[Table], Standing] | None = None

    def __call__(self, rows: Table) -> Finding:
        """The finding; without rows there is no answer."""
        answers = " ".join(each for said in self.answer if (each := said(rows)))
        behind = (said if isinstance(said, str) else said(rows) for said in self.details)
        return finding(self.claim, answers, *behind)._replace(standing=self.standing(rows))

    def standing(self, rows: Table) -> Standing | None:
        """How the claim stands; None where the paper claims nothing."""
        if self.judge is not None:
            return self.judge(rows)
        claims: dict[Claimed, list[Pairs]] = {}
        for said in self.answer:
            if isinstance(said, Counted) and said.claimed:
                claims.setdefault(said.claimed, []).append(said.pairs(rows))
        return as_whole([stands(*each) for each in claims.items()]) if claims else None


def families(asked: Mapping[str, Comparisons]) -> Callable[[Table], list[Family]]:
    """Questions that are answered by several comparisons each, for `several.table`."""
    return lambda rows: [Family(question, there(pairs(rows))) for question, pairs in asked.items()]
