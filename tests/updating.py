"""Methods whose step is not one backward pass of one loss: two objectives, alternation, parts of a batch, attacks."""

import torch
from torch import nn
from torch.optim import Adam

from sapwood import select
from sapwood.criteria import magnitude
from sapwood.criterion import score
from sapwood.observe import hidden
from sapwood.proximal import ProximalNesterov
from sapwood.together import Together
from sapwood.train import backward, descend, train


def two_rules(model):
    """The first layer by Adam; the others by Nesterov's momentum, the last one's weight drawn to exact zeros."""
    first, last = model[0], model[-1]
    rest = [p for p in model.parameters() if all(p is not other for other in (*first.parameters(), last.weight))]
    proximal = ProximalNesterov([{"params": rest}, {"params": [last.weight], "strength": 0.05}], lr=0.05)
    return Together(Adam(first.parameters(), lr=0.01), proximal, of=model)


def two_objectives(run, *, epochs=2, prune_at=5):
    """The first layer minimises the loss and the size of what it gives; the others the loss alone, in one pass."""

    def update(run, batch):
        given = run.model[:2](batch.inputs)
        outputs = run.model[2:](given)
        loss = run.loss(run.model, batch, outputs)
        first = list(run.model[0].parameters())
        backward(run, loss + given.square().mean(), into=first)
        backward(run, loss, into=list(run.model.parameters())[len(first) :])
        return outputs, loss

    run.become(run.model, two_rules(run.model))
    for now in train(run, epochs=epochs, update=update):
        if now.step == prune_at:
            run.prune(select.everywhere(score(run.model, magnitude, only=hidden(run.model)), 0.5))
        yield now


def alternating(run, *, epochs=2, period=3):
    """The first layer is trained for some steps, then all others for as many, and again."""

    def update(run, batch):
        outputs = run.forward(batch.inputs)
        loss = run.loss(run.model, batch, outputs)
        backward(run, loss, into=turn(run.model, run.step // period % 2))
        return outputs, loss

    run.become(run.model, two_rules(run.model))
    yield from train(run, epochs=epochs, update=update)


def turn(model, number):
    """The parameters whose turn it is."""
    return [p for name, p in model.named_parameters() if name.startswith("0.") == (number == 0)]


def accumulating(run, *, epochs=2, parts=3):
    """One step from the gradients of several small parts of each batch, which together are the batch's."""
    yield from train(run, epochs=epochs, update=in_parts(parts))


def in_parts(parts):
    """The update that adds up the gradients of so many parts of a batch."""

    def update(run, batch):
        outputs, total = [], 0.0
        for index in torch.arange(len(batch.targets)).chunk(parts):
            part = batch.take(index)
            outputs.append(run.forward(part.inputs))
            loss = run.loss(run.model, part, outputs[-1]) * len(index) / len(batch.targets)
            backward(run, loss, into=run.model.parameters())
            total = total + loss.detach()
        return torch.cat(outputs).detach(), total

    return update


def attacked(run, *, epochs=2, eps=0.1):
    """Each step is made on samples moved by `eps` to where the loss rises; the attack itself trains nothing."""

    def update(run, batch):
        inputs = batch.inputs.clone().requires_grad_()
        loss = nn.functional.cross_entropy(run.forward(inputs), batch.targets)
        (slope,) = torch.autograd.grad(loss, inputs)
        return descend(run, batch._replace(inputs=batch.inputs + eps * slope.sign()))

    yield from train(run, epochs=epochs, update=update)


METHODS = {each.__name__: each for each in (two_objectives, alternating, accumulating, attacked)}
