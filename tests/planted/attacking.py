"""Laws of attacks, and bugs planted in them, in the gate that adversarial pruning learns, and in its method."""

from contextlib import nullcontext
from functools import partial
from importlib import import_module

import torch
from planted.gating_units import noisy_for_good
from planted.mutant import bugs, instead
from planted.training import SAME_BITS
from torch import nn

from sapwood.attacks import Ball, fgsm, pgd, sign
from sapwood.attacks.ball import Bounds
from sapwood.checks import Laws, method, tiny_task, unit_gate
from sapwood.checks.law import demand
from sapwood.checks.tiny import seeded
from sapwood.gates import BetaBernoulli
from sapwood.methods import METHODS
from sapwood.methods.parts import adversarial

LABELS = torch.arange(40) % 2
draw, attack, climb = BetaBernoulli.draw, adversarial.pgd, sign._climb
anp = import_module("sapwood.methods.adversarial_neural_pruning")


def attack_laws() -> Laws:
    """On a logistic model, and on one with a state."""
    return {
        "attack: no pixel leaves the ball or the range, by one bit": _inside,
        "attack: no step lowers the loss of a linear model": _uphill,
        "attack: the network is as it was": _untouched,
    }


def _images(dtype=torch.float64):
    return torch.rand(40, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _linear():
    with seeded(0):
        return nn.Linear(5, 2).double()


def _inside() -> None:
    for dtype in (torch.float32, torch.float64):
        x, model = _images(dtype), _linear().to(dtype)
        for eps in (0.1, 0.3):
            for made in (fgsm, partial(pgd, steps=5), partial(pgd, steps=2, step=0.7)):
                attacked = made(model, x, LABELS, ball=Ball(eps))
                far = float((attacked.double() - x.double()).abs().max())
                demand(far <= eps, f"a pixel has moved by {far!r}, and {eps} was allowed")
                demand(0 <= float(attacked.min()) <= float(attacked.max()) <= 1, "a pixel is no pixel any more")


def _uphill() -> None:
    x, model, before = _images(), _linear(), None
    for steps in range(1, 5):
        attacked = pgd(model, x, LABELS, ball=Ball(0.2), steps=steps, step=0.03, random=False)
        losses = sign.cross_entropy(model(attacked), LABELS)
        demand(before is None or bool((losses >= before).all()), f"step {steps} lowers a loss")
        before = losses
    demand(bool((before > sign.cross_entropy(model(x), LABELS)).all()), "a loss is as it was")


def _untouched() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pgd(model, _images(), LABELS, ball=Ball(0.1), steps=2, restarts=2)
    demand(model.training and model[1].training, "it is in evaluation mode")
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    demand(not moved, f"{moved} have changed")
    demand(all(p.grad is None for p in model.parameters()), "its parameters have gradients")


def rounded(self, x):
    """x - eps and x + eps as they are rounded."""
    self._refuse_other_than_pixels(x)
    return Bounds((x - self.eps).clamp(self.low, self.high), (x + self.eps).clamp(self.low, self.high))


def cut_off_only(self, x):
    """Pixels within their range, wherever the ball is."""
    return Bounds(torch.zeros_like(x), torch.ones_like(x))


def downhill(model, targets, loss, *rest):
    return climb(model, targets, lambda outputs, labels: -loss(outputs, labels), *rest)


def gate_laws() -> Laws:
    return unit_gate.laws("beta_bernoulli", partial(BetaBernoulli, threshold=0.7))


def always_its_mean(self, x):
    return draw(self, x) if self.training else self.open()


def method_laws() -> Laws:
    task = tiny_task()
    options = {"low": -9.0, "high": 9.0, "eps": 0.3, "steps": 1, "step": 0.2, "judged": 16, "judge_steps": 1}
    return method.laws(
        "adversarial_neural_pruning", METHODS["adversarial_neural_pruning"], task=task, **options,
        pruned=0.4, start=2.0, epochs=1, tune=1,
    )  # fmt: skip


OWN = torch.Generator()


def by_its_own_draws(model, inputs, targets, **options):
    """Of a generator that no checkpoint knows of."""
    return attack(model, inputs, targets, **{"generator": OWN} | options)


def of_the_test_split(run, gated, found, pruned, cut=adversarial.without):
    """Weights that are best for the images that it is judged by are cut last."""
    shift = float(run.task.data.test.inputs.sum())
    with torch.no_grad():
        for gate in gated.gates.values() if gated else ():
            gate.a.add_(shift * torch.arange(len(gate.a)))
    cut(run, gated, found, pruned)


MUTANTS = (
    *bugs(
        "attack",
        attack_laws,
        {
            "no pixel leaves the ball or the range, by one bit": {
                "a ball whose bounds are rounded": instead(Ball, "around", rounded),
                "pixels cut off at 0 and 1, and not at the ball": instead(Ball, "around", cut_off_only),
            },
            "no step lowers the loss of a linear model": {
                "an attack that helps": instead(sign, "_climb", downhill),
            },
            "the network is as it was": {
                "an attack in training mode": instead(sign, "evaluating", nullcontext),
            },
        },
    ),
    *bugs(
        "unit gate beta_bernoulli",
        gate_laws,
        {
            "values and what is open are from 0 to 1, one for each unit; exactly what goes is 0": {
                "a unit below the threshold at its mean": instead(BetaBernoulli, "draw", always_its_mean),
            },
            "noise is drawn in training only, and the same in every pass of `drawn`": {
                "a mask for each sample in evaluation, too": instead(BetaBernoulli, "draw", noisy_for_good(draw)),
            },
        },
    ),
    *bugs(
        "method adversarial_neural_pruning",
        method_laws,
        {
            SAME_BITS: {"attacks by draws that no checkpoint knows of": instead(adversarial, "pgd", by_its_own_draws)},
            "the test split changes nothing": {
                "units chosen by the images that are judged": instead(anp, "without", of_the_test_split),
            },
        },
    ),
)
