"""The figures of singular values and of costs: what is drawn is what the rows and the file say."""

import pytest
from made_up import SIZES, drawn, lines, made, points, spectra, with_costs, written

from sapwood.errors import InputError
from sapwood.study.cost import Cost, write
from sapwood.study.table import by_epoch


def test_changes_of_singular_values_drop_what_is_gone():
    before = [4.0, 2.0, 1.0, 0.5, 0.5, 0.0]
    after = [3.0, 2.5, 1e-3, 1.1e-3, 0.0, 0.0]
    assert spectra.changes(before, after) == {1: -25.0, 2: 25.0, 4: pytest.approx(-99.78)}


def test_every_cycle_shows_both_arms_layer_by_layer_as_the_rows_have_them():
    rows = [row for row in made() if row["seed"] == 0]
    found = {(row["row"], row["split"], row["epoch"], row["metric"]): row["value"] for row in rows}
    panels = [*drawn("Figures A1-A4", made()).axes, *drawn("Figures A5-A8", made()).axes]
    assert len(panels) == 40
    dropped = 0
    for at, axes in enumerate(panels):
        cycle, layer = at // 4 + 1, at % 4 + 1
        for label, name in (("V neurons", "V neurons"), ("V random neurons", "V random neurons (control)")):
            before, after = (
                [found[label, split, cycle + 1, f"sigma_{layer}_{i}"] for i in range(1, SIZES[layer - 1] + 1)]
                for split in ("before prune", "after prune")
            )
            stay = [(i, 100 * (now / was - 1)) for i, was, now in zip(range(1, 99), before, after) if now > 1e-3]  # noqa: B905
            dropped += len(before) - len(stay)
            assert points(lines(axes)[name]) == [(i, pytest.approx(value)) for i, value in stay]
    assert dropped > 40
    assert {axes.get_ylim() for axes in panels[:20]} == {panels[0].get_ylim()}


def test_headings_say_how_many_singular_values_remain():
    words = written(drawn("Figures A5-A8", made()))
    accuracy = by_epoch([row for row in made() if row["seed"] == 0], "accuracy", "train", "V neurons")
    assert f"Cycle 7 of 10: {sum(_alive(size, 7) for size in SIZES)} of 18 singular values remain" in words
    assert f"training accuracy {accuracy[8][0]:.3f}; 56.0 % pruned" in words
    assert "Cycle 10 of 10: 4 of 18 singular values remain; 80.0 % pruned" in words  # no accuracy of such an epoch


def _alive(size, prune):
    return max(1, round(size * (1 - 0.08 * prune)))


def test_cycles_that_were_not_reached_are_said_to_be():
    rows = [row for row in made() if not (row["split"].endswith("prune") and row["epoch"] > 4)]
    words = written(drawn("Figures A1-A4", rows))
    assert [f"Cycle {cycle} of 10: not reached" in words for cycle in range(1, 6)] == [False] * 3 + [True] * 2
    assert "none of these cycles was reached" in written(drawn("Figures A5-A8", rows))
    assert "All 3 prunes made" in written(drawn("Figure 7", rows))


def test_without_the_control_the_row_is_drawn_alone():
    rows = [row for row in made() if row["row"] != "V random neurons"]
    assert list(lines(drawn("Figures A1-A4", rows).axes[0])) == ["V neurons"]


def test_the_whole_is_from_before_the_first_prune_to_after_the_last():
    first, *_, last = spectra.prunes(made(), "V neurons")
    panels = drawn("Figure 7", made()).axes
    assert len(panels) == 4
    for layer, axes in enumerate(panels, start=1):
        wanted = spectra.changes(first.before[layer], last.after[layer])
        assert points(lines(axes)["V neurons"]) == list(wanted.items())


def test_costs_are_drawn_with_their_slopes(tmp_path):
    with_costs(tmp_path)
    seconds, memory = drawn("Cost", made(), tmp_path).axes
    assert list(lines(seconds)) == ["Neurons: 1.00", "sort all weights: 1.50"]
    assert points(lines(memory)["Neurons: 1.00"]) == [(10**power, 8 * 10**power) for power in (4, 5, 6, 7)]
    assert points(lines(seconds)["sort all weights: 1.50"])[2] == (10**6, pytest.approx(3.0))
    assert seconds.get_xscale() == seconds.get_yscale() == "log"


def test_costs_of_few_sizes_have_no_slope_and_what_was_not_measured_is_said(tmp_path):
    write([Cost("Neurons", 10**5, "seconds", 2.0), Cost("Neurons", 10**4, "seconds", 1.0)], tmp_path / "cost.csv")
    seconds, memory = drawn("Cost", made(), tmp_path).axes
    assert points(lines(seconds)["Neurons"]) == [(10**4, 1.0), (10**5, 2.0)]
    assert [text.get_text() for text in memory.texts] == ["not measured"]


def test_a_file_that_has_no_costs_is_refused(tmp_path):
    (tmp_path / "cost.csv").write_text("one,two\n1,2\n")
    with pytest.raises(InputError, match=r"cost\.csv has no costs that can be read"):
        drawn("Cost", made(), tmp_path)
