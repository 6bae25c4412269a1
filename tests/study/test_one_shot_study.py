"""The study of one-shot pruning: what its arms are, and that its words follow from rows."""

import sys
from math import log2
from pathlib import Path

import pytest

from sapwood.study.grid import NOTHING
from sapwood.study.study import find
from sapwood.study.table import read
from sapwood.tasks import TASKS
from sapwood.trials.execution import run_into

STUDY = find(str(Path(__file__).parents[2] / "studies" / "one_shot.py"))
study = sys.modules["sapwood_study_one_shot"]


def test_every_rule_meets_every_amount_on_as_many_draws():
    trials = STUDY.at("small")
    assert len(trials) == 1 + 8 * (1 + 3 + 3 + 3) + 6 * 3 + 3 * (1 + 4 * 3)
    of = {}
    for trial in trials[1:]:
        of.setdefault(trial.arm, []).append(trial)
    assert {len(each) for name, each in of.items() if name.startswith("magnitude")} == {1}
    once = ("magnitude", "units by group magnitude, 1", "units by group magnitude, 2", "units by group magnitude, 3")
    assert {len(each) for name, each in of.items() if name.startswith(once)} == {1}
    assert {len(each) for name, each in of.items() if not name.startswith(once)} == {3}
    assert of["units by surgeon, refitted, 30 %"][0].all_options()["sparsity"] == 0.3
    assert of["units by outputs, 10 %"][0].all_options()["refit"] is False
    assert all(trial.all_options()["samples"] == 32 for trial in trials[1:])
    assert not any(name in of for name in ("Wanda, OWL, 2:4", "Wanda, OWL, 4:8"))
    assert of["Wanda, OWL, 70 %"][0].all_options()["ratios"] == "owl"


def row(arm, metric, value, seed=0, split="test"):
    about = {"method": "", "task": "smollm2_wikitext", "step": 0, "epoch": 0, "phase": None, "trial": f"{arm} {seed}"}
    return about | {"row": arm, "seed": seed, "split": split, "metric": metric, "value": value}


def made(times, dense=20.0):
    rows = [row("dense", "bits", log2(dense))]
    for arm, values in times.items():
        rows += [row(arm, "bits", log2(dense * value), seed) for seed, value in enumerate(values)]
    return rows


GOOD = {"magnitude, 50 %": [14], "Wanda, 50 %": [1.8, 1.75, 1.85], "SparseGPT, 50 %": [1.5, 1.5, 1.5],
        "Wanda, refitted, 50 %": [1.6, 1.75, 1.7], "SparseGPT, 20 %": [1.05], "Wanda, OWL, 70 %": [8, 9, 7],
        "Wanda, 70 %": [20, 20, 20], "SparseGPT, 2:4": [2.5]}  # fmt: skip


def test_the_first_screen_says_what_to_use():
    said = STUDY.verdict(made(GOOD))
    assert said[0] == "Perplexity stays within 1.1 times dense up to 20 %, by SparseGPT."
    assert said[1] == "At 50 % use SparseGPT: 1.50 times dense, where magnitude has 14.00."
    assert said[-1].startswith("Zeros make nothing faster")
    every = " ".join(str(each) for each in STUDY.summary(made(GOOD)))
    assert "on every draw at: 70 %" in every
    assert "Patterns, times dense: 2:4 by SparseGPT 2.50." in every


@pytest.mark.parametrize(
    ("changed", "far", "refit"),
    [
        ({}, "holds", "holds"),
        ({"magnitude, 50 %": [3.2]}, "holds in part", "holds"),
        ({"magnitude, 50 %": [1.8]}, "contradicted", "holds"),
        ({"Wanda, refitted, 50 %": [1.6, 1.8, 1.7]}, "holds", "holds in part"),
        ({"Wanda, refitted, 50 %": [1.9, 1.8, 1.9]}, "holds", "contradicted"),
    ],
)
def test_the_rules_decide(changed, far, refit):
    rows = made(GOOD | changed)
    assert (study.far_below(rows).standing, study.refitted(rows).standing) == (far, refit)


@pytest.mark.parametrize(
    ("outputs", "groups", "stands"),
    [([2.0, 2.9, 1.5], 40, "holds"), ([2.0, 3.1, 1.5], 40, "holds in part"), ([2.0, 2.9, 1.5], 2.5, "holds in part"),
     ([5.0, 6.0, 7.0], 4, "contradicted")],
)  # fmt: skip
def test_heads_and_widths_are_judged_by_the_rules(outputs, groups, stands):
    rows = made({"units by outputs, refitted, 20 %": outputs, "units by group magnitude, 20 %": [groups]})
    assert study.smaller(rows).standing == stands
    [line] = study.units(rows).lines
    assert line[0] == "20 %"
    assert line[2].startswith(f"{20 * groups:g}")


@pytest.mark.parametrize(("crossed", "stands"), [(1, "holds"), (2, "not supported")])
def test_the_order_of_layers_is_counted(crossed, stands):
    rules = (study.SPARSEGPT, study.REFIT, study.WANDA, study.MAGNITUDE)
    rows = []
    for place, rule in enumerate(rules):
        for number in range(1, 21):
            value = -place if number <= crossed else place
            rows.append(row(study.arm(rule, "50 %"), f"error_{number}", value, split="note"))
    assert study.ordered(rows, "50 %") == (20 - crossed, 20)
    assert study.layers(rows).standing == stands


def test_ratios_stand_beside_those_in_print():
    lines = {line[:2]: line[2:] for line in study.in_print(made(GOOD)).lines}
    assert lines["50 %", "magnitude"] == ("14.00", "6.98", "2.91", "1.39")
    assert lines["50 %", "SparseGPT"] == ("1.50", "1.33", "1.27", "1.23")
    assert lines["2:4", "Wanda"][:2] == (NOTHING, NOTHING)


def test_without_rows_nothing_is_claimed():
    assert [each.answer for each in STUDY.summary([])][:5] == [study.MISSING] * 5
    assert study.perplexities([]).lines == study.units([]).lines == study.costs([]).lines == ()


@pytest.mark.slow
@pytest.mark.data
def test_the_smallest_scale_runs(real_data, tmp_path):
    real_data(TASKS["text_smoke"])
    trials = STUDY.at("smoke")
    some = [
        each for each in trials if each.arm in ("dense", "Wanda, refitted, 50 %", "units by surgeon, refitted, 20 %")
    ]
    for trial in some:
        run_into(tmp_path, trial)
    rows = read(tmp_path)
    assert all(1 < study.perplexity(rows, each.arm)[0] < 256 for each in some)
    assert len(study.layer_errors(rows, study.REFIT, "50 %")) == 12
    assert all(line["value"] > 0 for line in study.seconds(tmp_path))
    assert len(study.costs([*rows, *study.seconds(tmp_path)]).lines) == 1
