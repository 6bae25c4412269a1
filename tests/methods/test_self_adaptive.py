"""Self-adaptive pruning: which layers decide, the course of training, the budget, and what is told of masks."""

from dataclasses import replace

import pytest
import torch
from planted import self_adapting
from torch import nn

from sapwood import InputError
from sapwood.checks.tiny import tiny_conv_task, tiny_task
from sapwood.gates import Gated
from sapwood.methods import METHODS
from sapwood.methods.parts import adaptivity
from sapwood.methods.parts.widths import removable
from sapwood.tasks import TASKS
from sapwood.training.given import Given
from sapwood.training.run import start

method = METHODS["self_adaptive"]
LAWS = self_adapting.laws()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_adaptivity(law):
    law()


def deciding(run):
    return {name: reads for name, (_, reads) in adaptivity.deciding(run, removable(run)).items()}


def test_convolutions_decide_except_the_first_and_linear_layers_where_there_are_none():
    assert deciding(start(tiny_conv_task())) == {"4": 4}
    assert deciding(start(tiny_task())) == {"2": 8}


class Residual(nn.Module):
    """A stream that two layers make, and one convolution inside of the block."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 4, 1)
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.b(self.a(x).relu())).relu().flatten(1))


def test_of_a_block_the_inner_convolutions_decide():
    run = start(replace(tiny_conv_task(), model=lambda: Residual().double()))
    assert deciding(run) == {"a": 4}


def test_without_a_second_layer_there_is_nothing_to_decide():
    model = lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).double()  # noqa: E731
    with pytest.raises(InputError, match="no layer but its first whose units it alone makes"):
        next(method(start(replace(tiny_conv_task(), model=model))))


def test_all_gates_are_open_in_the_warm_up_and_noise_is_gone_when_the_budget_is_reached():
    run, seen = start(tiny_conv_task(), 0), {}
    for now in method(run, warm=0.25, reached=0.75, epochs=4):  # of 12 steps: 3, 9
        gate = run.model.by_site()["4"]
        seen[now.step] = (bool(gate.awake), float(gate.noise), bool((gate.passed == 1).all()))
    assert all(seen[step] == (False, 1.0, True) for step in (1, 2, 3, 4))  # the step before it is made
    assert [seen[step][1] for step in (5, 7, 10, 12)] == pytest.approx([5 / 6, 0.5, 0.0, 0.0])
    assert all(seen[step][0] for step in range(5, 13))


def test_the_mean_cost_meets_the_budget_and_layers_and_samples_differ():
    """Within 2 points; rates of layers are apart by 0.05, masks by 2 % of units."""
    run = start(TASKS["conv_digits"](), 0)
    for _ in method(run, budget=0.5, epochs=8):
        pass
    notes = run.notes
    assert isinstance(run.model, Gated)
    assert notes["macs_mean"] == pytest.approx(0.5, abs=0.02)
    assert notes["macs_least"] < notes["macs_mean"] < notes["macs_most"]
    assert notes["rates_spread"] > 0.05
    assert notes["distance"] > 0.02
    assert notes["own_accuracy"] > 0.9


def test_with_a_network_as_like_costs_are_compared_with_its_losses():
    run = start(tiny_conv_task(), 0)
    run.given = {"like": Given(run.task.model().state_dict(), {}, 1.0, build=run.task.model)}
    for _ in method(run, epochs=1):
        pass
    assert -1 <= run.notes["loss_and_macs"] <= 1
    assert run.notes["loss_and_macs_error"] == pytest.approx(15**-0.5)


def test_equals_share_their_place():
    assert adaptivity.ranks(torch.tensor([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


@pytest.mark.parametrize(
    "bad",
    [{"budget": 0}, {"budget": 1.5}, {"warm": 0.7}, {"reached": 1.1}, {"rate": 0}, {"weight": -1}, {"judged": -1}],
)
def test_bad_options(bad):
    with pytest.raises(InputError, match="need a budget in"):
        next(method(start(tiny_conv_task()), **bad))
