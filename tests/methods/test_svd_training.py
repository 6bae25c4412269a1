"""SVD training: what is cut, by energy and by budget, and a life that is interrupted while s becomes sparse."""

import pytest
import torch
from recurrent import recurrent_task
from torch.optim import SGD, Adam

from sapwood import METHODS, InputError, start
from sapwood.checks.life import saved_now
from sapwood.checks.tiny import tiny_task
from sapwood.methods.parts.components import components, factorise
from sapwood.methods.parts.singular import decomposed, energies, penalise
from sapwood.training.loop import descend

OPTIONS = {"sparsity": 0.5, "epochs": 1, "sparse_epochs": 2, "tune": 1}


def test_a_life_interrupted_while_s_becomes_sparse_has_the_same_end():
    run, states = start(recurrent_task(length=1)), []
    middle = run.task.steps_per_epoch + 3
    run.between = lambda run: states.append(saved_now(run)) if run.step == middle else None
    whole = [now.loss for now in METHODS["svd_training"](run, **OPTIONS)]
    assert 0.5 <= run.notes["sparsity_of_components"] < 0.64  # a feature of the embedding is 13 % of them
    assert set(run.notes) >= {"energy", "spread", "cut_valid_bits"}
    again = start(recurrent_task(length=1), saved=states[0])
    assert [now.loss for now in METHODS["svd_training"](again, **OPTIONS)] == whole[middle:]
    assert all(torch.equal(p, q) for p, q in zip(run.model.parameters(), again.model.parameters(), strict=True))


def test_an_energy_drops_the_smallest_of_each_layer_up_to_it():
    run = start(tiny_task())
    factorise(run)
    sigma = {name: gate.draw(None).detach() for name, gate in
             decomposed(run, components(run.apart.several)).by_site().items()}  # fmt: skip
    run = start(tiny_task())
    list(METHODS["svd_training"](run, energy=0.3, epochs=0, sparse_epochs=0, tune=0))
    for name, kept in run.cuts[0].keep.items():
        share = sigma[name].square() / sigma[name].square().sum()
        assert kept.tolist() == (energies(sigma)[name] > 0.3).tolist()
        assert float(share[~kept].sum()) <= 0.3 < float(share[~kept].sum() + share[kept].min())
    gone = max(float(energies(sigma)[name][~kept].max()) for name, kept in run.cuts[0].keep.items())
    assert run.notes["energy"] == gone


def test_both_terms_are_in_the_loss_and_a_layer_that_is_0_has_gradients():
    run = start(tiny_task())
    factorise(run)
    found = components(run.apart.several)
    gated = decomposed(run, found)
    batch, losses = run.task.batch(0, 0), {}
    with torch.no_grad():
        run.model.eval()
        run.model.model.get_submodule("0")[1].weight.mul_(2)  # UᵀU is 4 I: 3² of 9 on the diagonal, in 3 x 3
        sums = [gate.draw(None).sum() / gate.draw(None).norm() for gate in gated.by_site().values()]
    for orthogonal, strength in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.2)):
        penalise(run, found, orthogonal=orthogonal, strength=strength, measure="hoyer")
        losses[orthogonal, strength] = float(run.loss(gated, batch, gated(batch.inputs)).detach())
    assert losses[0.5, 0.0] - losses[0.0, 0.0] == pytest.approx(0.5 * 9 * 3 / 9, abs=1e-9)
    assert losses[0.0, 0.2] - losses[0.0, 0.0] == pytest.approx(0.2 * float(sum(sums)), abs=1e-9)
    gated.by_site()["0.0"].value.data.zero_()
    descend(run, batch)
    assert all(bool(p.grad.isfinite().all()) for p in gated.parameters())


@pytest.mark.parametrize("task", [tiny_task(SGD, lr=0.3), tiny_task(Adam, lr=0.3)])
def test_steep_products_learn_slowly_where_steps_grow_with_them(task):
    run = start(task)
    factorise(run)
    gated = decomposed(run, components(run.apart.several))
    for gate, group in zip(gated.by_site().values(), run.optimizer.param_groups, strict=False):
        assert group["params"][0] is gate.value
        steep = 1 + 2 * float(gate.value.detach().max()) ** 2 if isinstance(run.optimizer, SGD) else 1
        assert group["lr"] == pytest.approx(0.3 / steep, rel=1e-12)
    assert run.optimizer.param_groups[-1]["lr"] == 0.3


@pytest.mark.parametrize(
    "wrong", [{"sparsity": 0.0}, {"energy": 1.0}, {"measure": "rank"}, {"strength": -1.0}, {"epochs": -1}]
)
def test_bad_options_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        list(METHODS["svd_training"](start(tiny_task()), **wrong))
