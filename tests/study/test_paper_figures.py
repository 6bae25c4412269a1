"""The figures of the paper's study, on made-up rows: what is drawn is what the rows say; what is missing is said."""

from itertools import pairwise
from statistics import fmean

import matplotlib
import numpy as np
import pytest
from made_up import (
    FIGURES,
    LENGTH,
    arms,
    drawn,
    extras,
    figure,
    figures,
    lines,
    made,
    points,
    spectra,
    with_costs,
    with_maps,
    written,
)
from matplotlib.colors import same_color, to_rgb
from matplotlib.text import Text

from sapwood.study.maps import FILE, keep_maps, maps
from sapwood.study.plots import BLACK, BLUE, GREY, LOOKS, NOT_RUN, ORANGE, WIDTH, band, dots
from sapwood.study.report import svg
from sapwood.study.table import by_epoch, by_seed, difference, over_seeds


def _named(axis):
    """Whether the ticks are names, which need no unit."""
    return any(label.get_text()[:1].isalpha() for label in axis.get_ticklabels())


@pytest.fixture
def results(tmp_path):
    with_maps(tmp_path)
    with_costs(tmp_path)
    return tmp_path


@pytest.mark.parametrize("title", FIGURES)
def test_with_all_rows_nothing_is_missing_and_everything_can_be_read(title, results):
    drawing = drawn(title, made(), results)
    words = written(drawing)
    assert not [each for each in (NOT_RUN, "not reached", "not measured", "not there", "not among") if each in words]
    assert drawing.get_figwidth() <= WIDTH
    assert min(text.get_fontsize() for text in drawing.findobj(Text) if text.get_text().strip()) >= 8
    for axes in drawing.axes:
        place = axes.get_subplotspec()
        assert axes.has_data()
        assert axes.get_xlabel() or not place.is_last_row() or _named(axes.xaxis)
        assert axes.get_ylabel() or not place.is_first_col() or drawing.get_supylabel() or _named(axes.yaxis)
    assert svg(drawing, "f0-", title).startswith("<svg role")
    assert len(figure(title).caption) > 60


@pytest.mark.parametrize("title", FIGURES)
@pytest.mark.parametrize("kept", [(), ("G1", "S", "V dense")])
def test_with_few_rows_or_none_it_says_what_is_not_there(title, kept, tmp_path):
    rows = [row for row in made() if row["row"] in kept]
    words = written(drawn(title, rows, tmp_path))
    if title == "Controls" and kept == ("G1", "S", "V dense"):
        assert words.count(NOT_RUN) == len(figures.COMPARED) - 1
    elif title != "Accuracy against zeros" or not kept:
        assert any(each in words for each in (NOT_RUN, "the weights are not among", "not measured"))


@pytest.mark.parametrize(
    ("title", "label"),
    [("Figure 2", "G5"), ("Figure 5", "G8"), ("Norms and ranks while", "V magnitude"), ("Controls", "C inactive"),
     ("Zeros before", "L2 retrained"), ("Channels", "K random"), ("Norms and ranks under", "V weighted 0.01")],
)  # fmt: skip
def test_one_row_missing_is_said_where_it_would_be(title, label):
    rows = [row for row in made() if row["row"] != label]
    assert NOT_RUN in written(drawn(title, rows))
    assert NOT_RUN not in written(drawn(title, made()))


def test_unfinished_trials_have_curves_without_a_share():
    rows = [row for row in made() if row["row"] != "G1" or row["phase"] is not None]
    assert "G1: 80 %, unfinished, 5" in lines(drawn("Figure 2", rows).axes[0])


@pytest.mark.parametrize(
    ("title", "split", "panels"),
    [("Figure 2", "train", (("G1", "G2", "G5", "G6"), ("G3", "G4", "G7", "G8"))),
     ("Figure 3", "valid", (("G1", "G2", "G5", "G6"), ("G3", "G4", "G7", "G8"))),
     ("Figure 4", "train", (("G1", "G3", "G5", "G7"), ("G2", "G4", "G6", "G8"))),
     ("Figure 5", "valid", (("G1", "G3", "G5", "G7"), ("G2", "G4", "G6", "G8")))],
)  # fmt: skip
def test_curves_are_means_over_seeds_in_the_papers_panels(title, split, panels):
    drawing = drawn(title, made())
    assert len(drawing.axes) == 2
    for axes, labels in zip(drawing.axes, panels, strict=True):
        found = lines(axes)
        assert [name.partition(":")[0] for name in found] == list(labels)
        assert axes.get_ylim() == (0.5, 1.0)
        for name, line in found.items():
            label = name.partition(":")[0]
            values = by_epoch(made(), "accuracy", split, label)
            whole = [epoch for epoch, each in values.items() if len(each) == 2]
            assert points(line) == [(epoch, fmean(values[epoch])) for epoch in whole]
            cycles, score, target = arms.GLOBAL[label]
            zeros = f"{100 * over_seeds(made(), 'sparsity', 'network')[label].mean:.2f} %"
            first = f"{target} %" if title in ("Figure 2", "Figure 3") else score
            assert name == f"{label}: {first}, {zeros}, {cycles}"


def test_a_band_runs_from_the_lowest_to_the_highest_seed_and_its_line_thins_where_a_seed_has_ended():
    axes = matplotlib.figure.Figure().subplots()
    values = {1: [0.5, 0.7, 0.6], 2: [0.6, 0.8, 0.7], 3: [0.9, 0.7], 4: [0.95]}
    band(axes, values, BLACK, "-", "it")
    thick, thin = axes.get_lines()
    assert points(thick) == [(1, pytest.approx(0.6)), (2, pytest.approx(0.7))]
    assert points(thin) == [(2, pytest.approx(0.7)), (3, pytest.approx(0.8)), (4, 0.95)]
    assert thin.get_linewidth() < thick.get_linewidth()
    corners = {tuple(each) for each in axes.collections[0].get_paths()[0].vertices.tolist()}
    assert {(epoch, end(each)) for epoch, each in values.items() for end in (min, max)} <= corners


def test_lines_beside_each_other_differ_in_grey_or_in_dash():
    assert len({str(dash) + str(color) for color, dash in LOOKS}) == 4
    for looks in (LOOKS, list(figures.PENALTY_LOOKS.values()), list(spectra.LOOKS)):
        for at, (color, dash) in enumerate(looks):
            for other, its_dash in looks[at + 1 :]:
                assert str(dash) != str(its_dash) or abs(_lightness(color) - _lightness(other)) > 0.2
    assert sorted(map(_lightness, (BLACK, BLUE, GREY, ORANGE))) == list(map(_lightness, (BLACK, BLUE, GREY, ORANGE)))


def _lightness(color):
    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize(("title", "wanted"), [("Norms and ranks while", 4), ("Norms and ranks under", 6)])
def test_trajectories_are_ratios_to_the_dense_network_of_the_same_seed_and_epoch(title, wanted):
    values = {(r["row"], r["metric"], r["epoch"], r["seed"]): r["value"] for r in made() if r["split"] == "network"}
    panels = drawn(title, made()).axes
    assert len(panels) == 8
    for at, axes in enumerate(panels):
        metric = f"{('nuclear', 'effective_rank')[at % 2]}_{at // 2 + 1}"
        found = lines(axes)
        assert len(found) == wanted
        for label, line in found.items():
            for epoch, ratio in points(line):
                each = [values[label, metric, epoch, s] / values["V dense", metric, epoch, s] for s in (0, 1)]
                assert ratio == pytest.approx(fmean(each))
            assert [epoch for epoch, _ in points(line)] == list(range(1, LENGTH))  # both seeds run so long


def test_dots_are_the_seeds_their_mean_and_its_interval():
    axes = matplotlib.figure.Figure().subplots()
    dots(axes, ["one", "none", "alone"], {"one": [1.0, 2.0, 3.0], "alone": [5.0]})
    bar, seeds, mean, alone, its_mean = (points(line) for line in axes.get_lines())
    assert bar == [(pytest.approx(2 - 4.302653 / 3**0.5), 0), (pytest.approx(2 + 4.302653 / 3**0.5), 0)]
    assert [x for x, _ in seeds] == [1, 2, 3]
    assert mean == [(2, 0)]
    assert [x for x, _ in alone] == [5]
    assert its_mean == [(5, 2)]
    assert [text.get_text() for text in axes.texts] == [NOT_RUN]


def test_controls_differ_from_g1_seed_by_seed():
    left, right = drawn("Controls", made()).axes
    values = by_seed(made(), "accuracy", "test")
    for place, label in enumerate(figures.COMPARED):
        mine = [100 * value for value in values[label].values()]
        gap = [one - 100 * two for one, two in zip(mine, values["G1"].values(), strict=True)]
        assert (pytest.approx(fmean(mine)), place) in _diamonds(left)
        assert (pytest.approx(fmean(gap)), place) in _diamonds(right)


def _diamonds(axes):
    return [point for line in axes.get_lines() if line.get_marker() == "D" for point in points(line)]


def test_accuracy_stands_against_zeros_beside_what_is_printed():
    axes = drawn("Accuracy against", made()).axes[0]
    marks = [(line, points(line)[0]) for line in axes.get_lines() if len(line.get_xdata()) == 1]
    filled = [point for line, point in marks if not same_color(line.get_markerfacecolor(), "white")]
    opened = [point for line, point in marks if same_color(line.get_markerfacecolor(), "white")]
    zeros, accuracy = over_seeds(made(), "sparsity", "network"), over_seeds(made(), "accuracy", "test")
    labels = [*arms.GLOBAL, *arms.LOCAL, "M", arms.RELEASED]
    wanted = [(100 * zeros[label].mean, 100 * accuracy[label].mean) for label in labels]
    assert sorted(filled) == [pytest.approx(point) for point in sorted(wanted)]
    assert {(70.25, 87.90), (85.00, 88.19), (79.88, 87.11), (79.87, 88.72)} <= set(opened)
    assert len(opened) == 13
    assert sorted(text.get_text() for text in axes.texts) == sorted([*labels, *labels[:-1]])  # nothing is printed of it


def test_names_of_rows_at_one_place_do_not_overlap():
    drawing = drawn("Accuracy against", made())
    drawing.draw_without_rendering()
    names = [text for text in drawing.axes[0].texts if text.get_text() in ("L1", "L3", "M", arms.RELEASED)]
    assert len(names) == 7
    for side in ("left", "right"):
        boxes = [Text.get_window_extent(text) for text in names if text.get_ha() == side]
        assert all(above.y0 >= below.y1 - 1 for below, above in pairwise(sorted(boxes, key=lambda box: box.y0)))


def test_pca_is_the_difference_to_s_seed_by_seed():
    upper, lower = drawn("S at the ranks", made()).axes
    for axes, ranks in ((upper, "printed ranks"), (lower, "own ranks")):
        found = lines(axes)
        for words, kind in (("as it is", ranks), ("uncentred", f"{ranks}, uncentred"), ("tuned", f"{ranks}, tuned")):
            gaps = [difference(made(), "accuracy", "test", f"{g} PCA {kind}", "S").mean for g in arms.GLOBAL]
            assert list(found[words].get_ydata()) == [pytest.approx(100 * gap) for gap in gaps]
    marks = [line for line in upper.get_lines() if line.get_label().startswith("printed")]
    assert list(marks[0].get_ydata())[:2] == [pytest.approx(81.79 - 84.35), pytest.approx(80.47 - 84.35)]
    assert not [line for line in lower.get_lines() if line.get_label().startswith("printed")]


def test_retraining_shows_what_is_left_of_the_zeros_and_what_was_dead():
    axes = drawn("Zeros before", made()).axes[0]
    zeros, dead = over_seeds(made(), "sparsity", "network"), over_seeds(made(), "dead", "network")
    assert [bar.get_width() for bar in axes.patches] == [
        pytest.approx(100 * zeros[f"{label} retrained"].mean) for label in arms.PRUNED
    ]
    assert _diamonds(axes) == [(pytest.approx(100 * dead[g].mean), at) for at, g in enumerate(arms.PRUNED)]
    before = [points(line)[0][0] for line in axes.get_lines() if line.get_marker() == "|"]
    assert before == [pytest.approx(100 * zeros[label].mean) for label in arms.PRUNED]
    assert list(lines(axes)["after, printed"].get_xdata())[:4] == [0.11, 43.57, 40.74, 20.37]  # M, G1, G2, Table 2's G3


def test_figures_from_kept_maps_are_those_from_weights(tmp_path):
    with_maps(tmp_path / "ran")
    keep_maps(made(), tmp_path / "ran", tmp_path / FILE, extras.MAPPED_ARMS, figures.PARAMETERS)
    for title, layer in (("Figure 6", 1), ("Figure A9", 2), ("Figure A10", 3), ("Figure A11", 4)):
        fresh, again = (drawn(title, made(), folder) for folder in (tmp_path / "ran", tmp_path))
        seen = maps(made(), tmp_path / "ran")
        for label, one, two in zip(extras.MAPPED_ARMS, fresh.axes, again.axes, strict=True):
            image, other = (axes.get_images()[0].get_array() for axes in (one, two))
            alive = seen[label][f"hidden{layer}.weight"]
            assert np.array_equal(image, alive.T)  # an input a line, a neuron a column
            assert np.array_equal(image, other)
            assert f"{label}\n{100 * (1 - alive.mean()):.1f} % zeros" in one.get_title(loc="left")
