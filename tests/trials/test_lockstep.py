"""Trials together: each as it is alone; who steps by itself and why; failures that stay their own; Ctrl-C; resuming."""

import threading
import warnings
from functools import partial

import pytest
import torch
from planted.stepping_together import RULES, Item, alone, differences, items, laws, live, lived, task, undropped
from torch import nn
from torch.optim import SGD, Adam
from toy import dying_after, in_use, small, square

from sapwood import Data, Task, train
from sapwood.checks.tiny import TinyStream, tiny_conv_model, tiny_images, tiny_task
from sapwood.errors import InputError
from sapwood.masking.holding import hold
from sapwood.methods import METHODS
from sapwood.training.loop import descend
from sapwood.training.run import start
from sapwood.training.together import Together
from sapwood.trials import turns
from sapwood.trials.alike import Key, likeness, unlike
from sapwood.trials.elementwise import common, numbers
from sapwood.trials.execution import finished, run_into
from sapwood.trials.folder import rows_of
from sapwood.trials.lockstep import Lockstep, together
from sapwood.trials.pool import serial
from sapwood.trials.record import Save
from sapwood.trials.trial import Trial
from sapwood.trials.turns import NotRun

LAWS = laws()


def pool(most=8, ready=turns.always):
    return together(Lockstep(), most, ready)


@pytest.mark.parametrize("law", LAWS)
def test_laws_of_steps_made_together(law):
    LAWS[law]()


@pytest.mark.parametrize(("network", "samples"), [
    (tiny_conv_model, tiny_images), (TinyStream, lambda n=12, seed=0: _coloured(n, seed)),
])  # fmt: skip
def test_batch_norms_keep_the_statistics_of_each_member(network, samples):
    """And a network of one's own may step with others: its modules keep nothing of a pass."""

    def model():
        return undropped(network().double())

    def of(seed):
        data = Data(samples(), samples(6, seed=1), samples(6, seed=2))
        return Item(
            "dense", {"epochs": 2, "stop": "epochs"}, Task("n", model, data, RULES["decay"], batch_size=8), seed
        )

    for mine, wanted in zip(lived([of(0), of(1)]), alone([of(0), of(1)]), strict=True):
        assert differences(mine, wanted) == ""
        assert "" in mine.said
        assert any("running_mean" in name for name in mine.end)


def _coloured(samples, seed):
    batch = tiny_images(samples, seed)
    return batch._replace(inputs=batch.inputs.repeat(1, 3, 1, 1))


class Remembering(nn.Sequential):
    """Keeps what it has seen."""

    def forward(self, x):
        self.seen = x
        return super().forward(x)


def own_update(run, batch):
    return descend(run, batch)


def begun(rule=RULES["sgd"], change=lambda run: None):
    run = start(task(rule))
    change(run)
    return run


def _set(**values):
    return lambda run: [setattr(run, name, value) for name, value in values.items()]


@pytest.mark.parametrize(("run", "why"), [
    (lambda: begun(change=_set(loss=print)), "its loss is its own"),
    (lambda: begun(change=_set(dense=True)), "its dense weights learn behind masks"),
    (lambda: begun(partial(torch.optim.RMSprop, lr=0.1)), "its optimiser is RMSprop"),
    (lambda: begun(lambda p: Together(SGD(p, lr=0.1))), "its optimiser is Together"),
    (lambda: begun(partial(Adam, amsgrad=True)), "its Adam has amsgrad=True"),
    (lambda: begun(partial(Adam, lr=torch.tensor(0.1))), "a setting of its Adam is a tensor"),
    (lambda: begun(lambda p: SGD(list(p)[:2], lr=0.1)), "its SGD trains other parameters than the network's"),
    (lambda: begun(change=lambda r: r.model[2].register_forward_hook(print)), "a hook may change what '2' gives"),
    (lambda: begun(change=lambda r: r.model[2].register_forward_pre_hook(print)), "a hook looks before '2'"),
    (lambda: begun(change=lambda r: hold(r.model, r.optimizer, {"0.weight": torch.ones(8, 6) > 0})),
     "a hook looks before 'the network'"),
    (lambda: start(tiny_task()), "layer '4' drops numbers at random"),
    (lambda: begun(change=lambda r: r.become(Remembering(*r.model))), "module 'Remembering' keeps what it has seen"),
])  # fmt: skip
def test_who_steps_by_itself_says_why(run, why):
    assert likeness(run()) == why


def test_what_runs_must_have_in_common():
    def key(rule=RULES["decay"], change=lambda run: None):
        return likeness(begun(rule, change))

    assert key() == key(partial(SGD, lr=0.3, momentum=0.9, weight_decay=0.5))  # rates may be each one's own
    others = [key(RULES["nesterov"]), key(RULES["adam"]),
              key(change=lambda run: run.model.__setitem__(1, nn.Tanh())),
              key(change=lambda run: run.model[0].weight.requires_grad_(False))]  # fmt: skip
    assert all(isinstance(other, Key) for other in others)
    assert len({key(), *others}) == 5
    assert unlike(descend) == ""
    assert unlike(own_update) == unlike(partial(own_update)) == "its update is its own, own_update"


class Choosing(nn.Sequential):
    """Looks at its inputs."""

    def forward(self, x):
        return super().forward(x) if float(x.sum()) > 0 else super().forward(x + 1)


class Slow(nn.Sequential):
    """As if vmap had no rule for one of its operators."""

    def forward(self, x):
        if torch._C._functorch.is_functorch_wrapped_tensor(x):
            warnings.warn("There is a performance drop because ...", stacklevel=1)
        return super().forward(x)


@pytest.mark.parametrize(("kind", "why"), [
    (Choosing, "RuntimeError: vmap: It looks like"), (Slow, "UserWarning: There is a performance drop"),
])  # fmt: skip
def test_what_vmap_cannot_do_is_done_one_by_one_and_said(kind, why):
    def of(seed):
        chosen = task(RULES["sgd"])
        network = partial(lambda made: kind(*made()), chosen.model)
        return Item("dense", {"epochs": 1, "stop": "epochs"}, Task("c", network, chosen.data, chosen.optimizer), seed)

    mine, wanted = lived([of(0), of(1)]), alone([of(0), of(1)])
    assert [item.losses for item in mine] == [item.losses for item in wanted]
    assert all(said.startswith(why) for item in mine for said in item.said)


def test_an_update_of_ones_own_and_a_loss_that_is_not_finite_are_ones_own(monkeypatch):
    def own(run):
        yield from train(run, epochs=1, update=own_update)

    def lost(run):
        for now in train(run, epochs=2):
            if now.step == 3:
                run.model[5].bias.data.fill_(float("inf"))
            yield now

    monkeypatch.setitem(METHODS, "own", own)
    monkeypatch.setitem(METHODS, "lost", lost)
    given = [Item("own", {}, task(RULES["sgd"]), 0), Item("lost", {}, task(RULES["sgd"]), 1), *items(RULES["sgd"])[:2]]
    shared = Lockstep()
    errors = {item.method: error for item, error in together(shared, 8)(partial(live, shared.step), given, print)}
    assert "the loss is nan at step 3; lower the learning rate" in errors.pop("lost")
    assert set(errors.values()) == {None}
    assert given[0].said == {"its update is its own, own_update"}
    for mine, wanted in zip(given[2:], alone(items(RULES["sgd"])[:2]), strict=True):
        assert differences(mine, wanted) == ""
    assert shared.stacks == {}


def test_outcomes_and_failures_as_in_other_pools():
    told = []
    assert sorted(pool()(square, [1, 3, 2], told.append)) == [
        (1, None),
        (2, None),
        (3, "ValueError: three is not allowed"),
    ]
    assert sorted(told) == [(1, 1), (2, 4)]
    assert list(pool()(square, [], told.append)) == []
    with pytest.raises(InputError, match="workers is 0; give at least 1"):
        pool(0)


def test_what_waits_for_others_and_what_can_never_be_ready():
    outcomes = list(pool(2, lambda item: NotRun("1 failed") if item == 2 else item != 3)(square, [2, 3, 1], print))
    assert outcomes == [(2, "1 failed"), (1, None), (3, "ValueError: three is not allowed")]


def test_what_another_process_has_in_use_comes_again(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "PAUSE", 0.0)
    (tmp_path / "left").write_text("xx")
    outcomes = list(pool(1)(partial(in_use, tmp_path / "left"), [1, 2, 3], print))
    assert outcomes == [(2, None), (3, None), (1, None)]


def threads():
    return {each.name for each in threading.enumerate() if each.name.startswith("trial ")}


@pytest.mark.parametrize("how", ["told", "closed"])
def test_ctrl_c_ends_all_where_they_are_and_each_puts_its_things_in_order(how):
    shared, left = Lockstep(), []

    def job(item, tell):
        try:
            for now in train(_run(item, shared), epochs=50):
                if how == "told" and item == 1 and now.step == 5:
                    raise KeyboardInterrupt
                if how == "closed" and item == 1 and now.step == 5:
                    return
        finally:
            left.append(item)

    ends = together(shared, 3)(job, [0, 1, 2], print)
    if how == "told":
        with pytest.raises(KeyboardInterrupt):
            list(ends)
    else:
        assert next(ends) == (1, None)
        ends.close()
    assert sorted(left) == [0, 1, 2]
    assert threads() == set()


def _run(seed, shared):
    run = start(task(RULES["sgd"]), seed)
    run.stepping = shared.step
    return run


def folders(folder, trials, told=None, **more):
    """The trials made together in their folders."""
    shared = Lockstep()
    job = partial(run_into, folder, ways=shared.ways)
    return dict(together(shared, 8)(job, trials, [].append if told is None else told.append))


def apart(folder, other, trial):
    """How far the rows of a trial in two folders are apart, relatively."""
    mine, theirs = (rows_of(each / trial.id) for each in (folder, other))
    assert [row[:5] for row in mine] == [row[:5] for row in theirs]
    return max(abs(one.value - two.value) / max(1.0, abs(two.value)) for one, two in zip(mine, theirs, strict=True))


def test_trials_leave_what_they_leave_alone_and_an_interrupted_one_goes_on(tmp_path, monkeypatch):
    trials = [small(seed=0), Trial.make("dense", "mlp_digits", 0, epochs=2, stop="epochs")]
    list(serial(partial(run_into, tmp_path / "alone"), trials, lambda said: None))
    with monkeypatch.context() as patched:
        patched.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 90))
        often = lambda path, every: Save(path, 0.0 if path.parent.name == trials[0].id else every)  # noqa: E731
        patched.setattr("sapwood.trials.execution.Save", often)
        outcomes = folders(tmp_path / "together", trials)
    assert [outcomes[trial] for trial in trials] == ["Interrupted: ", None]
    assert (tmp_path / "together" / trials[0].id / "failed").exists()
    told = []
    assert set(folders(tmp_path / "together", trials, told).values()) == {None}
    assert [said.text for said in told if said.text.startswith("resumed")] == ["resumed at step 89"]
    for trial in trials:
        assert finished(tmp_path / "together" / trial.id)
        assert apart(tmp_path / "together", tmp_path / "alone", trial) < 1e-3


def test_the_progress_says_who_steps_by_itself(tmp_path):
    told = []
    trials = [Trial.make("variational_dropout", "mlp_digits", seed, epochs=1, begin=0, end=1) for seed in (0, 1)]
    assert set(folders(tmp_path, trials, told).values()) == {None}
    ends = [said.text for said in told if said.text.startswith("epoch 1, valid")]  # on a slow machine there are more
    assert len(ends) == 2
    assert all(text.endswith(", by itself: its loss is its own") for text in ends)


def test_rates_that_all_have_in_common_are_one_number_and_others_a_tensor_by_row():
    like = torch.zeros(3, 2, 2, dtype=torch.float64)
    assert numbers(common([0.1, 0.1, 0.1]), like) == 0.1
    found = numbers(common([0.1, 0.1, 0.3]), like)
    assert torch.equal(found, torch.tensor([0.1, 0.1, 0.3], dtype=torch.float64).reshape(3, 1, 1))
    assert numbers(common([0.5]), like[:1]) == 0.5
