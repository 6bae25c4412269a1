"""Apart: a run's network is taken apart once, and again when it has become another."""

import torch
from torch import nn

from sapwood import sites
from sapwood.checks.tiny import tiny_conv_task
from sapwood.training import apart
from sapwood.training.run import start
from sapwood.training.size import size


def keep_all_but_one(run):
    found = sites(run.apart.several)
    return {found[0].name: torch.arange(found[0].units) > 0}, found


def test_whoever_asks_again_gets_the_same_until_the_network_is_another():
    run = start(tiny_conv_task())
    one, several = run.apart.one, run.apart.several
    assert (one.model, len(one.example), len(several.example)) == (run.model, 1, 2)
    assert (run.apart.one, run.apart.several) == (one, several)
    run.shrink(*keep_all_but_one(run))
    assert run.apart.one.model is run.apart.several.model is run.model is not one.model


def test_a_network_is_exported_for_its_sites_and_for_its_size_and_no_more(monkeypatch):
    made, exported = [], torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *args, **kwargs: made.append(1) or exported(*args, **kwargs))
    run = start(tiny_conv_task())
    whole = run.size()
    assert run.reference == whole
    run.shrink(*keep_all_but_one(run))
    assert len(made) == 3
    assert run.size() == size(run.model, run.task.example) != run.reference == whole
    assert len(made) == 4  # by the line above, for itself


def test_layers_put_in_by_hand_are_seen():
    """A method may change its network in place; the reference is then that of a network of its own."""
    run = start(tiny_conv_task())
    whole, before = run.size(), run.apart.one
    run.model[4] = nn.Conv2d(4, 6, 1, bias=False).double()
    assert run.apart.one is not before
    assert run.size().macs < whole.macs
    assert run.reference == whole


def test_only_what_is_asked_for_is_made(monkeypatch):
    made = []
    monkeypatch.setattr(apart, "Anatomy", lambda model, example: made.append(len(example)))
    start(tiny_conv_task()).apart  # noqa: B018
    assert made == []
    start(tiny_conv_task()).apart.several  # noqa: B018
    assert made == [2]
