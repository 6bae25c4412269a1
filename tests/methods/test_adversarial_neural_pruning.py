"""Adversarial neural pruning: both objectives, masks that both passes share, what is cut, and what is noted."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sapwood import InputError, sites
from sapwood.attacks import Ball, features, vulnerability
from sapwood.checks import tiny_task
from sapwood.checks.tiny import seeded, tiny_samples
from sapwood.gates import BetaBernoulli, Gated
from sapwood.methods import METHODS
from sapwood.methods.parts import adversarial
from sapwood.methods.parts.adversarial import Fight, memory
from sapwood.models.lenet5 import lenet5
from sapwood.shrinking.scaling import points
from sapwood.training.given import Given
from sapwood.training.run import start
from sapwood.training.task import Batch, Data

method = METHODS["adversarial_neural_pruning"]
QUICK = {"eps": 0.1, "steps": 2, "step": 0.05, "epochs": 1, "judged": 16, "judge_steps": 2}
SOME_GO = {"threshold": 0.68, "start": 2.0, "beta": 0.0, "mask_rate": 0.3, "epochs": 2}  # E[π] is 0.68 at first


def pixels(batch):
    return Batch(torch.sigmoid(batch.inputs), batch.targets)


TASK = replace(
    tiny_task(),
    data=Data(pixels(tiny_samples()), pixels(tiny_samples(16, seed=1)), pixels(tiny_samples(16, seed=2))),
    batch_size=24,
)


def ended(task=TASK, seed=0, like=None, **options):
    """A run at its end, and the networks as its moments saw them."""
    run = start(task, seed)
    if like is not None:
        run.given = {"like": like}
    return run, [run.model for _ in method(run, **(QUICK | options))]


def gated_run(**options):
    """A run with gates on the tiny network, and its first batch."""
    run = start(replace(TASK, model=lambda: TASK.model().eval()))
    found = sites(run.apart.several)
    gates = {site.name: BetaBernoulli(site.units, **options).double() for site in found}
    run.become(Gated(run.model, gates, points(run.apart.several, found)))
    return run, run.task.batch(0, 0)


# ---- what is minimised ----


@pytest.mark.parametrize("attacked", [True, False])
@pytest.mark.parametrize("suppression", [0.0, 0.7])
def test_weights_and_gates_follow_their_own_objectives(monkeypatch, attacked, suppression):
    """With an attack that moves every pixel by 0.05, and gates that draw nothing, both are worked out apart."""
    run, batch = gated_run()
    network = run.model.eval()
    moved = Batch(batch.inputs + 0.05, batch.targets)
    monkeypatch.setattr(Fight, "_attack", lambda self, model, batch: moved)
    _, told = Fight(Ball(0.1), 1, 0.1, attacked, suppression, network.penalty, 0.3)(run, batch)
    found = {name: p.grad.clone() for name, p in network.named_parameters()}

    with features(network) as seen:
        lost = nn.functional.cross_entropy(network(batch.inputs), batch.targets)
        clean = dict(seen)
        hurt = nn.functional.cross_entropy(network(moved.inputs), batch.targets)
        of_weights = (lost + 2 * hurt) / 3 if attacked else lost
        of_weights = of_weights + suppression * vulnerability(clean, seen)
    of_gates = (hurt if attacked else lost) + 0.3 * network.penalty()
    assert told.item() == pytest.approx(of_weights.item(), rel=1e-12)
    for of, parameters in ((of_weights, network.model), (of_gates, network.gates)):
        names = [name for name, p in network.named_parameters() if any(p is other for other in parameters.parameters())]
        slopes = torch.autograd.grad(of, list(parameters.parameters()), retain_graph=True)
        for name, slope in zip(names, slopes, strict=True):
            torch.testing.assert_close(found[name], slope, rtol=1e-9, atol=1e-14)


def test_both_passes_see_the_same_masks():
    """Of images that no attack has moved, the vulnerability is 0 and not the noise of the masks."""
    run, batch = gated_run(start=0.5)
    run.model.gates.train()
    fight = Fight(Ball(0.0), 1, 0.1, True, 1.0)
    with seeded(0):
        told = fight(run, batch)[1].item()
    with seeded(0):
        plain = replace(fight, suppression=0.0)(run, batch)[1].item()
    assert told == plain
    with seeded(0):
        assert fight(run, batch)[1].item() == told != fight(run, batch)[1].item()  # but others in another step


def test_images_are_attacked_only_where_somebody_looks_at_them(monkeypatch):
    """Of two steps and the judging in the end."""
    asked = []

    def watched(model, inputs, targets, **options):
        asked.append((options["ball"], options["steps"], options.get("step")))
        return inputs

    monkeypatch.setattr(adversarial, "pgd", watched)
    for options, count in (({"attack": False, "suppression": 0.0}, 1), ({"attack": False}, 3), ({}, 3)):
        asked.clear()
        ended(**options, judge_steps=7)
        assert asked == [(Ball(0.1), 2, 0.05)] * (count - 1) + [(Ball(0.1), 7, None)]


def test_suppression_lowers_the_vulnerability():
    notes = [ended(mask="none", suppression=weight, epochs=8, rate=0.02)[0].notes for weight in (0.0, 5.0)]
    assert notes[1]["vulnerability"] < notes[0]["vulnerability"]


# ---- what is cut ----


def test_the_small_network_answers_as_the_gated_one():
    """The gates' means have been folded into its weights, once; units with a lower one than the threshold have gone."""
    run = start(TASK)
    moments = method(run, **QUICK | SOME_GO)
    x, said = run.task.data.test.inputs, []
    for _ in moments:
        run.model.eval()
        said.append(run.model(x).detach())
        run.model.train()
    assert 0 < run.notes["units_removed"] < 14 / 16
    torch.testing.assert_close(run.model.eval()(x), said[-1], rtol=0, atol=1e-12)


def test_at_least_the_share_asked_for_goes_and_more_by_the_threshold():
    for pruned, gone in ((0.4, 6), (0.99, 14)):  # int(0.4 * 16), and one unit of each layer stays
        run, _ = ended(pruned=pruned, start=2.0)
        assert sum(cut.units for cut in run.cuts) == gone
        assert run.notes["units_removed"] == gone / 16


def test_magnitude_cuts_to_the_widths_of_another_network():
    first, _ = ended(**SOME_GO)
    like = Given(first.model.state_dict(), {}, 3.0, rebuilt=True)
    run, networks = ended(mask="magnitude", like=like, tune=1)
    assert [tuple(p.shape) for p in run.model.parameters()] == [tuple(p.shape) for p in first.model.parameters()]
    assert run.notes["memory_left"] == first.notes["memory_left"]
    assert len(networks) == 4
    alone, _ = ended(mask="magnitude", pruned=0.5)
    assert [alone.model[0].out_features, alone.model[2].out_features] == [4, 4]


# ---- what is noted ----


def test_what_is_noted():
    run, _ = ended(mask="none", epochs=3, restarts=2)
    notes = run.notes
    assert not run.rebuilt
    assert notes["pgd_accuracy"] <= notes["clean_accuracy"]
    assert notes["fgsm_accuracy"] <= notes["clean_accuracy"]
    assert notes["vulnerability"] > 0 < notes["vulnerability_relative"]
    assert (notes["units_removed"], notes["memory_left"], notes["macs_left"]) == (0, 1, 1)
    assert "signs" not in notes


def test_signs_of_masked_gradients_are_noted_where_they_are_asked_for():
    notes = ended(mask="none", signs=10)[0].notes
    assert notes["signs"] in range(5)
    assert notes["unlimited_accuracy"] <= notes["longer_accuracy"] <= 1


def test_the_memory_of_lenet5_by_hand():
    """431,080 parameters; 25 numbers at 576 places, 500 at 64; 800 and 500 of the dense layers."""
    assert memory(lenet5(), torch.zeros(1, 1, 28, 28)) == 431_080 + 25 * 576 + 500 * 64 + 800 + 500


def test_removed_features_count_as_not_moved():
    notes = [ended(pruned=share, start=2.0)[0].notes for share in (0.0, 0.8)]
    assert notes[1]["vulnerability"] < notes[0]["vulnerability"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"mask": "gaussian"}, "unknown mask 'gaussian'"),
        ({"rate": 0.0}, "need rates above 0"),
        ({"pruned": 1.0}, "a share in"),
        ({"judged": 0}, "at least 1 sample to judge by"),
        ({"signs": -1}, "beta and signs of 0 or more"),
        ({"steps": 0}, "steps=0, step=0.05, suppression=0.001: give at least 1 step"),
        ({"suppression": -1.0}, "a weight of 0 or more"),
        ({"eps": -0.1}, "give a finite eps of 0 or more"),
    ],
)
def test_bad_options(bad, says):
    with pytest.raises(InputError, match=says):
        next(method(start(TASK), **QUICK | bad))


def test_images_that_are_no_pixels_are_refused():
    """As those of a task that normalises them: an attack that is cut off at 0 and 1 would leave the ball."""
    with pytest.raises(
        InputError, match="outside of 0 to 1; attack pixels, and put the normalisation into the network"
    ):
        next(method(start(tiny_task()), **QUICK))
