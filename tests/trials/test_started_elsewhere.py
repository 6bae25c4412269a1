"""Elsewhere: a trial begins with a file of weights, or is taught by one; what is in the file is part of what it is."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sapwood import checkpoint, export
from sapwood.errors import InputError
from sapwood.shrinking.shrunk import compact
from sapwood.tasks import TASKS
from sapwood.training.run import start
from sapwood.training.samples import Batch, Data
from sapwood.training.task import Task
from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.execution import run_into
from sapwood.trials.trial import Trial


def network(width=5):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))


def own():
    """A task of one's own."""
    x, y = torch.randn(90, 6, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 2
    parts = [Batch(x[a : a + 30] + y[a : a + 30, None], y[a : a + 30]) for a in (0, 30, 60)]
    return Task("own", network, Data(*parts), partial(torch.optim.SGD, lr=0.1), batch_size=10, classes=2)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """`own` is a task that trials may have."""
    monkeypatch.setitem(TASKS, "own", own)


@pytest.fixture
def trained():
    """A network with weights that no seed draws."""
    model = network()
    with torch.no_grad():
        for at, p in enumerate(model.parameters()):
            p.copy_(torch.arange(p.numel()).view_as(p) / 7 - at)
    return model


def given(**uses):
    return Trial.make("dense", "own", 0, "as given", epochs=0).after(**uses)


def left(folder, trial):
    run_into(folder, trial)
    return checkpoint.read(folder / trial.id / "weights.safetensors")["model"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("w.safetensors", lambda model, path: save_file(model.state_dict(), path)),
        ("w.pt", lambda model, path: torch.save({"state_dict": model.state_dict(), "epoch": 3}, path)),
        ("w.pth", lambda model, path: torch.save(model.state_dict(), path)),
        ("run.safetensors", lambda model, path: checkpoint.write(path, {"model": model.state_dict(), "masks": {}})),
    ],
)
def test_a_trial_begins_with_what_is_in_a_file(tmp_path, trained, name, save):
    save(trained, tmp_path / name)
    found = left(tmp_path / "results", given(start=tmp_path / name))
    assert same(found, trained.state_dict())
    assert not same(found, left(tmp_path / "results", Trial.make("dense", "own", 0, epochs=0)))


def test_a_smaller_network_goes_on_at_its_size(tmp_path, trained):
    with torch.no_grad():
        trained[2].weight[:, 3:] = 0
    small = compact(trained, {}, example=own().data.test.take(slice(0, 2)).inputs).model
    export.save(small, tmp_path / "small.safetensors", of=network())
    trial = given(start=tmp_path / "small.safetensors")
    run_into(tmp_path, trial)
    again = export.load(tmp_path / trial.id / "weights.safetensors", network)
    assert again[0].out_features == small[0].out_features == 3
    assert same(again.state_dict(), small.state_dict())


def test_a_file_teaches_as_a_trial_does(tmp_path, trained):
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    first = given(start=tmp_path / "w.safetensors")
    run_into(tmp_path, first)
    pupil = Trial.make("dense", "own", 1, "pupil", epochs=2, stop="epochs").under(soft=0.5)
    by_file, by_trial = (left(tmp_path, pupil.after(teacher=t)) for t in (tmp_path / "w.safetensors", first))
    assert same(by_file, by_trial)
    assert not same(by_file, left(tmp_path, Trial.make("dense", "own", 1, epochs=2, stop="epochs")))


def test_what_the_file_holds_is_part_of_the_trial_and_where_it_lies_is_not(tmp_path, trained):
    path = tmp_path / "w.safetensors"
    save_file(trained.state_dict(), path)
    before = given(start=path)
    assert before.identity["uses"] == {"start": f"file:{Elsewhere.used(path, 'start', '').digest[:24]}"}
    path.rename(tmp_path / "moved.safetensors")
    moved = given(start=str(tmp_path / "moved.safetensors"))
    assert (moved, moved.id) == (before, before.id)
    assert given(start=Elsewhere(dict(before.uses)["start"].digest, path)).id == before.id  # without any file
    save_file(network().state_dict(), path)
    assert given(start=path).id != before.id
    assert len({each.id for each in (before, given(teacher=moved), given(), given(start=given()))}) == 4
    assert before.as_of(before=True).uses == before.uses
    assert before.needed() == []
    with pytest.raises(InputError, match=r"w\.safetensors has changed since its digest was taken"):
        run_into(tmp_path, before)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda path: given(start=path / "no.pt"),
            r"uses '.*no\.pt' as 'start', and there is no such file, looked for in",
        ),
        (lambda path: given(start=path), "and that is a folder; give a Trial, or a file of weights"),
        (
            lambda path: given(teacher=path / "words.txt"),
            r"words\.txt' as 'teacher'; give a name in \.safetensors, \.pt",
        ),
        (lambda path: given(like=path / "w.pt"), "as 'like'; give a Trial: a file does not say how it was trained"),
        (lambda path: given(start=3), "arm 'as given' uses 3 as 'start'; give a Trial"),
        (lambda path: given(start=path / "w.pt"), "the weights are of another network: '0.bias' has shape"),
        (
            lambda path: given(start=path / "broken.pt"),
            r"broken\.pt cannot be read as weights: .*; save model\.state_dict",
        ),
        (lambda path: given(start=path / "torn.safetensors"), r"torn\.safetensors cannot be read as weights"),
        (lambda path: given(start=path / "list.pth"), r"list\.pth holds no state dict; save model\.state_dict\(\)"),
    ],
)
def test_what_is_no_file_of_these_weights_is_refused(tmp_path, make, says):
    torch.save(network(4).state_dict(), tmp_path / "w.pt")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("words.txt", "broken.pt", "torn.safetensors"):
        (tmp_path / name).write_bytes(b"words, words, words")
    with pytest.raises(InputError, match=says):
        run_into(tmp_path / "results", make(tmp_path))


def test_no_random_number_is_drawn_by_reading(tmp_path, trained):
    """A trial that begins with its own seed's weights from a file goes on as one that drew them."""
    drawn = start(own(), 4)
    save_file(drawn.model.state_dict(), tmp_path / "w.safetensors")
    trial = Trial.make("dense", "own", 4, epochs=1, stop="epochs")
    assert same(left(tmp_path, trial), left(tmp_path, trial.after(start=tmp_path / "w.safetensors")))
