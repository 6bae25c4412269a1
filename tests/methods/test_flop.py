"""FLOP: what components cost, how a budget pushes, what is cut, and its controls of equal size."""

import pytest
import torch
from recurrent import SMALL, recurrent_task
from torch import nn

from sapwood import METHODS, InputError, start
from sapwood.checks.life import saved_now
from sapwood.checks.tiny import tiny_task
from sapwood.gates import Gated, HardConcrete
from sapwood.methods.parts.components import budget, components, elsewhere, factorise, norms, ordered_, shares
from sapwood.methods.parts.constrained import settled
from sapwood.models.sru import sru
from sapwood.reconstruction.factors import Factored
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.scaling import points
from sapwood.shrinking.tracing.anatomy import Anatomy

EXAMPLE = torch.tensor([[1, 2], [3, 4]])
COSTS = {"tokens": 128 + 32, "layers.1.weight.0": 8 + 24, "layers.2.weight.0": 8 + 24}  # d_in + d_out
WHOLE = 6 * 160 + 2 * 4 * 32


@pytest.fixture(scope="module")
def host():
    torch.manual_seed(0)
    model = sru(**SMALL, dtype=torch.float64).eval()
    return model, components(Anatomy(model, EXAMPLE))


def test_each_component_costs_its_column_and_its_row(host):
    model, found = host
    size = budget(model, found)
    every = sum(p.numel() for p in model.parameters())
    assert size.whole == every
    assert size.whole - size.least == WHOLE
    gates = {site.name: HardConcrete(site.units).double() for site in found}
    for number, gate in enumerate(gates.values()):
        nn.init.normal_(gate.log_alpha, generator=torch.Generator().manual_seed(number))
    left = sum(COSTS[name] * torch.sigmoid(gate.log_alpha + 2.3978952727983707).sum() for name, gate in gates.items())
    expected = size.sparsity({name: gate.open() for name, gate in gates.items()})
    assert float(expected.detach()) == pytest.approx(float(1 - left.detach() / WHOLE), abs=1e-12)
    expected.backward()
    for name, gate in gates.items():
        p = gate.open().detach()
        torch.testing.assert_close(gate.log_alpha.grad, -COSTS[name] / WHOLE * p * (1 - p), rtol=0, atol=1e-12)


def test_the_lowest_go_until_the_size_is_met_and_one_of_each_stays(host):
    model, found = host
    size, scores = budget(model, found), shares(found)
    for sparsity in (0.3, 0.6, 0.8):
        keep = size.within(scores, sparsity)
        gone = sum(COSTS[name] * int((~kept).sum()) for name, kept in keep.items()) / WHOLE
        assert sparsity <= gone < sparsity + max(COSTS.values()) / WHOLE
        assert float(size.sparsity(keep)) == pytest.approx(gone, abs=1e-12)
        assert all(bool(kept.any()) for kept in keep.values())


def test_singular_components_are_ordered_and_the_network_is_the_same(host):
    model, found = host
    before = model(EXAMPLE).detach()
    ordered_(model, found)
    torch.testing.assert_close(model(EXAMPLE).detach(), before, rtol=0, atol=1e-10)
    for name, each in norms(model, found).items():
        assert each.tolist() == sorted(each.tolist(), reverse=True)
        outer, inner = (model.tokens.weight, model.layers[0].weight.weight) if name == "tokens" else (None, None)
        if outer is None:
            pair = model.get_submodule(name[:-2])
            outer, inner = pair[0].weight.T, pair[1].weight
        sigma = torch.linalg.svdvals((inner @ outer.T).detach())[: len(each)]
        torch.testing.assert_close(each, sigma, rtol=0, atol=1e-10)


def test_factors_cost_no_more_than_the_layers_did():
    run = start(tiny_task())
    before = run.size().weights
    factorise(run)
    pairs = {name: module for name, module in run.model.named_modules() if isinstance(module, Factored)}
    assert {name: len(pair[0].weight) for name, pair in pairs.items()} == {"0": 48 // 14, "2": 64 // 16}
    assert before - 16 < run.size().weights <= before
    left = [site.name for site in components(run.apart.several)]
    assert left == ["0.0", "2.0"]
    factorise(run, 1)  # has factors
    assert run.model.get_submodule("0") is pairs["0"]


def test_what_is_built_answers_as_the_gated_network():
    run = start(recurrent_task())
    found = components(run.apart.several)
    gates = {site.name: HardConcrete(site.units, drop=0.1).double() for site in found}
    for gate in gates.values():
        gate.log_alpha.data[1] = -7.0
    gated = Gated(run.model, gates, points(run.apart.several, found))
    run.become(gated)
    size = budget(gated.model, found)
    inputs = run.task.example
    with evaluating(gated), torch.no_grad():
        for gate in gates.values():  # P(open) is not 1, so that more would go than the one
            gate.keep = lambda gate=gate: gate.log_alpha > 0
        wanted = gated(inputs)
    scores = settled(run, found, size)
    run.shrink({name: each > 0 for name, each in scores.items()}, found)
    assert [int((~kept).sum()) for kept in run.cuts[0].keep.values()] == [1, 1, 1]
    with evaluating(run.model), torch.no_grad():
        torch.testing.assert_close(run.model(inputs), wanted, rtol=0, atol=1e-12)


OPTIONS = {"sparsity": 0.5, "rate": 0.3, "epochs": 1, "gate_epochs": 2, "tune": 1}


def test_a_life_interrupted_while_gates_learn_has_the_same_end():
    run, states = start(recurrent_task(length=1)), []
    run.between = lambda run: states.append(saved_now(run)) if run.step == run.task.steps_per_epoch + 3 else None
    whole = [now.loss for now in METHODS["flop"](run, **OPTIONS)]
    assert set(run.notes) >= {"expected_sparsity", "decided", "sparsity_of_components", "spread", "cut_valid_bits"}
    assert 0.5 <= run.notes["sparsity_of_components"] < 0.64  # a feature of the embedding is 13 % of them
    again = start(recurrent_task(length=1), saved=states[0])
    assert [now.loss for now in METHODS["flop"](again, **OPTIONS)] == whole[run.task.steps_per_epoch + 3 :]
    assert all(torch.equal(p, q) for p, q in zip(run.model.parameters(), again.model.parameters(), strict=True))


def test_a_fresh_network_of_that_size_trains_for_all_epochs():
    run = start(recurrent_task(length=1))
    steps = [now.step for now in METHODS["flop"](run, by="fresh", **OPTIONS)]
    assert len(steps) == 4 * run.task.steps_per_epoch
    assert [int(kept.sum()) for kept in run.cuts[0].keep.values()] == [3, 2, 2]
    assert run.notes["sparsity_of_components"] == 0.5


def test_shuffled_components_are_as_many_of_each_layer():
    keep = {"a": torch.arange(40) < 30, "b": torch.arange(40) < 10}
    dealt = elsewhere(keep, 3)
    assert {name: int(kept.sum()) for name, kept in dealt.items()} == {"a": 30, "b": 10}
    assert not any(torch.equal(kept, keep[name]) for name, kept in dealt.items())
    assert all(torch.equal(kept, elsewhere(keep, 3)[name]) for name, kept in dealt.items())


@pytest.mark.parametrize(
    "wrong", [{"sparsity": 0.0}, {"drop": 1.0}, {"rate": 0.0}, {"rise": 1.5}, {"by": "luck"}, {"epochs": -1}]
)
def test_bad_options_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        list(METHODS["flop"](start(recurrent_task(length=1)), **wrong))


def test_a_network_without_components_is_refused():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.only = nn.Linear(6, 3)

        def forward(self, x):
            return self.only(x)

    with pytest.raises(InputError, match="Bare has no linear layer that can be two factors"):
        components(Anatomy(Bare(), torch.ones(2, 6)))
