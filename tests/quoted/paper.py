"""Paper: README's numbers from the study of the activation-based pruning paper."""

# ruff: noqa: E501 (sentences stand here as README has them)

from collections.abc import Iterator

from quoted.kept import above, below, kept, mean, part, told

from sapwood.study import several
from sapwood.study.claim import verdict
from sapwood.study.seeds import minus, summed_up, together
from sapwood.study.table import Table, by_seed


def of(name: str):
    """A file of the study."""
    return part("activation_pruning", name)


def paper() -> Iterator[str]:
    """Fashion-MNIST: the paper's study."""
    rows = kept("activation_pruning")
    found, words, text, strict = (part("activation_pruning", each) for each in
                                  ("found", "verdicts", "verdicts_of_text", "strictness"))  # fmt: skip
    accuracy = lambda label: found.accuracy(rows, label)  # noqa: E731
    show = lambda label, decimals=1: told(summed_up(accuracy(label)), decimals)  # noqa: E731
    networks = text.NETWORKS
    sorts = strict.by_sort(rows)
    ranks = [cell for cell in strict.cells() if "rank_" in cell.column]
    printed = [verdict(cell.claim, cell.claim.found(rows)) for cell in ranks]
    fixed = sorts[strict.FIXED]
    yield (
        f"the paper's network, {_seeds(rows)} seeds: zeros and FLOPs come out as printed ({fixed['reproduced']} of {fixed.total()}), ranks for the most part "
        f"({printed.count('reproduced')} of {len(ranks)})"
    )
    cycles = {
        one: minus(found.zeros(rows, one), found.zeros(rows, other)) for one, other in (("G5", "G1"), ("G6", "G2"))
    }
    longer = {one: minus(found.at_end(rows, one, "epochs"), found.at_end(rows, "S", "epochs")) for one in networks}
    yield f"ten cycles remove more than five with *Neurons* ({above(cycles)} of {len(cycles)} pairs)"
    yield f"pruning takes longer ({above(longer)} of {len(longer)} networks)"
    against = {one: minus(accuracy(one), accuracy("S")) for one in networks}
    magnitude = {one: minus(accuracy(one), accuracy("M")) for one in networks}
    yield (
        f"{above(against)} of {len(against)} pruned networks are better than the dense one ({show('S')} %), and "
        f"{below(magnitude)} of {len(magnitude)} are worse than"
    )
    extra = minus(found.zeros(rows, "C magnitude"), found.zeros(rows, "G1"))
    yield (
        f"Row G1 ({show('G1')} %) cannot be told from random neurons ({show('C random neuron')} %) nor from single weights "
        f"by magnitude ({show('C magnitude')} %, with {mean(extra, 0)} points more zeros)"
    )
    channels = {other: minus(accuracy("K activity"), accuracy(other)) for other in ("K L1 filters", "K random")}
    assert {len(seeds) for seeds in channels.values()} == {3}
    corrected = several.holm({other: several.p_value(seeds.values()) for other, seeds in channels.items()})
    yield (
        "a convolutional network's channels, 3 seeds, chosen by activity give "
        f"{told(summed_up(channels['K random']), 2)} points more than random ones; chosen by L1 norms they cannot be told "
        f"from that ({told(summed_up(channels['K L1 filters']), 2)}), and corrected for both comparisons nothing is left "
        f"(p = {min(corrected.values()):.3f})"
    )
    pairs = [(one, other) for one, others in words.SCOPES.items() for other in others]
    zeros = {pair: minus(found.zeros(rows, pair[0]), found.zeros(rows, pair[1])) for pair in pairs}
    scopes = {pair: minus(accuracy(pair[0]), accuracy(pair[1])) for pair in pairs}
    assert (above(scopes), below(scopes)) == (0, 1)
    yield (
        f"5 seeds: sparser than global pruning in {above(zeros)} of {len(pairs)} pairs, more accurate in none, "
        "less in one"
    )
    trained = {
        one: minus(found.accuracy(rows, one, "train"), found.accuracy(rows, "M", "train")) for one in ("L1", "L3")
    }
    yield f"in {above(trained)} of {len(trained)} rows, as printed"
    assert above(magnitude) == 0
    wide = summed_up(accuracy("M"))
    yield (
        f"the paper's row M, 5 seeds: {wide.mean:.2f} [{wide.low:.1f}, {wide.high:.1f}] % with "
        f"{mean(found.zeros(rows, 'M'), 1)} % zeros; no activation-based row is better, {below(magnitude)} of "
        f"{len(magnitude)} are worse."
    )
    yield from _low_rank(rows, found, part("activation_pruning", "tables_of_controls"))
    yield from _nuclear(rows, part("activation_pruning", "closeness"), part("activation_pruning", "rows"))
    ours, luck, of = strict.random_instead(rows)
    every = [
        sum(sort[each] for sort in sorts.values()) for each in ("reproduced", "not reproduced", "cannot be judged")
    ]
    yield (
        f"of the paper's {sum(every)} printed numbers {every[0]} reproduce within tolerances fixed while the first rows "
        f"ran, {every[1]} do not, {every[2]} cannot be judged."
    )
    yield (
        f"of the {of} accuracies printed for pruned rows ours reproduce {ours}, and random neurons in the place of all of "
        f"them {luck}."
    )


def _seeds(rows: Table) -> int:
    """Of every row but the channels."""
    counts = {len(seeds) for row, seeds in by_seed(rows, "accuracy", "test").items() if not row.startswith("K ")}
    assert counts == {5}
    return counts.pop()


def _low_rank(rows: Table, found, tables) -> Iterator[str]:
    networks, kinds = of("rows").GLOBAL, ("printed ranks", "own ranks")
    best = of("verdicts_of_text").best_test
    plain = {
        label: minus(found.accuracy(rows, label), found.accuracy(rows, f"{label} PCA printed ranks"))
        for label in networks
    }
    tuned, at_best = (
        [
            {label: minus(what(rows, label), what(rows, f"{label} PCA {kind}, tuned")) for label in networks}
            for kind in kinds
        ]
        for what in (found.accuracy, best)
    )
    means = [mean(found.accuracy(rows, f"{label} PCA {kind}, tuned"), 1) for label in networks for kind in kinds]
    assert below(plain) == 0
    yield (
        f"5 seeds: cut to the ranks of pruned networks, worse than {above(plain)} of {len(networks)} of them and better than "
        f"none; trained on for five epochs ({min(means)} to {max(means)} %), better than {below(tuned[0])} of {len(networks)} "
        f"at the printed ranks and {below(tuned[1])} of {len(networks)} at their own, with each network's best epoch than "
        f"{below(at_best[0])} and {below(at_best[1])}."
    )
    stored = {label: _stored(rows, label, found, tables) for label in ("G1", "G3")}
    weights = {
        label: minus(found.at_end(rows, label, "weights"), found.at_end(rows, label, "zeros")) for label in stored
    }
    yield (
        f"{mean(stored['G1'], 0)} weights to store against G1's {mean(weights['G1'], 0)}, {mean(stored['G3'], 0)} against "
        f"G3's {mean(weights['G3'], 0)}"
    )


def _stored(rows: Table, label: str, found, tables):
    row = f"{label} PCA printed ranks, tuned"
    ranks = [found.at_end(rows, row, f"rank_kept_{layer}", "note") for layer in found.LAYERS]
    return together(ranks, lambda each: tables.factor_weights(each, True))


def _nuclear(rows: Table, closeness, names) -> Iterator[str]:
    away = {label: closeness.distance(rows, closeness.LIKE, label) for label in names.PENALTIES}
    nearest = min(away, key=lambda label: sum(away[label].values()))
    random = closeness.distance(rows, closeness.LIKE, closeness.RANDOM)
    assert below({nearest: minus(random, away[nearest])}) == 1
    assert nearest.endswith(f" {min(names.STRENGTHS):g}")
    yield (
        "5 seeds, six strengths: its courses of singular values are farther from those of activation-based pruning "
        f"({told(summed_up(away[nearest]), 2)}) than random neurons' are ({told(summed_up(random), 2)})"
    )
