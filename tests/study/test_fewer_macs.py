"""The study of fewer multiply-adds: who begins with what, one recovery for all, what its words say; it runs."""

import sys
from functools import partial
from html import escape
from pathlib import Path

import pytest
from archives import writer

from sapwood import InputError, export, prune
from sapwood.study import milliseconds
from sapwood.study.duels import BETTER, EQUAL, LESS, OPEN, best, duel, judged, ranked, tallied
from sapwood.study.milliseconds import FILE, as_rows, columns
from sapwood.study.study import find
from sapwood.study.table import Summary, read
from sapwood.tasks import TASKS
from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.execution import run_into
from sapwood.trials.pool import serial

STUDY = find(str(Path(__file__).parents[2] / "studies" / "fewer_macs" / "__init__.py"))
arms, verdicts = (sys.modules[f"sapwood_study_fewer_macs.{name}"] for name in ("arms", "verdicts"))


def length(trial):
    """Epochs of recovery, and at which rate."""
    options = trial.all_options()
    return options.get("recover", options.get("tune")), options["rate"], trial.recipe, "73 %" in trial.arm


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_all_recover_alike_and_begin_with_the_trained_network(scale):
    trials = STUDY.at(scale)
    dense, others = trials[0], trials[1:]
    assert dense.method == "dense"
    recovering = {length(trial) for trial in others if not trial.arm.endswith("cut")}
    assert len(recovering) == len({at for *_, at in recovering})  # one for all but FastNAS's budget
    for trial in others:
        begun = dict(trial.uses)["start"]
        if begun != dense:
            assert trial.all_options()["macs"] == 1.0
            assert begun in trials or isinstance(begun, Elsewhere) is ("Torch-Pruning" in trial.arm) is True
        assert dict(trial.uses).get("teacher", dense) == dense
        assert trial.arm.endswith("distilled") is ("teacher" in dict(trial.uses))
    seeds = {trial.seed for trial in others}
    every = {trial.arm for trial in others if not trial.arm.endswith("cut")}
    assert len([t for t in others if not t.arm.endswith("cut")]) == len(seeds) * len(every)


def test_an_arm_of_the_peer_is_there_when_its_file_is(tmp_path, monkeypatch):
    monkeypatch.setattr(arms, "KEPT", tmp_path / "digests.txt")
    monkeypatch.setattr(arms, "FILES", tmp_path)
    arm = "digits, Torch-Pruning, L1, 50 %"
    assert arm not in [trial.arm for trial in STUDY.at("smoke")]
    path = tmp_path / arms.file_name(arm)
    arms.KEPT.write_text(f"{'a' * 64}  {path.name}\n")
    (known,) = (trial for trial in STUDY.at("smoke") if trial.arm == arm)
    assert dict(known.uses)["start"] == Elsewhere("a" * 64, path)
    path.write_bytes(b"another")
    (there,) = (trial for trial in STUDY.at("smoke") if trial.arm == arm)
    assert there.id != known.id


def made(accuracies):
    """Final rows of {arm: (validation, test)} in percent, a little apart in each of three seeds."""
    about = {"method": "", "task": "conv_digits", "step": 1, "epoch": 1, "phase": None, "metric": "accuracy"}
    return [
        about | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "split": split, "value": (value + seed) / 100}
        for arm, both in accuracies.items()
        for split, value in zip(("valid", "test"), both, strict=True)
        for seed in range(3)
    ]


def test_who_stands_for_a_side_is_chosen_by_validation_images():
    rows = made({"a": (80, 70), "b": (79, 90), "c": (60, 71)})
    assert best(rows, ["b", "a", "c"]) == "a"
    assert ranked(rows, {"one": ["a", "c"], "two": ["b"], "three": ["missing"]}) == ["two", "one"]
    found = duel(rows, ["a", "b"], ["c"])
    assert (found.ours, found.theirs) == ("a", "c")
    assert found.gap.mean == pytest.approx(-1)
    assert duel(rows, ["a"], ["missing"]) is None


@pytest.mark.parametrize(
    ("gap", "says"),
    [
        (Summary(1, 0.1, 1.9, 3), BETTER),
        (Summary(1, -0.1, 2.1, 3), EQUAL),
        (Summary(-0.2, -1, 0.6, 3), EQUAL),
        (Summary(-0.4, -5, 4.2, 3), LESS),
        (Summary(-0.2, -0.3, -0.1, 3), LESS),
        (Summary(1, None, None, 1), OPEN),
    ],
)
def test_the_rule(gap, says):
    assert judged(gap, 0.3) == says


def test_the_sentences_follow_from_the_rows():
    ways = {"prune": (80, 81), "LASSO": (85, 84), "Torch-Pruning, L1": (82, 83), "Torch-Pruning, group norm": (70, 99)}
    rows = made({f"ResNet-20, {way}, 50 %": both for way, both in ways.items()} | {"ResNet-20, dense": (99, 90)}
                | {"ResNet-20, LASSO, 50 %, distilled": (85, 86), "ResNet-20, prune, 73 %": (89, 89.5)})  # fmt: skip
    ours, default, fastnas, taught, _ = verdicts.summary_of(rows)
    assert ours.answer == "At least equal in 1 of 1, better in 1: met."
    assert "ResNet-20, LASSO, 50 % over ResNet-20, Torch-Pruning, L1, 50 % +1.00" in ours.details
    assert default.answer == "At least equal in 0 of 1, better in 0: not met."
    assert fastnas.answer.startswith("ResNet-20, prune, 73 % loses")
    assert taught.answer.startswith("+2.00")
    lines = {line[0]: line for line in verdicts.reached(arms.SMALL)(rows).lines}
    assert lines["ResNet-20, prune, 50 %"][6].startswith("\u22122.00")
    assert lines["ResNet-20, ThiNet, 50 %"][1] == "0"
    assert [line[5] for line in verdicts.IN_PRINT(rows).lines if "PocketFlow" in line[0]] != ["\u2013"]
    assert verdicts.summary_of([])[0].answer == verdicts.MISSING
    assert tallied([], 0.3) == ""


def left(shares):
    """Final rows of {arm: multiply-adds left} of 1,000, in each of three seeds."""
    about = {"method": "", "task": "conv_digits", "step": 1, "epoch": 1, "phase": None, "split": "network"}
    return [
        about | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "metric": metric, "value": value}
        for arm, share in shares.items()
        for metric, value in (("macs", 1000 * share), ("reference_macs", 1000))
        for seed in range(3)
    ]


WAYS = {"prune": 80, "LASSO": 85, "prune, geometric median": 84, "L1 filters": 83, "prune, luck": 60,
        "Torch-Pruning, L1": 82, "Torch-Pruning, group norm": 70}  # fmt: skip


def test_the_figure_has_the_default_the_best_ways_the_best_of_the_peers_and_luck():
    """By validation images; each point where it was measured to be, with the interval of its seeds."""
    fewer = writer("fewer")
    asked = {f"ResNet-20, {way}, {at}": (way, share) for way in WAYS for at, share in arms.THIRDS.items()}
    rows = made({arm: (WAYS[way] + 10 * share, 80 + 10 * share) for arm, (way, share) in asked.items()})
    rows += left({arm: share - 0.01 for arm, (_, share) in asked.items()}) + made({"ResNet-20, dense": (99, 93)})
    names = ["prune, the default", "LASSO", "geometric median", "Torch-Pruning's best", "luck"]
    shown = fewer.shown(rows, "ResNet-20", arms.THIRDS)
    assert list(shown) == names
    assert max(map(len, names)) <= 21, "there is room for so many letters beside the lines"
    assert [shown[names[at]] for at in (2, 3)] == ["prune, geometric median", "Torch-Pruning, L1"]
    points = fewer.line(rows, arms.SMALL, "LASSO", arms.THIRDS)
    assert [point.x for point in points] == pytest.approx([74, 49, 34])
    assert [point.y for point in points] == pytest.approx([88.5, 86, 84.5])
    assert [(point.high - point.low) / 2 for point in points] == pytest.approx(
        [2.484] * 3, abs=1e-3
    )  # 4.303 / 3 ** 0.5
    (name,) = fewer.figures(rows)
    svg = fewer.figures(rows)[name]
    assert name == "fewer-macs-resnet-20.svg"
    found = [svg.index(f">{escape(each)}</text>") for each in names]
    assert found == sorted(found)
    assert svg.count("<circle") == 3 * len(names)
    assert "before</text>" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert fewer.figures(made({"ResNet-20, prune, 75 %": (80, 81)})) == {}
    assert fewer.figures([]) == {}


@pytest.mark.parametrize(("low", "high", "marks"), [(85.2, 92.9, 6), (50, 50, 2), (91.31, 91.52, 4), (10, 99, 6)])
def test_marks_of_accuracy_hold_all_bars_and_are_few(low, high, marks):
    fewer = writer("fewer")
    axis = fewer.heights({"a": [fewer.Point(50, low, low, high)]}, None)
    assert axis.start <= low <= high <= axis.end
    assert len(axis.marks) == marks


def test_times_stand_in_the_tables(tmp_path):
    assert as_rows(tmp_path) == []
    head = "arm,task,engine,batch,ms,faster,lower,upper\n"
    (tmp_path / FILE).write_text(f'{head}"digits, prune",conv_digits,PyTorch,16,0.5,1.25,1,2\n')
    rows = as_rows(tmp_path)
    shown = {column.title: column.cell(rows, "digits, prune") for column in columns()}
    assert shown["PyTorch, batch 16 (ms)"] == "0.50"
    assert shown["PyTorch, batch 16 (times faster)"] == "1.25"
    assert shown["ONNX Runtime, batch 1 (ms)"] == "\u2013"


def test_networks_are_timed_once_and_only_where_all_have_weights(tmp_path, monkeypatch):
    trials, asked = [trial for trial in STUDY.at("smoke") if trial.arm.endswith(("dense", "prune, 50 %"))], []

    def times(networks, task):
        asked.append((list(networks), task))
        return [dict.fromkeys(milliseconds.COLUMNS, "1") | {"arm": arm, "task": task} for arm in networks]

    monkeypatch.setattr(milliseconds, "built", lambda place, make, task: None)
    monkeypatch.setattr(milliseconds, "times", times)
    for trial in trials:
        milliseconds.measured(tmp_path, trials)
        assert asked == []
        (tmp_path / trial.id).mkdir()
        (tmp_path / trial.id / "weights.safetensors").touch()
    for _ in range(2):
        milliseconds.measured(tmp_path, trials)
    assert asked == [([trial.arm for trial in trials], "conv_digits")]
    assert len(as_rows(tmp_path)) == 2 * len(trials)


@pytest.mark.slow
def test_the_smallest_scale_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(arms, "FILES", tmp_path)
    task = TASKS["conv_digits"]()
    whole = task.model()
    small = prune(whole, task.example, macs=0.5, timing=0).model  # as if another tool had made it
    arm = "digits, Torch-Pruning, L1, 50 %"
    export.save(small, tmp_path / arms.file_name(arm), of=whole)
    trials = STUDY.at("smoke")
    folder = tmp_path / "results"
    assert dict(serial(partial(run_into, folder), trials, lambda news: None)) == dict.fromkeys(trials)
    rows = read(folder)
    assert writer("fewer").figure(rows, arms.DIGITS).count("<circle") == 3  # two of ours, and the peer's
    last = {(row["row"], row["metric"]): row["value"] for row in rows if row["phase"] is None}
    for way in ("prune", "L1 filters, scanned", "Torch-Pruning, L1"):
        assert last[f"digits, {way}, 50 %", "macs"] <= last[f"digits, {way}, 50 %", "reference_macs"] / 2
        assert last[f"digits, {way}, 50 %", "epochs"] == 1


GOOD = ("arm,task,engine,batch,ms,faster,lower,upper", "a,digits,PyTorch,1,1.5,1.0,1.0,1.0")


@pytest.mark.parametrize(
    "damaged",
    [
        (GOOD[0], "a,digits,PyTorch,1,1.5"),
        (GOOD[0], "a,digits,PyTorch,1,quick,1.0,1.0,1.0"),
        (GOOD[0], "a,digits,PyTorch,1,nan,1.0,1.0,1.0"),
        (GOOD[0], GOOD[1] + ",2"),
        ("arm,ms", "a,1"),
        (GOOD[0], "\udcff"),
        (GOOD[0], 'a,"digits'),
    ],
)
def test_damaged_times_are_told_and_can_be_measured_again(tmp_path, damaged):
    path = tmp_path / milliseconds.FILE
    path.write_bytes("\n".join(GOOD).encode())
    assert [row["value"] for row in milliseconds.as_rows(tmp_path)] == [1.5, 1.0]
    path.write_bytes("\n".join(damaged).encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"milliseconds.csv is damaged .*; remove it, and the times are measured"):
        milliseconds.as_rows(tmp_path)
