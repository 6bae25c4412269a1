"""Masks held under every kind of optimiser: with momentum, with moments, with sums of squares."""

from functools import partial

import pytest
import torch
from torch import optim

from sapwood.checks import holding
from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.masking.holding import hold

OPTIMISERS = {
    "SGD": partial(optim.SGD, lr=0.1),
    "SGD, momentum, weight decay": partial(optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
    "SGD, Nesterov": partial(optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": partial(optim.Adam, lr=0.01, weight_decay=0.01),
    "AdamW, AMSGrad": partial(optim.AdamW, lr=0.01, amsgrad=True),
    "RMSprop, momentum, centred": partial(optim.RMSprop, lr=0.01, momentum=0.9, centered=True),
    "Adagrad": partial(optim.Adagrad, lr=0.05),
}
REMEMBERED = {  # what has the weight's shape in each optimiser's state, so that the law of no memory says something
    "SGD": set(),
    "SGD, momentum, weight decay": {"momentum_buffer"},
    "SGD, Nesterov": {"momentum_buffer"},
    "Adam": {"exp_avg", "exp_avg_sq"},
    "AdamW, AMSGrad": {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    "RMSprop, momentum, centred": {"square_avg", "momentum_buffer", "grad_avg"},
    "Adagrad": {"sum"},
}
LAWS = {law: body for name, make in OPTIMISERS.items() for law, body in holding.laws(name, make).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_holding(law):
    law()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_optimiser_has_something_to_forget(name):
    """Without the hook, the same steps leave every one of these on removed weights, and the weights grow."""
    model, samples = seeded_model(), tiny_samples()
    optimizer = OPTIMISERS[name](model.parameters())
    weight = model.get_parameter("2.weight")
    removed = torch.arange(64).view(8, 8) % 3 == 0
    with hold(model, optimizer, {"2.weight": ~removed}):
        pass
    assert not weight[removed].any()
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(samples.inputs), samples.targets).backward()
        optimizer.step()
    state = {key for key, value in optimizer.state[weight].items() if torch.is_tensor(value) and value.shape == (8, 8)}
    assert state == REMEMBERED[name]
    assert all(optimizer.state[weight][key][removed].any() for key in state)
    assert weight[removed].any()
