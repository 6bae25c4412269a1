"""Pruning from scratch: frozen weights, gates that meet their level, widths within the budget, new weights."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from torch import nn
from torch.optim import Adam

from sapwood import InputError, bytes_of, macs_of, parameters_of, points, shrink, sites
from sapwood.checks import tiny_task
from sapwood.checks.tiny import tiny_conv_task
from sapwood.gates import Clamp, Gated
from sapwood.methods import METHODS
from sapwood.methods.parts.opened import shuffled
from sapwood.training.draws import luck
from sapwood.training.run import start

scratch = import_module("sapwood.methods.pruning_from_scratch")
method = METHODS["pruning_from_scratch"]


class Network(nn.Module):
    """A stream that two layers make, and units inside of its block."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Linear(6, 8), nn.BatchNorm1d(8)
        self.a, self.bn_a, self.b = nn.Linear(8, 12), nn.BatchNorm1d(12), nn.Linear(12, 8)
        self.c, self.head = nn.Linear(8, 10), nn.Linear(10, 3)

    def forward(self, x):
        x = self.bn(self.stem(x)).relu()
        x = x + self.b(self.bn_a(self.a(x)).relu())
        return self.head(self.c(x).relu())


def task():
    return replace(tiny_task(), model=lambda: Network().double())


def life(seed=0, **options):
    run = start(task(), seed)
    return run, method(run, **({"gate_epochs": 3, "epochs": 2, "rate": 0.1} | options))


def learned(network):
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def test_nothing_but_gates_and_statistics_moves_in_the_first_phase():
    run, moments = life()
    network, before = run.model, learned(run.model)
    mean = network.bn.running_mean.clone()
    for now in moments:
        if now.phase == 0:
            assert isinstance(run.model, Gated)
            assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
            assert all(((gate.value >= 0) & (gate.value <= 1)).all() for gate in run.model.gates.values())
    assert not torch.equal(network.bn.running_mean, mean)


def test_the_loss_of_the_first_step_worked_out():
    """All λ are 1: weight * (1 - level)² is 0.5 * 0.8² = 0.32."""
    plain, with_gates = (next(life(weight=weight)[1]).loss for weight in (0.0, 0.5))
    assert with_gates - plain == pytest.approx(0.32, abs=1e-6)


def test_the_mean_of_the_gates_meets_the_level():
    run, moments = life(level=0.5, gate_epochs=40, rate=0.02, epochs=0, weight=5.0)
    for _ in moments:
        if isinstance(run.model, Gated):
            values = [gate.value.detach().clone() for gate in run.model.gates.values()]
    means = torch.stack([value.mean() for value in values])
    assert torch.cat(values).mean().item() == pytest.approx(0.5, abs=0.03)
    assert means.std() > 0.01
    assert run.notes["gates_mean"] == pytest.approx(torch.cat(values).mean().item())
    assert run.notes["gates_spread"] == pytest.approx(means.std(correction=0).item())


def test_streams_keep_their_width_and_layers_within_a_block_do_not():
    run, moments = life(macs=0.6)
    for _ in moments:
        pass
    assert run.model.stem.out_features == run.model.b.out_features == 8
    assert run.model.a.out_features < 12 or run.model.c.out_features < 10


def test_as_few_units_go_as_the_budget_allows():
    """One more in the ranking of all layers would be too many, whatever the budget."""
    run = start(task(), 0)
    found = tuple(site for site in sites(run.model, run.task.data.train.inputs[:1]) if site.name in ("a", "c"))
    cost, draws = macs_of(run.model, found, run.task.data.train.inputs[:1]), torch.Generator().manual_seed(0)
    ranks = {site.name: torch.rand(site.units, generator=draws) for site in found}
    run.store("best gates").update(open=0.5, reached=0.5, ranks=ranks)
    for macs in (0.9, 0.7, 0.55):
        keep = scratch.chosen(run, run.apart.one, found, macs)
        assert cost(keep) <= macs * cost({})
        assert run.notes["macs_left"] == float(cost(keep) / cost({}))
        gone = [(float(ranks[n][u]), n, u) for n, kept in keep.items() for u in (~kept).nonzero().flatten().tolist()]
        _, name, unit = max(gone)
        keep[name][unit] = True
        assert cost(keep) > macs * cost({})


def test_equals_at_the_cut_are_counted():
    run = start(task(), 0)
    found = tuple(site for site in sites(run.model, run.task.data.train.inputs[:1]) if site.name in ("a", "c"))
    ranks = {"a": torch.tensor([0.5] * 12), "c": torch.ones(10)}
    run.store("best gates").update(open=0.5, reached=0.5, ranks=ranks)
    keep = scratch.chosen(run, run.apart.one, found, 0.8)
    assert run.notes["ties"] == int((~keep["a"]).sum()) > 0
    assert bool(keep["c"].all())


def with_ranks(ranks):
    """A run whose gates have learned these ranks of two layers, and their sites."""
    run = start(task(), 0)
    run.store("best gates").update(open=0.5, reached=0.5, ranks=ranks)
    return run, tuple(site for site in sites(run.apart.several) if site.name in ("a", "c"))


RISING = {"a": torch.arange(12.0), "c": 100 + torch.arange(10.0)}  # the first layer would go first, and whole


@pytest.mark.parametrize("quantity", ["parameters", "bytes"])
def test_a_budget_of_something_else_is_met_within_a_unit(quantity):
    run, found = with_ranks(RISING)
    count = {"parameters": parameters_of, "bytes": bytes_of}[quantity](run.model, found)
    keep = scratch.chosen(run, run.apart.one, found, 0.9, f"{quantity}=0.7")
    assert count(keep) <= 0.7 * count({})
    assert bool(keep["c"].all())
    keep["a"] = torch.arange(12) >= 12 - int(keep["a"].sum()) - 1
    assert count(keep) > 0.7 * count({})


def test_a_budget_reaches_the_network():
    run, moments = life(budget="parameters=0.7", epochs=0)
    whole = sum(p.numel() for p in run.model.parameters())
    for _ in moments:
        pass
    assert 0.5 * whole < sum(p.numel() for p in run.model.parameters()) <= 0.7 * whole


@pytest.mark.parametrize(("floor", "left"), [(0.0, 1), (0.25, 3), (0.3, 4)])
def test_a_floor_stays_of_each_layer_the_highest_gates_and_the_budget_is_met(floor, left):
    run, found = with_ranks(RISING)
    cost = macs_of(run.apart.one, found)
    keep = scratch.chosen(run, run.apart.one, found, 0.45, "", floor)
    assert keep["a"].tolist() == [False] * (12 - left) + [True] * left
    assert cost(keep) <= 0.45 * cost({})
    keep["c"] = torch.arange(10) >= 10 - int(keep["c"].sum()) - 1
    assert cost(keep) > 0.45 * cost({})
    assert run.notes["ties"] == 0


def test_a_floor_that_costs_more_than_the_budget_is_refused():
    run, found = with_ranks(RISING)
    with pytest.raises(
        InputError, match=r"floor=0.9: with so many units of each layer the network costs more than 0.5"
    ):
        scratch.chosen(run, run.apart.one, found, 0.5, "", 0.9)


def test_gates_at_0_go_by_their_shadow_which_clamping_has_not_changed():
    """Both units end at 0; the one that was open longer is the one that is pushed down harder."""
    gate = Clamp(4, shadow=True)
    for step in ([-1.0, -0.5, -0.5, 0.2], [-1.0, -0.6, 0.0, 0.2], [0.5, -3.0, -0.5, 0.1]):
        gate.value.data += torch.tensor(step)
        gate.clamp_()
    assert gate.value.tolist() == [0.5, 0, 0, 1]
    assert (gate.value + gate.clipped).tolist() == pytest.approx([-0.5, -3.1, 0, 1.5])
    rank = gate.rank()
    assert rank.argsort().tolist() == [1, 2, 0, 3]
    assert rank[0] == 0.5
    assert rank[1] < rank[2] < 0 < 1 < rank[3]
    assert list(Clamp(4).state_dict()) == ["value", "opened", "steps"]  # as checkpoints of before have it


def test_the_shadow_orders_units_in_the_method():
    run, moments = life(level=0.0, weight=50.0, gate_epochs=4, rate=0.3, epochs=0, ties="shadow")
    for _ in moments:
        if isinstance(run.model, Gated):
            gates = dict(run.model.by_site())
    ranks = run.store("best gates")["ranks"]
    at_0 = torch.cat([ranks[name][gate.value == 0] for name, gate in gates.items()])
    assert len(at_0) > 5
    assert len(at_0.unique()) == len(at_0)


def test_a_gate_at_0_is_the_network_without_the_channel():
    """Before and after it is built, in evaluation mode."""
    run = start(tiny_conv_task(), 0)
    found, network = sites(run.apart.several), run.model.eval()
    gates = {site.name: Clamp(site.units).double() for site in found}
    gated = Gated(network, gates, points(run.apart.several, found)).eval()
    for gate in gates.values():
        gate.value.data[::2] = 0
    inputs = run.task.data.test.inputs
    small = shrink(network, gated.keep(), found, example=inputs[:1]).model
    assert sum(p.numel() for p in small.parameters()) < 0.5 * sum(p.numel() for p in network.parameters())
    assert (gated(inputs) - small(inputs)).abs().max() < 1e-12


def test_gates_shuffled_across_layers_are_the_same_values_and_cost_no_more():
    run, found = with_ranks(RISING)
    dealt = shuffled(RISING, "across", 0)
    assert {name: len(rank) for name, rank in dealt.items()} == {"a": 12, "c": 10}
    assert torch.equal(torch.cat([*dealt.values()]).sort().values, torch.cat([*RISING.values()]))
    assert 0 < (dealt["a"] >= 100).sum() < 10  # of either layer
    assert all(torch.equal(rank, shuffled(RISING, "across", 0)[name]) for name, rank in dealt.items())
    assert not torch.equal(shuffled(RISING, "across", 1)["a"], dealt["a"])
    cost = macs_of(run.apart.one, found)
    assert cost(scratch.chosen(run, run.apart.one, found, 0.6, "", 0.0, "across")) <= 0.6 * cost({})


def test_shuffled_within_its_layer_a_gate_changes_no_width_and_no_number_of_the_network_that_is_trained():
    (plain, moments), (within, others) = (life(epochs=1, macs=0.6, shuffled=how) for how in ("", "within"))
    for _ in zip(moments, others, strict=True):
        pass
    assert not all(torch.equal(kept, within.cuts[0].keep[name]) for name, kept in plain.cuts[0].keep.items())
    assert all(torch.equal(p, q) for p, q in zip(plain.model.parameters(), within.model.parameters(), strict=True))


def test_multipliers_hold_the_expected_multiply_adds_to_the_budget_and_are_in_the_checkpoint():
    run, moments = life(pull="macs", macs=0.6, gate_epochs=40, rate=0.05, epochs=0)
    cost = macs_of(run.apart.one, sites(run.apart.several))
    for _ in moments:
        if isinstance(run.model, Gated):
            gated = run.model
    assert (cost(gated.open()) / cost({})).item() == pytest.approx(0.6, abs=0.03)
    assert [name for name in gated.state_dict() if name.startswith("extra")] == ["extra.linear", "extra.square"]
    assert gated.extra["square"] > 0
    assert run.notes["macs_left"] <= 0.6
    last = {name: gate.rank() for name, gate in gated.by_site().items()}
    assert all(torch.equal(rank, last[name]) for name, rank in run.store("best gates")["ranks"].items())


def test_without_multipliers_there_is_nothing_of_them():
    run, moments = life()
    next(moments)
    assert not run.model.extra
    assert isinstance(run.optimizer, Adam)


def gates(share):
    """Of ten gates so many are open."""
    found = {"a": Clamp(10)}
    found["a"].value.data = (torch.arange(10) < 10 * share).float()
    found["a"].clamp_()
    return found


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        ([(0.6, 0.9), (0.4, 0.5), (0.4, 0.7), (0.4, 0.7), (0.3, 0.6), (0.9, 1.0)], 2),
        ([(0.6, 0.9), (0.7, 0.2), (0.5, 0.1)], 2),
        ([(0.4, 0.0), (0.4, 0.0)], 0),
    ],
    ids=["the best of those open at most to the level", "none is: the last", "the first of equals"],
)
def test_which_epochs_gates_count(epochs, kept):
    run = start(task(), 0)
    seen = [(gates(share), reached) for share, reached in epochs]
    for number, (found, reached) in enumerate(seen):
        found["a"].opened += number  # so that ranks differ
        scratch.remember_best(run, found, reached, 0.4)
    best = run.store("best gates")
    assert torch.equal(best["ranks"]["a"], seen[kept][0]["a"].rank())
    assert best["open"] == pytest.approx(epochs[kept][0])


def test_where_less_is_better_the_lowest_epoch_counts():
    run = start(replace(task(), goal=("loss", "down")), 0)
    for share, reached in ((0.4, 0.7), (0.3, 0.5), (0.2, 0.6)):
        scratch.remember_best(run, gates(share), reached, 0.4)
    assert run.store("best gates")["reached"] == 0.5


def test_a_task_that_does_not_know_accuracy():
    given = task()
    run = start(replace(given, metrics=lambda outputs, batch: {}, goal=("loss", "down")), 0)
    moments = [now.metrics["valid_loss"] for now in method(run, gate_epochs=2, epochs=0) if now.ends_epoch]
    assert run.store("best gates")["reached"] in moments


def test_new_weights():
    run, moments = life(epochs=0)
    before = learned(run.model)
    for _ in moments:
        pass
    rows = run.model.stem.weight
    assert not any(torch.equal(row, old) for row in rows for old in before["stem.weight"])
    again, moments = life(seed=1, epochs=0)
    for _ in moments:
        pass
    assert not torch.equal(again.model.stem.weight, rows)
    assert all(p.requires_grad for p in run.model.parameters())


def ended(given, seed=0):
    """The small network before its first step, and the run."""
    run = start(given, seed)
    for _ in method(run, gate_epochs=1, epochs=0, macs=0.6):
        pass
    return run


def test_new_weights_are_those_of_the_tasks_rule_for_a_network_of_this_size():
    """A rule by the number of inputs: of the whole network's numbers, the small one's would be too small."""
    drawn = []

    def fresh(module):
        drawn.append(sum(p.numel() for p in module.parameters()))
        for p in module.parameters():
            nn.init.normal_(p, std=p.shape[-1] ** -0.5)

    def model():
        with torch.random.fork_rng():
            network = Network().double()
        fresh(network)
        return network

    run = ended(replace(task(), model=model, fresh=fresh))
    size = sum(p.numel() for p in run.model.parameters())
    assert drawn[-1] == size < drawn[0]
    with torch.random.fork_rng():
        words = int(torch.randint(2**32, (), generator=luck(0, "weights of its size")))
        torch.manual_seed(words)
        expected = {name: torch.randn_like(p) * p.shape[-1] ** -0.5 for name, p in run.model.named_parameters()}
    assert all(torch.allclose(p, expected[name]) for name, p in run.model.named_parameters())


def test_where_the_rule_is_not_the_tasks_weights_are_those_of_a_whole_network():
    def sevenths():
        network = Network().double()
        for p in network.parameters():
            p.data = torch.randint(8, p.shape).double() / 7
        return network

    run = ended(replace(task(), model=sevenths))
    assert not run.task.redraws
    assert all(torch.equal((7 * p).round() / 7, p) for p in run.model.parameters())
    assert start(task()).task.redraws


def test_a_rule_that_cannot_draw_everything_is_not_the_tasks():
    class Bare(Network):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(3))

    assert not replace(task(), model=lambda: Bare().double()).redraws


def test_asking_for_the_rule_moves_no_generator():
    before = torch.get_rng_state()
    assert task().redraws
    assert torch.equal(torch.get_rng_state(), before)


def test_as_costly_as_the_whole_network():
    run, moments = life(macs=0.5, epochs=3, equal_cost=True)
    steps = sum(now.phase == 1 for now in moments)
    assert run.notes["macs_left"] <= 0.5
    assert steps == int(3 / run.notes["macs_left"]) * run.task.steps_per_epoch


@pytest.mark.parametrize(
    "bad",
    [
        {"macs": 0},
        {"macs": 1.5},
        {"level": -0.1},
        {"weight": -1},
        {"rate": 0},
        {"gate_epochs": 0},
        {"floor": 1},
        {"warmup": 2},
    ],
)
def test_bad_options(bad):
    with pytest.raises(InputError, match="need macs in"):
        next(life(**bad)[1])


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"ties": "luck"}, "unknown ties 'luck'"),
        ({"budget": "half"}, "budget 'half' is none"),
        ({"shuffled": "all"}, "unknown shuffled 'all'"),
        ({"pull": "budget"}, "unknown pull 'budget'"),
    ],
)
def test_unknown_words(bad, says):
    with pytest.raises(InputError, match=says):
        next(life(**bad)[1])
