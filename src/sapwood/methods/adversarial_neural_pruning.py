"""Adversarial neural pruning: which units stay is learned under attack, and attacks may move features but little.

    weights minimise  (CE(x) + 2 CE(x~)) / 3 + suppression V,   gates  CE(x~) + beta KL / N,   N training samples
    x~ attacked by PGD in evaluation mode;  V mean distance of the features of x and x~;  KL in `gates.beta_bernoulli`

Paper: Madaan, Shin, Hwang, "Adversarial neural pruning with latent vulnerability suppression", ICML 2020,
arXiv:1908.04355. Defaults: the authors' LeNet-5 on MNIST; its learning rates fall by the course "drops" of a recipe.
Differs: pixels are not standardised before the attack (theirs on CIFAR-10 are, which lets it leave the ball); both
passes see the same masks, so that V has no noise of masks in it; all layers feel V; flattened inputs have no gates of
their own, being units of the convolution before; units that several layers make stay. Not in the paper: `pruned`,
`mask="magnitude"`, `tune`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from torch.optim import Adam

from sapwood.attacks import Ball
from sapwood.errors import InputError, refuse_unless
from sapwood.gates import BetaBernoulli, Gated
from sapwood.methods.parts.adversarial import Fight, begun, note, without
from sapwood.methods.parts.widths import removable
from sapwood.shrinking.scaling import points
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run
from sapwood.training.together import Together


@declares("rebuilds")
def adversarial_neural_pruning(
    run: Run, *, attack: bool = True, mask: str = "bayesian", suppression: float = 1e-3, eps: float = 0.3,
    low: float = 0.0, high: float = 1.0, steps: int = 20, step: float = 0.01, beta: float = 4.0, start: float = -1.0,
    threshold: float = 1e-3, pruned: float = 0.0, rate: float = 1e-3, mask_rate: float = 1e-2, decay: float = 1e-4,
    epochs: int = 200, tune: int = 0, judged: int = 1000, judge_steps: int = 40, restarts: int = 1,
    signs: int = 0,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, takes units out, trains on for `tune` epochs with the same losses; notes what withstands.

    attack, mask ("bayesian" or "none") and suppression (0 is off) are the paper's arms: without attack CE(x~) is
    CE(x) in both objectives. mask="magnitude" cuts by L1 norms, to the widths of the network given as like, else by the
    share `pruned` of each layer. With gates at least `pruned` of all units go. Radius `eps` and steps of length `step`
    are in pixels from `low` to `high`. Weights train by Adam. In the end the first `judged` test samples are attacked
    by `judge_steps` steps from so many `restarts`, and signs of masked gradients are looked for on the first `signs`.
    """
    refuse_unless("mask", mask, ("none", "bayesian", "magnitude"))
    if not (rate > 0 and mask_rate > 0 and beta >= 0 and 0 <= pruned < 1) or judged < 1 or signs < 0:
        raise InputError(f"{rate=}, {mask_rate=}, {beta=}, {pruned=}, {judged=}, {signs=}: need rates above 0, "
                         "beta and signs of 0 or more, a share in [0, 1), at least 1 sample to judge by")  # fmt: skip
    found, network = removable(run, False), run.model
    fight = Fight(Ball(eps, low, high), steps, step, attack, suppression)
    began = begun(network, run.task.example, found)
    train_by = partial(Adam, lr=rate, weight_decay=decay)
    gated, weights = None, train_by(network.parameters())
    if mask == "bayesian":
        made = partial(BetaBernoulli, start=start, threshold=threshold)
        gates = {site.name: made(site.units).to(next(network.parameters())) for site in found}
        gated = Gated(network, gates, points(run.apart.several, found))
        fight = replace(fight, penalty=gated.penalty, weight=beta / len(run.task.data.train))
        run.become(gated, Together(weights, Adam(gated.gates.parameters(), lr=mask_rate)))
    else:
        run.become(network, weights)
    yield from train(run, epochs=epochs, update=fight)
    if mask != "none":
        without(run, gated, found, pruned)
        run.become(run.model, train_by(run.model.parameters()))
    yield from train(run, epochs=tune, update=fight)
    note(run, fight, began, samples=judged, steps=judge_steps, restarts=restarts, signs=signs)
