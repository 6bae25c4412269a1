"""Running a trial: its files, resuming with the same bits, and what happens when something fails."""

import fcntl
import gc
import json
import os
from hashlib import blake2b

import pytest
import torch
from toy import Interrupted, dying_after, small

from sapwood import checkpoint
from sapwood.errors import InputError
from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.tasks import TASKS
from sapwood.tasks.recipe import taught
from sapwood.training.loop import train
from sapwood.training.run import Run, start
from sapwood.trials import execution as study_run
from sapwood.trials.execution import finished, over, run_into, run_trial, sums
from sapwood.trials.final import as_used, final_measures
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

STEPS = 73  # an epoch of mlp_digits


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A trial run without interruption, and what it told."""
    folder, told = tmp_path_factory.mktemp("whole"), []
    run_trial(small(), folder, tell=told.append)
    return folder, told


def same_results(one, other):
    mine, theirs = (checkpoint.read(each / "weights.safetensors") for each in (one, other))
    for part in ("model", "masks"):
        assert mine[part].keys() == theirs[part].keys() != set()
        assert all(torch.equal(value, theirs[part][name]) for name, value in mine[part].items())
    assert (one / "rows.jsonl").read_bytes() == (other / "rows.jsonl").read_bytes()


def values(folder, split, metric, phase="any"):
    found = [row for row in read_rows(folder / "rows.jsonl") if (row.split, row.metric) == (split, metric)]
    return [row.value for row in found if phase == "any" or row.phase == phase]


def test_a_trial_leaves_its_files(whole):
    folder, told = whole
    assert {each.name for each in folder.iterdir()} == {"trial.json", "rows.jsonl", "weights.safetensors", "done"}
    about = json.loads((folder / "trial.json").read_text())
    assert about["identity"] == small().identity
    assert about["options"] == small().all_options()
    assert set(about["provenance"][0]) == {
        "sapwood",
        "commit",
        "python",
        "torch",
        "numpy",
        "device",
        "threads",
        "started",
    }
    assert about["provenance"][0]["device"].endswith(f", {torch.backends.cpu.get_cpu_capability()})")
    done = json.loads((folder / "done").read_text())
    assert done.pop("seconds") > 0
    assert done.pop("rows") == blake2b((folder / "rows.jsonl").read_bytes(), digest_size=16).hexdigest()
    assert done == {"steps": 2 * STEPS, "epochs": 2}
    assert [(news.text.split(",")[0], news.done, news.finished) for news in told] == [
        ("starting", 0.0, False), ("epoch 1", 0.5, False), ("epoch 2", 1.0, False), ("done", 1.0, True),
    ]  # fmt: skip


def test_no_host_and_no_path_is_written_down(whole):
    text = (whole[0] / "trial.json").read_text()
    assert os.uname().nodename not in text
    assert "/" not in text


def test_rows_of_each_epoch_and_prune(whole):
    folder, _ = whole
    for split in ("train", "valid"):
        for metric in ("loss", "accuracy"):
            assert len(values(folder, split, metric, phase=0)) == 2
    assert values(folder, "network", "round", phase=0) == [1.0, 2.0]
    assert values(folder, "prune", "round") == [1.0, 2.0]
    assert values(folder, "prune", "sparsity") == values(folder, "network", "sparsity", phase=0)


def test_rows_of_the_end_agree_with_the_weights_that_are_kept(whole):
    folder, _ = whole
    saved = checkpoint.read(folder / "weights.safetensors")["model"]
    zeros = sum(int((w == 0).sum()) for w in saved.values() if w.dim() > 1)
    assert values(folder, "network", "zeros", None) == [zeros]
    assert values(folder, "network", "sparsity", None) == [zeros / 22_000] == [pytest.approx(0.8, abs=1e-3)]
    assert values(folder, "network", "flops", None) == [2 * (22_000 - zeros)]
    assert values(folder, "network", "cycles", None) == [2.0]
    assert values(folder, "network", "epochs", None) == [2.0]
    assert values(folder, "note", "cycles_planned", None) == [2.0]
    for layer in (1, 2, 3, 4):
        w = saved[f"hidden{layer}.weight"]
        assert values(folder, "network", f"live_{layer}", None) == [int((w != 0).any(1).sum())]
        assert values(folder, "network", f"rank_{layer}", None) == [int(torch.linalg.matrix_rank(w.double()))]
    for split in ("train", "valid", "test"):
        top = [values(folder, split, metric, None)[0] for metric in ("accuracy", "top5")]
        assert 0 <= top[0] <= top[1] <= 1
        assert all(values(folder, split, metric, None) for metric in ("loss", "class0_top1", "class0_top5"))


def test_a_finished_trial_is_left_alone(whole, monkeypatch):
    folder, told = whole[0], []
    before = {each: (each.read_bytes(), each.stat().st_mtime_ns) for each in folder.iterdir()}
    monkeypatch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 1))
    run_trial(small(), folder, tell=told.append)
    assert before == {each: (each.read_bytes(), each.stat().st_mtime_ns) for each in folder.iterdir()}
    assert [news.finished for news in told] == [True]


# In an epoch, before its last step, at it (a prune falls there), after it, and at the very end.
@pytest.mark.parametrize("moments", [1, 40, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS - 1, 2 * STEPS])
def test_interrupted_and_resumed_gives_the_same_bits_and_rows(whole, tmp_path, monkeypatch, moments):
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], moments))
        with pytest.raises(Interrupted):
            run_trial(small(), tmp_path, save_every=0.0)
    assert "Interrupted" in (tmp_path / "failed").read_text()
    assert not (tmp_path / "done").exists()
    # What a kill may leave besides: rows after the last save, one of them torn, a file half written.
    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write('{"step": 146, "epoch": 2, "phase": 0, "split": "train", "metric": "loss", "value": 9}\n{"step": 14')
    (tmp_path / ".state.safetensors.12345").write_bytes(b"torn")
    told = []
    run_trial(small(), tmp_path, tell=told.append)
    same_results(tmp_path, whole[0])
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in whole[0].iterdir()}
    resumed = moments > 1
    assert told[0].text == (f"resumed at step {moments - 1}" if resumed else "starting")
    assert len(json.loads((tmp_path / "trial.json").read_text())["provenance"]) == 1 + resumed


def test_killed_before_the_first_save_starts_afresh(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], STEPS + 5))
        with pytest.raises(Interrupted):
            run_trial(small(), tmp_path, save_every=1e9)
    assert not (tmp_path / "state.safetensors").exists()
    assert read_rows(tmp_path / "rows.jsonl")
    run_trial(small(), tmp_path)
    same_results(tmp_path, whole[0])


def test_stopped_after_the_last_rows_writes_them_once(whole, tmp_path, monkeypatch):
    def write(path, value):
        if path.name == "done":
            raise Interrupted
        real(path, value)

    real = study_run._write_json
    with monkeypatch.context() as patch:
        patch.setattr(study_run, "_write_json", write)
        with pytest.raises(Interrupted):
            run_trial(small(), tmp_path, save_every=0.0)
    assert values(tmp_path, "network", "zeros", None)
    run_trial(small(), tmp_path)
    same_results(tmp_path, whole[0])


def two_phases(run, *, epochs: int = 1):
    """Prunes between its phases and after the last, where no moment follows."""
    for layer in (1, 2):
        yield from train(run, epochs=epochs)
        keep = torch.rand(run.model.get_submodule(f"hidden{layer}").weight.shape, generator=torch.Generator()) < 0.5
        run.prune(run.masks | {f"hidden{layer}.weight": keep})


@pytest.mark.parametrize("moments", [STEPS, STEPS + 1, 2 * STEPS])
def test_prunes_between_and_after_phases_are_recorded_once(tmp_path, monkeypatch, moments):
    monkeypatch.setitem(METHOD_VERSIONS, "two_phases", 1)
    monkeypatch.setitem(METHODS, "two_phases", two_phases)
    trial = Trial.make("two_phases", "mlp_digits", 0)
    run_trial(trial, tmp_path / "whole")
    prunes = [(row.step, row.phase) for row in read_rows(tmp_path / "whole" / "rows.jsonl") if row.metric == "round"]
    assert prunes == [(STEPS, 0), (STEPS + 1, 1), (2 * STEPS, 1), (2 * STEPS, 1)]  # epoch, prune, epoch, prune
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "two_phases", dying_after(two_phases, moments, after=True))
        with pytest.raises(Interrupted):
            run_trial(trial, tmp_path / "two", save_every=0.0)
    run_trial(trial, tmp_path / "two")
    same_results(tmp_path / "two", tmp_path / "whole")


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A results folder with a finished trial."""
    folder = tmp_path_factory.mktemp("family")
    run_into(folder, small())
    return folder


def going_on(method="dense", **options):
    return Trial.make(method, "mlp_digits", 0, "child", **{"epochs": 2, "stop": "epochs"} | options)


def test_a_start_gives_weights_but_no_masks_and_nothing_else_does(family, monkeypatch):
    seen = {}

    def looking(run, *, uses: str = ""):
        seen[uses] = ({name: value.clone() for name, value in run.model.state_dict().items()}, run.masks, run.given)
        yield from train(run, steps=1)

    monkeypatch.setitem(METHODS, "looking", looking)
    monkeypatch.setitem(METHOD_VERSIONS, "looking", 1)
    for uses in ("", "start", "like"):
        trial = Trial.make("looking", "mlp_digits", 0, uses=uses)
        run_into(family, trial.after(**{uses: small()}) if uses else trial)
    left = checkpoint.read(family / small().id / "weights.safetensors")
    fresh = seen[""][0]
    for uses, (weights, masks, given) in seen.items():
        expected = left["model"] if uses == "start" else fresh
        assert all(torch.equal(value, expected[name]) for name, value in weights.items())
        assert masks == {}
        assert list(given) == [uses] * bool(uses)
        for name in given:
            assert given[name].epochs == 2.0
            for part, there in (("model", given[name].weights), ("masks", given[name].masks)):
                assert there.keys() == left[part].keys() != set()
                assert all(torch.equal(value, left[part][key]) for key, value in there.items())
    assert not torch.equal(fresh["hidden1.weight"], left["model"]["hidden1.weight"])


def test_a_trial_like_another_takes_its_length(family):
    trial = going_on(epochs=7, as_long=True).after(like=small())
    run_into(family, trial)
    assert values(family / trial.id, "network", "epochs", None) == [2.0]


def test_a_trial_whose_start_is_not_there_says_so(tmp_path):
    trial = going_on().after(start=small("parent"))
    says = "arm 'child' goes on from arm 'parent', seed 0, which is not finished in .*; run that one first"
    with pytest.raises(InputError, match=says):
        run_into(tmp_path, trial)
    assert {each.name for each in (tmp_path / trial.id).iterdir()} == {"failed"}
    run_into(tmp_path, small("parent"))
    run_into(tmp_path, trial)
    assert finished(tmp_path / trial.id)
    assert not (tmp_path / trial.id / "failed").exists()


@pytest.mark.parametrize("method", ["dense", "variational_dropout"])
def test_a_taught_trial_learns_from_its_teachers_answers(family, method):
    options = {"epochs": 1} | ({"stop": "epochs"} if method == "dense" else {"begin": 0.0, "end": 0.5})
    trial = Trial.make(method, "mlp_digits", 3, "pupil", **options).after(teacher=small()).under(temperature=2.0)
    run_into(family, trial)
    teacher = TASKS["mlp_digits"]().model()
    teacher.load_state_dict(checkpoint.read(family / small().id / "weights.safetensors")["model"])
    run = start(taught(TASKS["mlp_digits"](), teacher, temperature=2.0, soft=0.9), seed=3)
    for _ in METHODS[method](run, **options):
        pass
    left = checkpoint.read(family / trial.id / "weights.safetensors")["model"]
    assert all(torch.equal(value, left[name]) for name, value in run.model.state_dict().items())
    assert trial.id != trial.under(soft=0.5).id != trial.after(teacher=small(seed=1)).id


def test_a_narrow_teacher_is_the_network_that_it_was(family):
    narrow = going_on(epochs=1).under(hidden="9 8 7 6", learning_rate=0.01)
    run_into(family, narrow)
    pupil = Trial.make("dense", "mlp_digits", 1, "pupil", epochs=1, stop="epochs").after(teacher=narrow)
    run_into(family, pupil)
    assert finished(family / pupil.id)


def test_teaching_without_a_teacher_is_refused(tmp_path):
    trial = going_on().under(temperature=2.0)
    with pytest.raises(InputError, match="arm 'child' has temperature but no teacher; give one"):
        run_into(tmp_path, trial)


@pytest.mark.parametrize("moments", [2, STEPS, STEPS + 1, 2 * STEPS])
def test_a_resumed_child_gives_the_same_bits_and_rows(family, tmp_path, monkeypatch, moments):
    trial = going_on().after(start=small(), like=small(), teacher=small())
    run_into(family, trial)
    (tmp_path / small().id).symlink_to(family / small().id)
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "dense", dying_after(METHODS["dense"], moments))
        with pytest.raises(Interrupted):
            run_trial(trial, tmp_path / trial.id, save_every=0.0)
    run_into(tmp_path, trial)
    assert len(json.loads((tmp_path / trial.id / "trial.json").read_text())["provenance"]) == 2
    one, other = (checkpoint.read(folder / trial.id / "weights.safetensors")["model"] for folder in (family, tmp_path))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert (family / trial.id / "rows.jsonl").read_bytes() == (tmp_path / trial.id / "rows.jsonl").read_bytes()


def test_a_trial_without_its_weights_is_run_again(tmp_path):
    run_into(tmp_path, small(epochs=1))
    weights = tmp_path / small(epochs=1).id / "weights.safetensors"
    before = checkpoint.fingerprint(checkpoint.read(weights))
    weights.unlink()
    assert over(weights.parent)
    assert not finished(weights.parent)
    run_into(tmp_path, small(epochs=1))
    assert checkpoint.fingerprint(checkpoint.read(weights)) == before


def test_what_a_trial_took_is_known_when_it_is_over(tmp_path):
    assert (over(tmp_path), sums(tmp_path)) == (False, {})
    (tmp_path / "kept").write_text('{"seconds": 2.5, "steps": 3, "epochs": 1}')
    assert (over(tmp_path), finished(tmp_path)) == (True, False)
    assert sums(tmp_path) == {"seconds": 2.5, "steps": 3, "epochs": 1}
    (tmp_path / "done").write_text("{")
    with pytest.raises(InputError, match=r"done is damaged .*; delete .* and run the trial again"):
        sums(tmp_path)


def test_a_failure_is_kept_and_the_next_try_clears_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 2))
        with pytest.raises(Interrupted):
            run_trial(small(epochs=1), tmp_path)
    assert (tmp_path / "failed").read_text().strip().endswith("Interrupted")
    run_trial(small(epochs=1), tmp_path)
    assert not (tmp_path / "failed").exists()
    assert (tmp_path / "done").exists()


def test_hooks_are_gone_when_a_trial_has_failed(tmp_path, monkeypatch):
    seen = []
    real = METHODS["global_activation"]

    def tell(news):
        raise Interrupted

    def watching(run, **options):
        seen.append(run.model)
        yield from real(run, **options)

    watching.__wrapped__ = real
    monkeypatch.setitem(METHODS, "global_activation", watching)
    told = []
    with pytest.raises(Interrupted) as failure:  # kept, so that the traceback keeps the generator from collection
        run_trial(small(), tmp_path, tell=lambda news: told.append(news) if not told else tell(news))
    assert failure.tb is not None
    assert [len(module._forward_hooks) for module in seen[0].modules()] == [0] * len(list(seen[0].modules()))


def test_another_trials_folder_is_refused_and_untouched(tmp_path):
    run_trial(small(epochs=1), tmp_path)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(InputError, match="holds another trial"):
        run_trial(small(epochs=1, seed=1), tmp_path)
    assert before == {each: each.read_bytes() for each in tmp_path.iterdir()}
    (tmp_path / "trial.json").write_text("{")
    with pytest.raises(InputError, match=r"trial\.json is damaged"):
        run_trial(small(epochs=1), tmp_path)


def test_a_new_label_is_written_down_without_running_again(tmp_path):
    run_into(tmp_path, small("old", epochs=1))
    run_into(tmp_path, small("new", epochs=1))
    (folder,) = tmp_path.iterdir()
    assert folder.name == small(epochs=1).id
    assert json.loads((folder / "trial.json").read_text())["row"] == "new"


def test_a_folder_at_work_is_refused(tmp_path):
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(InputError, match="another process is running the trial"):
            run_trial(small(), tmp_path)
    finally:
        os.close(handle)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_other_data_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 3))
        with pytest.raises(Interrupted):
            run_trial(small(), tmp_path, save_every=0.0)
    run = start(TASKS["mlp_digits"](), seed=5)
    run.save(tmp_path / "state.safetensors")
    with pytest.raises(InputError, match="the checkpoint is of task"):
        run_trial(small(), tmp_path)


def test_an_unknown_device_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        run_trial(small(), tmp_path / "new", device="abacus")
    assert not (tmp_path / "new").exists()


def test_dense_training_is_measured_through_its_masks(tmp_path):
    run = start(TASKS["mlp_digits"](), seed=0)
    run.dense = True
    keep = torch.zeros(100, 64, dtype=torch.bool)
    keep[:10] = True
    run.prune({"hidden1.weight": keep})
    assert int(torch.count_nonzero(run.model.hidden1.weight)) == 6_400
    assert int(torch.count_nonzero(as_used(run).hidden1.weight)) == 640
    found = {(each.split, each.metric): each.value for each in final_measures(run)}
    assert found["network", "live_1"] == 10
    assert found["network", "zeros"] == 90 * 64


def test_a_dense_trial_has_no_zeros(tmp_path):
    run_trial(Trial.make("dense", "mlp_digits", 0, epochs=1), tmp_path)
    assert values(tmp_path, "network", "sparsity", None) == [0.0]
    assert values(tmp_path, "prune", "sparsity") == []


def test_a_trial_that_is_over_leaves_nothing_behind(tmp_path):
    gc.collect()
    before = {id(each) for each in gc.get_objects() if type(each) is Run}  # other tests may hold some
    run_into(tmp_path, small())
    assert not [each for each in gc.get_objects() if type(each) is Run and id(each) not in before]


def test_a_recipe_is_trained_by_and_written_down(tmp_path):
    ends = {}
    for name, recipe in {"own": {}, "slow": {"learning_rate": 1e-9}}.items():
        trial = small().under(**recipe)
        run_trial(trial, tmp_path / name)
        ends[name] = checkpoint.read(tmp_path / name / "weights.safetensors")["model"]
        assert json.loads((tmp_path / name / "trial.json").read_text())["options"].get("learning_rate") == recipe.get(
            "learning_rate"
        )
    moved = {name: float(list(model.values())[-1].abs().max()) for name, model in ends.items()}  # a bias begins at 0
    assert moved["slow"] < 1e-5 < moved["own"]
