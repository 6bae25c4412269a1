"""FLOP: do learned ranks make a better small language model than what one would do instead, at equal parameters?

A recurrent model of bytes, its layers in two factors, trains on WikiText-2. From each seed's model gates learn which
components stay, until a half, 70 or 90 % of their parameters are gone; and the same number of parameters goes by
singular values (the same share of every layer), by magnitude, and by luck, where other components of each layer go
than the gates chose. Two other papers' ways stand beside these: singular values that are trained to be sparse and cut
by energy (SVD training), and truncated ones of which insignificant inputs and outputs keep half (SLR, whose zeros count
as gone). All train on for as many steps. A network as small from the start trains as long as all of that.
Expected: FLOP needs fewer bits per byte than each; where luck within layers does as well, it is the ranks alone.

Smoke: 5,000 bytes, one seed, in seconds. Small: 2 MB, three seeds, 63 networks of 3 epochs and what they begin with;
about 3.5 hours on two cores, estimated. Paper: ten times as long, on a GPU; a trial that stops goes on where it was.
Run: sapwood run flop --scale small
Last run: never at small or paper.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sapwood.study.claim import Claim
from sapwood.study.finals import Number, goal_value, number_of, summed
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.questions import Gaps
from sapwood.study.seeds import summed_up
from sapwood.study.study import Finding, Study, Tabled
from sapwood.study.table import Table
from sapwood.study.words import count, difference, told
from sapwood.trials.trial import Trial
from sapwood.trials.values import Value

FLOP, LUCK, SMALL, TRAINED, ZEROED = "FLOP", "shuffled", "small from the start", "SVD training", "SLR"
BY = {FLOP: "gates", "SVD": "svd", "magnitude": "magnitude", LUCK: "shuffled", SMALL: "fresh"}  # of method flop
ARMS = (*BY, TRAINED, ZEROED)
OTHERS = tuple(arm for arm in ARMS if arm != FLOP)
SPARSITIES = {"50 %": 0.5, "70 %": 0.7, "90 %": 0.9}
NEAR = 1.0  # how far from what was asked the share that is gone may be, in points
MISSING = "Not run at this scale."


class Scale(NamedTuple):
    """A task, how many seeds, epochs of the dense model, with gates and after the cut, and what shares go."""

    task: str
    seeds: int
    dense: int
    gates: int
    tune: int
    shares: tuple[str, ...] = tuple(SPARSITIES)


SCALES = {
    "smoke": Scale("text_sru_smoke", 1, 1, 1, 1, ("50 %",)),
    "small": Scale("text_sru", 3, 2, 2, 1),
    "paper": Scale("text_sru", 5, 20, 20, 10),
}
DENSE = "dense"


def trials(scale: str) -> Iterator[Trial]:
    """A seed's arms are neighbours, so that a study cut short has fewer seeds, not fewer arms."""
    of = SCALES[scale]
    for seed in range(of.seeds):
        dense = Trial.make("dense", of.task, seed, DENSE, stop="epochs", epochs=of.dense)
        yield dense
        for share, sparsity in SPARSITIES.items():
            for arm in ARMS if share in of.shares else ():
                method, options = asked(arm, of)
                made = Trial.make(method, of.task, seed, f"{arm}, {share}", sparsity=sparsity, **options)
                yield made if arm == SMALL else made.after(start=dense)


def asked(arm: str, of: Scale) -> tuple[str, dict[str, Value]]:
    """The method of an arm, and how long it trains before it cuts and afterwards."""
    if arm == TRAINED:
        return "svd_training", {"epochs": 0, "sparse_epochs": of.gates, "tune": of.tune}
    if arm == ZEROED:
        return "sparse_low_rank", {"epochs": 0, "tune": of.gates + of.tune}
    before = of.dense if arm == SMALL else 0
    return "flop", {"by": BY[arm], "epochs": before, "gate_epochs": of.gates, "tune": of.tune}


PARAMETERS = number_of("parameters")
GONE, EXPECTED, SPREAD, DECIDED = (
    number_of(name, "note", 100) for name in ("sparsity_of_components", "expected_sparsity", "spread", "decided")
)
BITS: Number = goal_value


def pairs(*others: str) -> dict[str, tuple[str, str]]:
    """FLOP and others at each sparsity."""
    return {f"{other}, {share}": (f"{FLOP}, {share}", f"{other}, {share}") for other in others for share in SPARSITIES}


def controls(rows: Table) -> str:
    """What the controls showed, in a sentence."""
    found = Gaps(BITS, pairs(*OTHERS))(rows)
    said = count(" comparisons with networks of the same size", found, "in favour of others", "in favour of FLOP")
    return f"{said} Differences are FLOP's bits per byte minus the other's." if found else MISSING


def answer(rows: Table, other: str) -> str:
    """FLOP minus another arm at each sparsity."""
    found = Gaps(BITS, pairs(other))(rows)
    gaps = {name.rpartition(", ")[2]: summed_up(seeds) for name, seeds in found.items()}
    said = (f"{share}: {difference(gap, 3)} bits, {told(gap, 'worse', 'better')}" for share, gap in gaps.items())
    return "; ".join(said) + "." if gaps else MISSING


def met(rows: Table) -> str:
    """Whether what was asked for is what is gone, and how far the gates came by themselves."""
    lines = []
    for share, sparsity in SPARSITIES.items():
        gone, expected = (summed_up(of(rows, f"{FLOP}, {share}")) for of in (GONE, EXPECTED))
        if gone and expected:
            fits = "met" if abs(gone.mean - 100 * sparsity) <= NEAR else "missed"
            lines.append(f"{share}: {fits}, {gone.mean:.1f} % gone, {expected.mean:.1f} % by the gates alone")
    return "; ".join(lines) + "." if lines else MISSING


QUESTIONS = {
    "SVD": "At equal parameters, against truncated singular values.",
    "magnitude": "Against the components of the smallest norms.",
    LUCK: "Which components stay matters, not only how many of each layer.",
    SMALL: "Against a network as small from the start, trained as long.",
    TRAINED: "Against singular values that are trained to be sparse, and cut by energy.",
    ZEROED: "Against truncated singular values, fewer for what is insignificant.",
}


def summary(rows: Table) -> list[str | Finding]:
    """What the controls showed first, then each of them, then the size."""
    asked = (Finding(claim, answer(rows, other)) for other, claim in QUESTIONS.items())
    return [Finding("What the controls showed.", controls(rows)), *asked,
            Finding(f"The size is met within {NEAR:g} point.", met(rows))]  # fmt: skip


def verdict(rows: Table) -> list[str]:
    """What the controls showed, those that a reader asks for first, and the size."""
    said = [f"{each.claim} {each.answer}" for each in summary(rows) if isinstance(each, Finding)]
    first = [said[0], *(f"{QUESTIONS[other]} {answer(rows, other)}" for other in ("SVD", "magnitude", SMALL)), said[-1]]
    return [line for line in first if not line.endswith(MISSING)] or [MISSING]


def measured(rows: Table) -> Grid:
    """Every arm: bits per byte, what is left of it, and how it is spread."""
    every = [DENSE, *(f"{arm}, {share}" for share in SPARSITIES for arm in ARMS)]
    lines = []
    for arm in every:
        if bits := BITS(rows, arm):
            perplexity = {seed: 2**value for seed, value in bits.items()}
            parts = (number(summed_up(of(rows, arm)), 1) for of in (GONE, EXPECTED, SPREAD, DECIDED))
            size = summed_up(PARAMETERS(rows, arm))
            parameters = f"{size.mean:,.0f}" if size else NOTHING
            lines.append((arm, number(summed_up(bits), 3), number(summed_up(perplexity), 3), parameters, *parts))
    heads = ("network", "bits per byte", "perplexity per byte", "parameters", "components' parameters gone (%)",
             "expected (%)", "spread of layers (points)", "gates decided (%)")  # fmt: skip
    return Grid(heads, tuple(lines))


def compared(rows: Table) -> Grid:
    """FLOP minus each other arm, at each sparsity."""
    lines = []
    for name, seeds in Gaps(BITS, pairs(*OTHERS))(rows).items():
        gap = summed_up(seeds)
        lines.append((f"{FLOP} minus {name}", difference(gap, 3), told(gap, "worse", "better")))
    return Grid(("networks of the same size", "bits per byte", "so FLOP is"), tuple(lines))


PRINTED = (  # (what, bits per byte or perplexity, where)
    ("FLOP, 5M parameters, enwik8", "1.19 bits", "arXiv:1910.04732, abstract of version 1"),
    ("SRU++ 108M, not pruned, enwik8", "0.974 bits", "asappresearch/sru, srupp_experiments"),
    ("SRU++ 195M, not pruned, enwik8", "0.953 bits", "asappresearch/sru, srupp_experiments"),
    ("SRU++ 148M, not pruned, WikiText-103", "18.3 perplexity of words", "asappresearch/sru, srupp_experiments"),
    ("SRU++ 234M, not pruned, WikiText-103", "17.1 perplexity of words", "asappresearch/sru, srupp_experiments"),
)
CLAIMS = (
    Claim("Wang 2019, abstract of version 1", "enwik8, bits per character of FLOP with 5M parameters", 1.19, 0.02,
          summed(BITS, "FLOP, 5M, enwik8")),
)  # fmt: skip


def in_print(rows: Table) -> Grid:
    """What is printed of this method and of later networks of its host; other data, other sizes."""
    return Grid(("network", "printed", "where"), PRINTED)


def assumptions(rows: Table) -> Iterator[str]:
    """What this study cannot say."""
    yield (
        "The network has 0.5M parameters and reads 2 MB; the paper's has 35M and reads 90 MB. Its tables could not be "
        "had; only the number of an abstract is printed here, and this study cannot reproduce it."
    )
    yield (
        "Perplexity is counted in bytes. Each window of 1,024 bytes is judged without what stands before it, which "
        "costs all arms alike."
    )
    yield "Gates may miss the size by themselves; the cut meets it, within one component, by ranking what they learned."
    yield (
        "SLR's size counts numbers that are not 0; its layers are larger than the others', and as fast as these sizes. "
        "SVD training has the strengths of its paper's ResNet-20, which were not tuned here."
    )


STUDY = Study(
    name="flop",
    title="Learned ranks of a language model (FLOP) against singular values, magnitude, luck and a small network",
    paper="Wang, Wohlwend, Lei, Structured pruning of large language models, EMNLP 2020, arXiv:1910.04732",
    trials=trials,
    claims=CLAIMS,
    tables=(
        Tabled("Bits per byte of test text", "Means over seeds [95 % interval]; lower is better.", measured),
        Tabled("At equal parameters", "Differences seed by seed; the word: what their interval says.", compared),
        Tabled("In print", "Other text and other sizes: for orientation.", in_print),
    ),
    summary=summary,
    verdict=verdict,
    assumes=assumptions,
)
