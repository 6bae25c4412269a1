"""Attacks beside those of foolbox, where that is installed: the same images, up to the rounding of its projection."""

import warnings

import pytest
import torch
from torch import nn

from sapwood.attacks import Ball, fgsm, pgd
from sapwood.checks.tiny import seeded


@pytest.fixture
def foolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports names that SciPy gives up
        return pytest.importorskip("foolbox", reason="pip install foolbox compares attacks with another library's")


@pytest.mark.parametrize("steps", [0, 1, 10], ids=["one step of the ball's radius", "a step", "ten steps"])
def test_the_same_images_from_the_same_start(foolbox, steps):
    with seeded(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 20), nn.ReLU(), nn.Linear(20, 5)).eval()
        x, labels = torch.rand(30, 1, 4, 4), torch.arange(30) % 5
    if steps:
        theirs = foolbox.attacks.LinfPGD(abs_stepsize=0.02, steps=steps, random_start=False)
        ours = pgd(model, x, labels, ball=Ball(0.1), steps=steps, step=0.02, random=False)
    else:
        theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        ours = fgsm(model, x, labels, ball=Ball(0.1))
    attacked, *_ = theirs(foolbox.PyTorchModel(model, bounds=(0, 1)), x, labels, epsilons=0.1)
    torch.testing.assert_close(ours, attacked, rtol=0, atol=1e-6)
    assert not torch.equal(ours, x)
