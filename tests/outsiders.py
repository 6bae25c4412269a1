"""Methods that the package does not have, but must carry: dense weights under masks, tickets, new networks."""

from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from sapwood import select
from sapwood.criteria import magnitude
from sapwood.methods import METHODS
from sapwood.scoring.answers import hidden
from sapwood.scoring.criterion import score
from sapwood.training.fresh import reset
from sapwood.training.given import Given
from sapwood.training.loop import train


def drawn_alike(task):
    """The task with the rule by which its network is drawn: in float32."""
    return replace(task, fresh=lambda model: reset(model.float()) or model.double())


def rethinking(run, *, widths="units", protocol="scratch_b"):
    """Rethinks a network that half of the weights are masked of: these masks at other places, new weights."""
    masks = select.per_layer(score(run.model, magnitude), 0.5)
    run.given = {"like": Given(run.model.state_dict(), masks, 1.0)}
    yield from METHODS["rethink"](run, protocol=protocol, widths=widths, epochs=1)


def dynamic_surgery(run, *, sparsity=0.6, every=4, epochs=3):
    """Prunes by magnitude every few steps while the removed weights go on learning; they may come back."""
    run.dense = True
    for now in train(run, epochs=epochs):
        if now.step % every == 0:
            run.prune(_by_magnitude(run, sparsity))
        yield now


def ticket(run, *, remember=True):
    """Trains a little, keeps those weights; trains, prunes, rewinds to them; goes on as a smaller network."""
    keep = run.remember if remember else _computed_anew
    yield from train(run, steps=3)
    early = keep("early", lambda: list(run.model.state_dict().items()))
    yield from train(run, epochs=1)
    run.prune(_by_magnitude(run, 0.5))
    run.rewind(dict(early))
    yield from train(run, steps=7)
    smaller = keep("smaller", lambda: _every_second_neuron(run.model).state_dict())
    run.become(_network(4))
    run.rewind(smaller)
    yield from train(run, steps=5)


def forgetful(run):
    """Keeps the largest loss so far in a variable of its own, where no checkpoint sees it, and prunes by it."""
    worst = 0.0
    for now in train(run, epochs=2):
        worst = max(worst, now.loss)
        if now.step == 9:
            run.prune(_by_magnitude(run, worst / 10))
        yield now


def _by_magnitude(run, sparsity):
    return select.everywhere(score(run.model, magnitude, only=hidden(run.model)), sparsity)


def _computed_anew(name, compute):
    return deepcopy(compute())


def _network(width):
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3)).double()


def _every_second_neuron(model):
    small = _network(4)
    with torch.no_grad():
        for ours, theirs in ((small[0], model[0]), (small[2], model[2]), (small[4], model[5])):
            rows = slice(None, None, theirs.out_features // ours.out_features)
            ours.weight.copy_(theirs.weight[rows, :: theirs.in_features // ours.in_features])
            ours.bias.copy_(theirs.bias[rows])
    return small
