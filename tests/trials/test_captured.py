"""Steps of several runs captured as one graph: on a tape where there is no GPU; who cannot be captured, and why."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from planted.graphing import DATA, Item, alone, demand_same, laws, live, replayed, taped, task
from planted.recording import Tape
from planted.stepping_together import RULES
from toy import dying_after, small

from sapwood import Data, observing, statistics, train
from sapwood.cli.pools import Asked
from sapwood.data.shards import write_shards
from sapwood.methods import METHODS
from sapwood.scoring.evidence import Statistic
from sapwood.trials.execution import run_into
from sapwood.trials.folder import rows_of
from sapwood.trials.lockstep import Lockstep, together
from sapwood.trials.pool import serial
from sapwood.trials.record import Save
from sapwood.trials.trial import Trial

LAWS = laws()
DENSE = partial(METHODS["dense"], epochs=2, stop="epochs")
OWN = Statistic("own", lambda sight: sight.y_NO.sum(0))


@pytest.mark.parametrize("law", LAWS)
def test_laws_of_steps_captured_together(law):
    LAWS[law]()


def two(life=DENSE, **more):
    return [Item(life, replace(task(RULES["decay"]), **more), seed) for seed in range(2)]


def mirrored(batch, luck):
    return batch._replace(inputs=batch.inputs.flip(1))


def reading(outputs, batch):
    """Metrics that cannot be made of all members at once."""
    right = (outputs.argmax(1) == batch.targets).sum()
    return {"accuracy": right if float(right) >= 0 else 0.0}


def own(run):
    with observing(run.model, OWN, only=["0"], training=True, into={}):
        yield from train(run, epochs=2)


def twice(run):
    with (
        observing(run.model, statistics.active, only=["0"], training=True, into={}),
        observing(run.model, statistics.active, only=["0"], training=True, into={}),
    ):
        yield from train(run, epochs=2)


@pytest.mark.parametrize(("make", "why"), [
    (partial(two, augment=mirrored), "task 'tiny' changes its batches in Python"),
    (partial(two, count=lambda batch: 2.0 * len(batch)), "task 'tiny' counts something else than samples"),
    (partial(two, metrics=reading), "RuntimeError: vmap: It looks like you're"),
    (partial(two, own), "statistic 'own' looks at more than layers of all members show together"),
    (partial(two, twice), "'active' of layer '0' is counted twice"),
])  # fmt: skip
def test_what_is_not_captured_is_made_plainly_and_said(make, why):
    with pytest.warns(UserWarning, match=f"steps made together are not captured: {why}"):
        made = taped(make())
    assert replayed(made) == 0
    assert set(made.errors.values()) == {None}
    for mine, wanted in zip(made.items, alone(make()), strict=True):
        demand_same(mine, wanted, "plain")
        assert mine.said == {""}


def test_samples_that_python_reads_are_not_captured(tmp_path):
    shards = Data(write_shards(DATA.train, tmp_path / "shards", size=7), DATA.valid, DATA.test)
    with pytest.warns(UserWarning, match="samples of task 'tiny' are a Shards, read by Python"):
        made = taped(two(data=shards))
    for mine, wanted in zip(made.items, alone(two(data=shards)), strict=True):
        demand_same(mine, wanted, "shards")


class Dry(Tape):
    """A device that cannot record."""

    def record(self, body):
        raise RuntimeError("operation not permitted when stream is capturing")


def test_where_recording_fails_the_steps_before_it_count_and_those_after_it_are_made_plainly():
    with pytest.warns(UserWarning, match="not captured: RuntimeError: operation not permitted"):
        made = taped(two(), record=lambda device: Dry())
    for mine, wanted in zip(made.items, alone(two()), strict=True):
        demand_same(mine, wanted, "plain from the fourth on")


def other_data(seed):
    data = DATA if seed < 2 else Data(DATA.valid, DATA.test, DATA.train)
    return Item(DENSE, task(RULES["decay"], data=data), seed)


def test_members_on_other_samples_step_beside_those_that_are_captured():
    with pytest.warns(UserWarning, match="its samples, batches or metrics are not those of the others"):
        made = taped([other_data(seed) for seed in range(4)])
    assert replayed(made) > 5
    for mine, wanted in zip(made.items, alone([other_data(seed) for seed in range(4)]), strict=True):
        demand_same(mine, wanted, "beside")


def test_moments_are_left_out_up_to_the_next_at_which_a_method_acts():
    made, wanted = taped(two()), alone(two())
    assert [item.moments for item in wanted] == [2 * wanted[0].run.task.steps_per_epoch] * 2
    assert all(item.moments < 12 for item in made.items)
    assert {item.moments for item in taped(two(partial(train, epochs=2))).items} == {wanted[0].moments}


def in_folders(folder, trials, told):
    """The trials captured together, and how often a step was replayed."""
    tapes = []

    def tape(device):
        tapes.append(Tape())
        return tapes[-1]

    shared = Lockstep(record=tape)
    outcomes = dict(together(shared, 8)(partial(run_into, folder, ways=shared.ways), trials, told.append))
    return outcomes, sum(tape.replays for tape in tapes)


def apart(folder, other, trial):
    """How far the rows of a trial in two folders are apart."""
    mine, theirs = (rows_of(each / trial.id) for each in (folder, other))
    assert [row[:5] for row in mine] == [row[:5] for row in theirs]
    return max(abs(one.value - two.value) / max(1.0, abs(two.value)) for one, two in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("later", ["captured", "one after another"])
def test_trials_leave_what_they_leave_alone_and_an_interrupted_one_goes_on(tmp_path, monkeypatch, later):
    """The first dies when the third moment is over, in the midst of an epoch."""
    trials = [small(seed=0), Trial.make("dense", "mlp_digits", 0, epochs=2, stop="epochs")]
    list(serial(partial(run_into, tmp_path / "alone"), trials, lambda said: None))
    here, told = tmp_path / "here", []
    with monkeypatch.context() as patched:
        patched.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 3))
        often = lambda path, every: Save(path, 0.0 if path.parent.name == trials[0].id else every)  # noqa: E731
        patched.setattr("sapwood.trials.execution.Save", often)
        outcomes, replays = in_folders(here, trials, told)
    assert outcomes[trials[0]].startswith("Interrupted")
    assert replays > 60
    if later == "captured":
        outcomes, _ = in_folders(here, trials, told)
    else:
        outcomes = dict(serial(partial(run_into, here), trials, told.append))
    assert set(outcomes.values()) == {None}
    (resumed,) = [said.text for said in told if said.text.startswith("resumed at step ")]
    assert 0 < int(resumed.split()[-1]) < 2 * 73
    for trial in trials:
        assert apart(here, tmp_path / "alone", trial) < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_captures_what_a_cpu_does_plainly():
    def four(device):
        data = DATA.to(device)
        lives = [DENSE, partial(METHODS["global_activation"], epochs=3, first=0.01, target=0.02, stop="epochs")]
        return [Item(life, task(RULES["adam"], data=data), n, device=device) for n, life in enumerate(lives * 2)]

    shared = Lockstep("cuda")
    made = four("cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        outcomes = list(together(shared, 4)(partial(live, shared.step), made, print))
    assert {error for _, error in outcomes} == {None}
    assert not shared.plain
    for mine, wanted in zip(made, alone(four("cpu")), strict=True):
        for name, value in wanted.end.items():
            assert torch.allclose(mine.end[name].cpu(), value, rtol=1e-9, atol=1e-9), name


def test_a_rule_that_changes_is_not_stepped_with_the_old_one():
    def life(run):
        for now in train(run, epochs=2):
            if now.step == 7 and run.seed == 1:
                run.optimizer.param_groups[0]["momentum"] = 0.5
            yield now

    for mine, wanted in zip(taped(two(life)).items, alone(two(life)), strict=True):
        demand_same(mine, wanted, "momentum")


def test_on_a_gpu_more_trials_are_at_work():
    assert [Asked("together", device=device).at_once(500) for device in ("cpu", "cuda", "cuda:1")] == [32, 64, 64]
    assert Asked("together", workers=7, device="cuda").at_once(500) == 7
    assert Asked("together", device="cuda").at_once(3) == 3
