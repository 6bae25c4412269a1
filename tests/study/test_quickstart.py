"""The quickstart: its rows are comparable, and its sentences follow from the numbers."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from sapwood.export import load
from sapwood.masking.masks import apply_
from sapwood.study import smaller
from sapwood.study.report import report
from sapwood.study.study import SCALES, find
from sapwood.study.table import over_seeds, read
from sapwood.tasks import TASKS
from sapwood.trials.execution import run_into
from sapwood.trials.folder import weights_of
from sapwood.trials.pool import serial

STUDY = find(str(Path(__file__).parents[2] / "studies" / "quickstart.py"))
ROWS = {"dense": 0.97, "global Neurons": 0.90, "local Neurons": 0.96}
EACH_METHOD = ("dense", "global Neurons", "local Neurons", "magnitude", "local random neurons")  # by day
RANDOM = {"global random neurons": 0.955, "local random neurons": 0.955}
ROWS |= RANDOM


def rows_with(accuracy, sparsity=0.8, noise=0.004, seeds=3):
    """Final rows with these mean accuracies, spread a little over the seeds."""
    return [
        {
            "trial": f"{label}{seed}",
            "row": label,
            "seed": seed,
            "phase": None,
            "split": split,
            "metric": metric,
            "value": v,
        }
        for seed in range(seeds)
        for label, mean in accuracy.items()
        for split, metric, v in (
            ("test", "accuracy", mean + noise * (seed - 1) * (-1 if label == "dense" else 1 + len(label) % 3)),
            ("network", "sparsity_hidden", 0.0 if label == "dense" else sparsity),
        )
    ]


def said(*args, **kwargs):
    return " ".join(STUDY.summary(rows_with(*args, **kwargs)))


def test_every_scale_has_eight_rows_with_five_seeds_and_one_budget():
    trials = STUDY.at("smoke")
    assert all(STUDY.at(scale) == trials for scale in SCALES)
    assert len(trials) == 40
    assert len({trial.arm for trial in trials}) == 8
    options = [trial.all_options() for trial in trials]
    assert {each["epochs"] for each in options} == {40}
    assert {each["stop"] for each in options} == {"epochs"}
    assert {each["sparsity"] for each in options if "sparsity" in each} == {0.8}


def test_the_sentences_follow_from_the_numbers():
    words = said(ROWS)
    assert "of the pruned arms local Neurons has the highest, 0.960" in words
    assert "and global Neurons the lowest, 0.900" in words
    assert "the dense network has 0.970" in words
    assert "over 3 seeds" in words
    assert "All 4 pruned arms are at sparsity 0.8" in words
    assert "worse than random: global Neurons (\u22120.055" in words
    assert "not to be told from random: local Neurons (+0.005" in words
    assert "better than random" not in words


def test_other_numbers_say_otherwise():
    words = said(ROWS | dict.fromkeys(RANDOM, 0.5))
    assert "better than random: global Neurons (+0.400" in words
    assert "not to be told from random" not in words
    assert "Collapsed" not in said(ROWS)
    low = said(ROWS | {"local random neurons": 0.11})
    assert "Collapsed, with less than half of the test images right: local random neurons, seed 0 (0.098)" in low
    assert "Not comparable with the rest" in said(ROWS, sparsity=0.7)
    assert "over 1 seed:" in said(ROWS, seeds=1)
    assert said({"dense": 0.9}) == "Too few arms have finished to compare any."


def test_the_verdict_says_the_same_in_short():
    accuracies = ROWS | {"global random neurons": 0.55}
    lines = STUDY.verdict(rows_with(accuracies))
    assert len(lines) == 3
    assert lines[0].startswith("Test accuracy over 3 seeds: dense 0.970 [")
    assert "best pruned local Neurons 0.960 [" in lines[0]
    assert "worst global random neurons 0.550 [" in lines[0]
    assert lines[2].startswith("1 of 2 arms by activity are better than random neurons among the same layers ")
    assert STUDY.verdict(rows_with({"dense": 0.9})) == ["Too few arms have finished to compare any."]
    collapsed = STUDY.verdict(rows_with(ROWS | {"local random neurons": 0.11}))
    assert collapsed[-1].startswith("Collapsed")


def test_every_arm_is_explained_and_the_demo_writes_one_of_them():
    arms = {trial.arm for trial in STUDY.at("smoke")}
    assert arms == set(STUDY.codes)
    (line, following) = STUDY.ends(Path("nowhere"))
    assert "not finished: local Neurons, dense" in line
    assert following.startswith("next, for a network of your own: sapwood prune ")


def test_one_seed_cannot_tell_rows_apart():
    assert "better than random" not in said(ROWS | dict.fromkeys(RANDOM, 0.5), seeds=1)


@pytest.mark.slow
def test_the_real_thing_reaches_its_sparsity_in_every_row(tmp_path):
    by_night = "SAPWOOD_NETWORKS" in os.environ
    first = [trial for trial in STUDY.at("smoke") if trial.seed == 0 and (by_night or trial.arm in EACH_METHOD)]
    outcomes = dict(serial(partial(run_into, tmp_path), first, lambda news: None))
    assert outcomes == dict.fromkeys(first)
    rows = read(tmp_path)
    sparsity = over_seeds(rows, "sparsity_hidden", "network")
    assert {label: round(each.mean, 2) for label, each in sparsity.items()} == {
        label: 0.0 if label == "dense" else 0.8 for label in (trial.arm for trial in first)
    }
    accuracy = over_seeds(rows, "accuracy", "test")
    chosen = {label: each.mean for label, each in accuracy.items() if "random" not in label}  # luck may leave nothing
    assert min(chosen.values()) > 0.85, chosen
    assert report(STUDY, tmp_path).stat().st_size < 2_000_000
    lines = [*STUDY.ends(tmp_path)]
    _smaller_network(tmp_path, "\n".join(lines))
    assert smaller.said(tmp_path) == lines[:-1], "the report shows them, without the line that says what is next"
    assert smaller.said(tmp_path / "nowhere") == []


def _smaller_network(folder, said):
    """The demo's file has the network that it says, with the answers of the pruned one."""
    trial = next(each for each in STUDY.at("smoke") if each.arm == "local Neurons")
    task, saved = TASKS["mlp_digits"](), weights_of(folder / trial.id)
    small, full = load(folder / "smaller.safetensors", task.model), task.model()
    full.load_state_dict(saved["model"])
    apply_(dict(full.named_parameters()), saved["masks"])
    inputs = task.data.test.take(slice(0, None)).inputs
    with torch.no_grad():
        given, wanted = small.double().eval()(inputs.double()), full.double().eval()(inputs.double())
    assert float((given - wanted).abs().max() / wanted.abs().max()) < 1e-6  # the file's numbers are float32
    sizes = [sum(p.numel() for p in model.parameters()) for model in (full, small)]
    assert sizes[1] < sizes[0] / 2
    assert all(f"{size:,}" in said for size in sizes)
    assert f"written: {folder / 'smaller.safetensors'}" in said
    assert torch.backends.cpu.get_cpu_capability() in said
