"""A trial whose method rebuilt its network: rows, reports, files, verbs and other trials know its true size."""

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toy import Interrupted, dying_after

from sapwood import checkpoint, codec, export
from sapwood.cli.trained import trained
from sapwood.errors import InputError
from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.study.grid import overview, sizes
from sapwood.study.report import report
from sapwood.study.study import Study
from sapwood.study.table import read
from sapwood.tasks import TASKS
from sapwood.tasks.recipe import taught
from sapwood.training.loop import train
from sapwood.training.run import start
from sapwood.trials.execution import run_into, run_trial
from sapwood.trials.folder import weights_of
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

STEPS = 73  # an epoch of conv_digits
SLIM = Trial.make("network_slimming", "conv_digits", 0, "N", macs=0.5, epochs=2, tune=1, strength=1e-3, rate=0.2)
ON = Trial.make("dense", "conv_digits", 1, "on", epochs=1, stop="epochs").after(start=SLIM)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the slimmed trial."""
    folder = tmp_path_factory.mktemp("results")
    run_into(folder, SLIM)
    return folder


def make():
    return TASKS["conv_digits"]().model()


def left(folder):
    return export.load(folder / "weights.safetensors", make)


def inputs():
    return TASKS["conv_digits"]().data.test.inputs


def answers(model):
    with torch.no_grad():
        return model.eval()(inputs())


def macs(model):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(inputs()[:1])
    return counter.get_total_flops() // 2


def parameters(model, least=1):
    return sum(p.numel() for p in model.parameters() if p.dim() >= least)


def last(folder, split="network"):
    return {
        row.metric: row.value for row in read_rows(folder / "rows.jsonl") if (row.phase, row.split) == (None, split)
    }


def true(found, small):
    """Whether the rows of a trial's end say what was built, and out of what."""
    was = make()
    zeros = sum(int((p == 0).sum()) for p in small.parameters() if p.dim() > 1)
    assert found["parameters"] == parameters(small)
    assert found["reference_parameters"] == parameters(was) == 15_418
    assert (found["macs"], found["reference_macs"]) == (macs(small), macs(was))
    assert found["flops_dense_ratio"] == macs(was) / macs(small) >= 2
    assert found["sparsity"] == (parameters(was, 2) - parameters(small, 2) + zeros) / parameters(was, 2)
    assert found["weights"] == parameters(small, 2)
    assert found["nonzero_ratio"] == parameters(was) / sum(int(p.count_nonzero()) for p in small.parameters())
    assert found["memory_ratio"] > 1.5
    assert 0 < found["sparsity_hidden"] < 1
    return True


def test_rows_tell_the_size_that_was_built(results):
    folder = results / SLIM.id
    small = left(folder)
    assert true(last(folder), small)
    cut = {row.metric: row for row in read_rows(folder / "rows.jsonl") if row.split == "prune"}
    assert {name: row.value for name, row in cut.items() if name != "sparsity"} == {
        "round": 1,
        "units": 80 - sum(m.num_features for m in small.modules() if isinstance(m, torch.nn.BatchNorm2d)),
        "parameters": parameters(small),
        "macs": macs(small),
    }
    assert {(row.step, row.phase) for row in cut.values()} == {(2 * STEPS + 1, 1)}
    epochs = [row.value for row in read_rows(folder / "rows.jsonl")
              if row.split == "network" and row.metric == "sparsity" and row.phase is not None]  # fmt: skip
    assert epochs[:2] == [0, 0]
    assert epochs[2] == cut["sparsity"].value == pytest.approx(last(folder)["sparsity"])
    assert last(folder)["cycles"] == 1
    assert set(last(folder, "note")) == {"cut_valid_accuracy", "cut_valid_loss", "near_zero", "spared"}


def test_a_report_shows_it(results):
    rows = read(results, [SLIM.id])
    [line] = sizes(rows).lines
    found = last(results / SLIM.id)
    assert [line[2], line[6]] == [f"{found[name]:.2f}" for name in ("nonzero_ratio", "flops_dense_ratio")]
    [line] = overview(rows).lines
    assert line[2] == f"{found['sparsity']:.3f}"
    page = report(Study("mine", "Mine", "none", lambda scale: [SLIM]), results).read_text()
    assert f">{found['flops_dense_ratio']:.2f}<" in page


def test_its_weights_are_a_network_file(results):
    folder = results / SLIM.id
    small = left(folder)
    saved = weights_of(folder)
    assert {name: value.shape for name, value in saved["model"].items()} == {
        name: value.shape for name, value in small.state_dict().items()
    }
    assert saved["masks"] == {}
    assert torch.equal(answers(trained(folder).masked()), answers(small))


def test_a_network_that_keeps_its_shapes_is_saved_as_before(tmp_path):
    trial = Trial.make("dense", "conv_digits", 0, epochs=1, stop="epochs")
    run_into(tmp_path, trial)
    assert set(checkpoint.read(tmp_path / trial.id / "weights.safetensors")) == {"model", "masks"}
    assert not {"parameters", "macs", "reference_macs"} & set(last(tmp_path / trial.id))


def told(out, results):
    small, was = left(results / SLIM.id), make()
    return re.search(
        rf"^its method rebuilt it: {parameters(small):,} of {parameters(was):,} parameters and {macs(small):,} of "
        rf"{macs(was):,} MACs are left$", out, re.MULTILINE)  # fmt: skip


def test_shrink_says_its_size_and_writes_a_file_for_the_tasks_network(sapwood, results, tmp_path):
    status, out, err = sapwood("shrink", results / SLIM.id, "--to", tmp_path / "small.safetensors")
    assert (status, err) == (0, "")
    assert told(out, results)
    small = left(results / SLIM.id)
    assert re.search(rf"^MACs +{macs(small):,} +", out, re.MULTILINE)
    again = export.load(tmp_path / "small.safetensors", make)
    assert torch.allclose(answers(again), answers(small), rtol=1e-4, atol=1e-5)
    assert "whose make is TASKS['conv_digits']().model)" in out


@pytest.mark.parametrize("masked", [(), ("--masked",)])
@pytest.mark.parametrize("ending", [".safetensors", ".pt2", ".swz"])
def test_export_writes_it_in_every_format(sapwood, results, tmp_path, ending, masked):
    file = tmp_path / f"n{ending}"
    status, out, err = sapwood("export", results / SLIM.id, "--to", file, *masked)
    assert (status, err) == (0, "")
    assert told(out, results)
    if ending == ".pt2":
        given = torch.export.load(file).module()(inputs())
    elif ending == ".swz":
        where = re.search(
            r"whose make is (lambda: sapwood\.export\.load\('(.*)', TASKS\['conv_digits'\]\(\)\.model\))", out
        )
        assert Path(where.group(2)) == results / SLIM.id / "weights.safetensors"
        given = answers(codec.load(file, lambda: left(results / SLIM.id)))
    else:
        given = answers(export.load(file, make))
    assert torch.allclose(given, answers(left(results / SLIM.id)), rtol=1e-4, atol=1e-5)


def test_list_names_the_method(sapwood):
    status, out, _ = sapwood("list", "methods")
    assert status == 0
    assert re.search(
        r"^  network_slimming +Network slimming: training draws the scales of batch norms to 0", out, re.MULTILINE
    )


@pytest.fixture(scope="module")
def gone_on(results):
    """The same folder, with a trial that begins with the slimmed network."""
    run_into(results, ON)
    return results


def test_another_trial_starts_from_it(gone_on):
    folder = gone_on / ON.id
    small, other = left(folder), left(gone_on / SLIM.id)
    assert [p.shape for p in small.parameters()] == [p.shape for p in other.parameters()]
    assert not torch.equal(answers(small), answers(other))
    assert true(last(folder), small)
    assert not [row for row in read_rows(folder / "rows.jsonl") if row.split == "prune"]
    first = next(row.value for row in read_rows(folder / "rows.jsonl") if row.metric == "sparsity")
    assert first == pytest.approx(last(gone_on / SLIM.id)["sparsity"])


def test_a_trial_that_starts_from_it_can_cut_further(results):
    trial = Trial.make("network_slimming", "conv_digits", 0, "NN", macs=0.3, epochs=1, tune=1, initial=0.0)
    trial = trial.after(start=SLIM)
    run_into(results, trial)
    assert true(last(results / trial.id), left(results / trial.id))
    assert 0.2 * 121_088 < last(results / trial.id)["macs"] <= 0.3 * 121_088


def test_a_trial_is_like_it(results, monkeypatch):
    """From random weights, in its shapes, as long as it took: a method of five lines."""

    def scratch(run):
        run.become(run.given["like"].network())
        for module in run.model.modules():
            getattr(module, "reset_parameters", lambda: None)()
        yield from train(run, epochs=round(run.given["like"].epochs))

    monkeypatch.setitem(METHODS, "scratch", scratch)
    monkeypatch.setitem(METHOD_VERSIONS, "scratch", 1)
    trial = Trial.make("scratch", "conv_digits", 2).after(like=SLIM)
    run_into(results, trial)
    assert true(last(results / trial.id), left(results / trial.id))
    assert last(results / trial.id)["epochs"] == 3


def test_it_teaches(results):
    trial = Trial.make("dense", "conv_digits", 1, epochs=1, stop="epochs").after(teacher=SLIM).under(temperature=2.0)
    run_into(results, trial)
    run = start(taught(TASKS["conv_digits"](), left(results / SLIM.id), temperature=2.0), seed=1)
    for _ in METHODS["dense"](run, epochs=1, stop="epochs"):
        pass
    saved = weights_of(results / trial.id)["model"]
    assert all(torch.equal(value, saved[name]) for name, value in run.model.state_dict().items())


# In the first training, at its last step, at the first step of the rebuilt network, and later.
@pytest.mark.parametrize(
    ("trial", "moments"),
    [(SLIM, 40), (SLIM, 2 * STEPS), (SLIM, 2 * STEPS + 1), (SLIM, 2 * STEPS + 2), (SLIM, 3 * STEPS), (ON, 1), (ON, 40)],
    ids=lambda value: value.arm if isinstance(value, Trial) else str(value),
)
def test_interrupted_and_resumed_gives_the_same_bits_and_rows(gone_on, tmp_path, monkeypatch, trial, moments):
    (tmp_path / SLIM.id).symlink_to(gone_on / SLIM.id) if trial is ON else None
    folder = tmp_path / trial.id
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, trial.method, dying_after(METHODS[trial.method], moments))
        with pytest.raises(Interrupted):
            run_trial(trial, folder, save_every=0.0)
    run_trial(trial, folder)
    for name in ("rows.jsonl", "weights.safetensors"):
        assert (folder / name).read_bytes() == (gone_on / trial.id / name).read_bytes()


def test_masks_on_a_rebuilt_network_are_in_its_file(tmp_path, monkeypatch):
    """A method that cuts units and then masks weights."""

    def both(run, *, epochs: int = 1):
        yield from METHODS["network_slimming"](run, macs=0.5, epochs=epochs, tune=epochs)
        run.prune({"conv2.weight": run.model.conv2.weight > 0})
        yield from train(run, epochs=epochs)

    monkeypatch.setitem(METHODS, "both", both)
    monkeypatch.setitem(METHOD_VERSIONS, "both", 1)
    trial = Trial.make("both", "conv_digits", 0)
    run_into(tmp_path, trial)
    folder = tmp_path / trial.id
    found = trained(folder)
    [keep] = found.masks.values()
    assert keep.shape == found.model.conv2.weight.shape
    assert not bool(found.model.conv2.weight[~keep].any())
    assert true(last(folder), found.model)
    cuts = [row.value for row in read_rows(folder / "rows.jsonl") if (row.split, row.metric) == ("prune", "macs")]
    assert len(cuts) == 1


def test_layers_of_other_kinds_cannot_be_built_again_and_that_is_said(tmp_path):
    trial = Trial.make("low_rank", "mlp_digits", 0, "L", ranks="5 5 5 5", epochs=1)
    run_into(tmp_path, trial)
    was = TASKS["mlp_digits"]().model()
    assert (
        last(tmp_path / trial.id)["parameters"] < parameters(was) == last(tmp_path / trial.id)["reference_parameters"]
    )
    for use in ("start", "teacher"):
        child = Trial.make("dense", "mlp_digits", 0, epochs=1).after(**{use: trial})
        with pytest.raises(InputError, match="another network"):
            run_into(tmp_path, child)
