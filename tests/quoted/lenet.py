"""LeNet: README's numbers from the studies of LeNet-300-100 on MNIST."""

# ruff: noqa: E501 (sentences stand here as README has them)

from collections.abc import Iterator

from quoted.kept import kept, mean, part, told

from sapwood.study.seeds import errors, excess, summed_up
from sapwood.study.table import by_seed

CURVE = (8, 32, 94)
TRIPLES = {  # method: the words before its three errors, and decimals of the last
    "iterative magnitude": ("LeNet-300-100: {} %; as Han", 2),
    "lottery ticket": ("LeNet-300-100: {} %; drawn anew", 2),
    "ticket, reinitialised": ("drawn anew {} %, mask", 2),
    "ticket, mask shuffled": ("mask shuffled {} %; as Frankle", 1),
    "dynamic surgery": ("LeNet-300-100: {} %; as Guo", 2),
    "variational dropout": ("alone, LeNet-300-100: {} %", 2),
    "SNIP": ("SNIP {} %", 2),
    "GraSP": ("GraSP {} %", 2),
    "SynFlow": ("SynFlow {} %", 2),
    "random mask": ("random masks {} %", 1),
    "RigL": ("RigL {} %", 2),
    "SET": ("SET {} %", 2),
    "random mask, ERK": ("not at all {} %", 1),
    "gradual magnitude": ("gradual magnitude {} %, activation", 2),
    "global activation, N": ("global {} % (*Neurons*)", 0),
    "global activation, N & W": ("and {} % (*Neurons & Weights*), local", 1),
    "local activation, N & W": ("local {} % (*Neurons & Weights*; *Neurons* never gets to 94-fold)", 2),
}


def lenet() -> Iterator[str]:
    """The curve at three compressions, and the papers' own points."""
    rows = kept("lenet300")
    found, folds, short = errors(rows), part("lenet300", "found").folds(rows), part("lenet300", "found").short
    for method, (words, decimals) in TRIPLES.items():
        last = {**dict.fromkeys(CURVE, 2), CURVE[-1]: decimals}
        yield words.format(", ".join(mean(found[f"{method}, {fold}"], last[fold]) for fold in CURVE))
    assert short(rows, "local activation, N", 94) is not None
    show = {row: told(summed_up(seeds), 2) for row, seeds in found.items()}
    assert {len(seeds) for row, seeds in found.items() if not row.startswith("tune ")} == {5}
    yield "test error at 8, 32 and 94 times fewer weights, ten epochs for every method, its learning rate tuned on"
    yield f"dense {show['dense']} %, gradual"
    epochs = {row: mean(seeds, 0) for row, seeds in by_seed(rows, "epochs", "network").items()}
    assert {epochs["dense"], epochs["SNIP, 94"], epochs["global activation, N, 8"]} == {"10"}
    printed = {(claim.where, claim.text): f"{claim.value:g}" for claim in part("lenet300", "claims").CLAIMS}
    han, guo, molchanov = (printed[f"{who}, Table 1", what] for who, what in (
        ("Han 2015", "12-fold, test error, %"), ("Guo 2016", "56-fold, test error, %"),
        ("Molchanov 2017", "test error, %")))  # fmt: skip
    more = printed["Molchanov 2017, Table 1", "dense / left weights"]
    twenty, fifty = (printed["Lee 2019, Table 1", f"{fold}-fold, test error, %"] for fold in (20, 50))
    yield (
        f"{_fold(folds, 'as Han 2015')}-fold, {epochs['as Han 2015']} epochs with weight decay: {show['as Han 2015']} % "
        f"(printed {han})"
    )
    above = told(excess(rows, "as Frankle 2019", "dense"), 2)
    yield f"{_fold(folds, 'as Frankle 2019')}-fold, {epochs['as Frankle 2019']} epochs: {above} points above dense"
    yield (
        f"{_fold(folds, 'as Guo 2016')}-fold, {epochs['as Guo 2016']} epochs with weight decay: {show['as Guo 2016']} % "
        f"(printed {guo})"
    )
    yield (
        f"as Molchanov et al., {epochs['as Molchanov 2017']} epochs: {_fold(folds, 'as Molchanov 2017')}-fold at "
        f"{show['as Molchanov 2017']} % (printed: {more}-fold at {molchanov})"
    )
    lee = ("as Lee 2019, 20-fold", "as Lee 2019, 50-fold")
    yield (
        f"As Lee et al., {_fold(folds, lee[0])}-fold and {_fold(folds, lee[1])}-fold: {show[lee[0]]} and {show[lee[1]]} %; "
        f"the printed {twenty} and {fifty} do"
    )
    stored = told(summed_up(by_seed(rows, "stored_fold", "note")["as deep compression"]), 1)
    lost = told(excess(rows, "as deep compression", "dense"), 2)
    yield f"As Han et al., 5 seeds, no teacher: {stored} times fewer (printed 40), {lost} points"


def _fold(folds, row: str) -> str:
    return mean(folds[row], 0)


def record() -> Iterator[str]:
    """What has a teacher."""
    rows = kept("lenet300_record")
    found = errors(rows)
    seen = {row: f"{told(summed_up(seeds), 2)} %" for row, seeds in found.items()}
    n = {row: len(seeds) for row, seeds in found.items()}
    assert n["94-fold"] == n["128-fold"]
    yield (
        f"LeNet-300-100 on MNIST, {n['94-fold']} seeds, after variational dropout and with a teacher: {seen['94-fold']} test "
        f"error at 94-fold, {seen['128-fold']} at 128-fold; {n['dense']} and {n['dense, taught']} seeds: dense "
        f"{seen['dense']}, with that teacher {seen['dense, taught']}"
    )
    yield "the ranking that the 94-fold of"
    stored = {
        fold: told(summed_up(by_seed(rows, "stored_fold", "note")[f"{fold}-fold, coded"]), 1) for fold in (12, 16)
    }
    plain, taught = (
        {fold: told(excess(rows, f"{fold}-fold, coded", other), 2) for fold in (12, 16)}
        for other in ("dense", "dense, taught")
    )
    yield (
        f"LeNet-300-100 on MNIST, {n['12-fold, coded']} seeds, with a teacher: a twelfth of the weights in {stored[12]} times "
        f"fewer bytes, test error {plain[12]} points above the dense network's, {taught[12]} above that of the dense network "
        f"with the same teacher; a sixteenth in {stored[16]} times fewer, {plain[16]} and {taught[16]} points."
    )
