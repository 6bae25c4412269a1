"""Traces: singular values before and after each prune and ranks at each epoch, once, whatever is interrupted."""

import numpy
import pytest
import torch
from toy import Interrupted, dying_after, small

from sapwood import checkpoint
from sapwood.measure import spectrum
from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.scoring.answers import hidden
from sapwood.training.loop import train
from sapwood.trials.execution import run_trial
from sapwood.trials.final import SPECTRUM
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

STEPS = 73  # an epoch of mlp_digits


def rows_of(folder, *splits):
    return [row for row in read_rows(folder / "rows.jsonl") if row.split in splits and row.phase is not None]


def keep_of(round_, layer, shape):
    """The same mask whenever it is asked for."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(10 * round_ + layer)) < 0.7


def watched(seen):
    """A method that prunes at an epoch's end, between its phases and after them; `seen`: weights before each prune."""

    def method(run):
        def prune():
            layers = {i: run.model.get_submodule(f"hidden{i}").weight for i in (1, 2)}
            seen[run.round] = {i: w.detach().clone() for i, w in layers.items()}
            run.prune({f"hidden{i}.weight": keep_of(run.round, i, w.shape) for i, w in layers.items()})

        for now in train(run, epochs=2):
            if now.step == STEPS:
                prune()
            yield now
        prune()
        yield from train(run, epochs=1)
        prune()

    return method


@pytest.fixture
def seen(monkeypatch):
    found = {}
    monkeypatch.setitem(METHODS, "watched", watched(found))
    monkeypatch.setitem(METHOD_VERSIONS, "watched", 1)
    return found


TRACED = ("before prune", "after prune")


def test_singular_values_are_numpys_before_and_after_each_prune(seen, tmp_path):
    trial = Trial.make("watched", "mlp_digits", 0).tracing("spectra")
    run_trial(trial, tmp_path)
    prunes = [row for row in rows_of(tmp_path, "prune") if row.metric == "round"]
    assert [(row.value, row.step) for row in prunes] == [(1.0, STEPS), (2.0, 2 * STEPS + 1), (3.0, 3 * STEPS)]
    for prune in prunes:
        at = {(row.split, row.metric): row.value for row in rows_of(tmp_path, *TRACED) if row.step == prune.step}
        assert len(at) == 2 * sum(min(shape) for shape in expected_shapes(tmp_path).values())
        for layer, w in seen[int(prune.value) - 1].items():
            pruned = w * keep_of(int(prune.value) - 1, layer, w.shape)
            for split, matrix in (("before prune", w), ("after prune", pruned)):
                sigma = numpy.linalg.svd(matrix.double().numpy(), compute_uv=False)
                ours = [at[split, f"sigma_{layer}_{i}"] for i in range(1, len(sigma) + 1)]
                numpy.testing.assert_allclose(ours, sigma, rtol=1e-10, atol=1e-12)  # two orders of summation, float64
                assert (split, f"sigma_{layer}_{len(sigma) + 1}") not in at
        unpruned = [key for key in at if key[0] == "before prune" and key[1].startswith(("sigma_3_", "sigma_4_"))]
        assert len(unpruned) == 60 + 40
        assert all(at[key] == at["after prune", key[1]] for key in unpruned)


def expected_shapes(folder):
    saved = checkpoint.read(folder / "weights.safetensors")["model"]
    return {i: tuple(saved[f"hidden{i}.weight"].shape) for i in (1, 2, 3, 4)}


def test_ranks_are_written_at_each_epoch_of_a_traced_trial_only(tmp_path):
    run_trial(small(), tmp_path / "plain")
    run_trial(small().tracing("spectra"), tmp_path / "traced")
    names = {f"{metric}_{layer}" for metric in SPECTRUM for layer in (1, 2, 3, 4)}
    assert {row.metric for row in rows_of(tmp_path / "plain", "network")} == {"sparsity", "round"}
    assert rows_of(tmp_path / "plain", *TRACED) == []
    traced = rows_of(tmp_path / "traced", "network")
    assert {row.metric for row in traced} == names | {"sparsity", "round"}
    assert [row.epoch for row in traced if row.metric == "rank_1"] == [1, 2]
    # A trial that is traced trains as one that is not.
    assert [row for row in traced if row.metric in ("sparsity", "round")] == rows_of(tmp_path / "plain", "network")
    assert rows_of(tmp_path / "traced", "train", "valid") == rows_of(tmp_path / "plain", "train", "valid")
    ends = {row.metric: row.value for row in read_rows(tmp_path / "traced" / "rows.jsonl") if row.phase is None}
    assert {row.metric: row.value for row in traced if row.epoch == 2 and row.metric in names} == {
        name: ends[name] for name in names
    }


def test_numbers_of_an_epoch_are_those_of_the_network_at_its_end(tmp_path, monkeypatch):
    found = []

    def telling(run):
        for now in train(run, epochs=2):
            if now.ends_epoch:
                found.append([row.nuclear_norm for row in spectrum(run.model, only=hidden(run.model))])
            yield now

    monkeypatch.setitem(METHODS, "telling", telling)
    monkeypatch.setitem(METHOD_VERSIONS, "telling", 1)
    run_trial(Trial.make("telling", "mlp_digits", 0).tracing("spectra"), tmp_path)
    rows = {(row.epoch, row.metric): row.value for row in rows_of(tmp_path, "network")}
    assert [[rows[epoch, f"nuclear_{layer}"] for layer in (1, 2, 3, 4)] for epoch in (1, 2)] == found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows' file of a trial that is never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "watched", watched({}))
        patch.setitem(METHOD_VERSIONS, "watched", 1)
        run_trial(Trial.make("watched", "mlp_digits", 0).tracing("spectra"), folder)
    return folder / "rows.jsonl"


# Before the prune within a phase, after it, at the end of a phase (a prune follows), after it, and at the very end.
@pytest.mark.parametrize("moments", [STEPS - 1, STEPS, STEPS + 1, 2 * STEPS, 2 * STEPS + 1, 3 * STEPS])
@pytest.mark.parametrize("after", [False, True])
def test_rows_are_there_once_after_a_resume(whole, seen, tmp_path, monkeypatch, moments, after):
    trial = Trial.make("watched", "mlp_digits", 0).tracing("spectra")
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "watched", dying_after(METHODS["watched"], moments, after=after))
        with pytest.raises(Interrupted):
            run_trial(trial, tmp_path / "two", save_every=0.0)
    run_trial(trial, tmp_path / "two")
    assert (tmp_path / "two" / "rows.jsonl").read_bytes() == whole.read_bytes()
    found = rows_of(tmp_path / "two", *TRACED)
    assert len({(row.step, row.split, row.metric) for row in found}) == len(found) != 0
