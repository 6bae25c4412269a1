"""The small network whose masks can be worked out by hand: 2-3-2-2, eight samples, sixteen weights.

Kernels are written inputs x neurons, as papers do; Linear.weight is their transpose.
"""

import pytest
import torch
from torch import nn

from sapwood import schedule
from sapwood.criteria import CRITERIA
from sapwood.measure import flops
from sapwood.methods.parts import cycles
from sapwood.scoring.answers import hidden
from sapwood.scoring.criterion import score
from sapwood.scoring.observation import observe, observing
from sapwood.scoring.statistics import active, inactive
from sapwood.training.run import Run, start
from sapwood.training.task import Batch, Data, Task

W1, B1 = [[3, -1, 3], [-2, -2, 4]], [0, 1, 1]
W2, B2 = [[3, -3], [-1, 1], [4, 1]], [0, 1]
W3, B3 = [[-5, -3], [-4, -3]], [0, 0]
X = [[-2, 2], [0, 2], [2, -1], [1, -1], [1, 2], [2, 1], [-1, 1], [-1, -2]]

Kernel = list[list[int]]


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        for at, (kernel, bias) in zip((0, 2, 4), ((W1, B1), (W2, B2), (W3, B3)), strict=True):
            model[at].weight.copy_(torch.tensor(kernel).T)
            model[at].bias.copy_(torch.tensor(bias))
    return model


@pytest.fixture
def run() -> Run:
    samples = Batch(torch.tensor(X, dtype=torch.float64), torch.zeros(8, dtype=torch.long))
    task = Task("hand", network, Data(samples, samples, samples), lambda p: torch.optim.SGD(p, lr=0.1), classes=2)
    return start(task)


def seen(run: Run, *statistics):
    return observe(run.model, [run.task.data.train], *statistics, only=hidden(run.model))


def masks(run: Run) -> tuple[Kernel, Kernel]:
    """Inputs x neurons, 1 = kept, for both hidden layers."""
    ones = {n: torch.ones_like(p, dtype=torch.bool) for n, p in run.model.named_parameters()} | run.masks
    return ones["0.weight"].T.int().tolist(), ones["2.weight"].T.int().tolist()


def prune(run: Run, criterion: str, count: int, layers: list[str] | None = None, evidence=None, **options) -> None:
    judge = CRITERIA[criterion]
    layers = hidden(run.model) if layers is None else layers
    cycles.prune_lowest(run, judge, evidence or seen(run, *judge.needs), layers, count, **options)


def test_hidden_outputs_and_counters(run):
    model, x = run.model, run.task.data.train.inputs
    h1 = model[1](model[0](x))
    assert h1.int().tolist() == [
        [0, 0, 3],
        [0, 0, 9],
        [8, 1, 3],
        [5, 2, 0],
        [0, 0, 12],
        [4, 0, 11],
        [0, 0, 2],
        [1, 6, 0],
    ]
    h2 = model[3](model[2](h1))
    assert h2.int().tolist() == [[12, 4], [36, 10], [35, 0], [13, 0], [48, 13], [56, 0], [8, 3], [0, 4]]
    counts = seen(run, active, inactive)
    assert [counts[n][active].tolist() for n in ("0", "2")] == [[4, 3, 6], [7, 5]]
    assert [counts[n][inactive].tolist() for n in ("0", "2")] == [[4, 5, 2], [1, 3]]


def test_scores(run):
    scores = score(run.model, CRITERIA["active_magnitude"], seen(run, active), only=hidden(run.model))
    assert scores["0.weight"].T.int().tolist() == [[12, 3, 18], [8, 6, 24]]
    assert scores["2.weight"].T.int().tolist() == [[21, 15], [7, 5], [28, 5]]


ALL = [[1, 1, 1], [1, 1, 1]]
GLOBAL = [
    ("activity", 4, [[0, 0, 1], [0, 0, 1]], [[1, 1], [1, 1], [1, 1]]),
    ("activity", 5, [[0, 0, 1], [0, 0, 1]], [[1, 0], [1, 1], [1, 1]]),  # the partial column
    ("active_magnitude", 4, [[1, 0, 1], [1, 0, 1]], [[1, 1], [1, 0], [1, 0]]),
    ("active_magnitude", 5, [[1, 0, 1], [1, 0, 1]], [[1, 1], [0, 0], [1, 0]]),
    ("magnitude", 4, [[1, 0, 1], [1, 1, 1]], [[1, 1], [0, 0], [1, 0]]),
]


@pytest.mark.parametrize(("criterion", "count", "first", "second"), GLOBAL)
def test_global_masks(run, criterion, count, first, second):
    prune(run, criterion, count)
    assert masks(run) == (first, second)


def test_whole_neurons_never_cut_a_column_in_part(run):
    prune(run, "activity", 5, whole_neurons=True)
    assert masks(run) == ([[0, 0, 1], [0, 0, 1]], [[1, 1], [1, 1], [1, 1]])


def test_local_neurons_with_a_recount_after_each_layer(run):
    assert (schedule.counts_of((0.5,), 3)[0], schedule.counts_of((0.5,), 2)[0]) == (1, 1)
    prune(run, "activity", 1 * 2, ["0"])
    assert masks(run) == ([[1, 0, 1], [1, 0, 1]], [[1, 1], [1, 1], [1, 1]])
    assert seen(run, active)["2"][active].tolist() == [8, 5]
    prune(run, "activity", 1 * 3, ["2"])
    assert masks(run) == ([[1, 0, 1], [1, 0, 1]], [[1, 0], [1, 0], [1, 0]])


def test_local_neurons_and_weights_with_a_recount_after_each_layer(run):
    prune(run, "active_magnitude", 3, ["0"])
    assert masks(run)[0] == [[1, 0, 1], [0, 0, 1]]
    again = seen(run, active)
    assert again["2"][active].tolist() == [7, 5]
    scores = score(run.model, CRITERIA["active_magnitude"], again, only=["2"])["2.weight"]
    assert scores.T.int().tolist() == [[21, 15], [7, 5], [28, 5]]
    prune(run, "active_magnitude", 3, ["2"])
    assert masks(run) == ([[1, 0, 1], [0, 0, 1]], [[1, 1], [0, 0], [1, 0]])


def test_dead_and_constant_neurons_after_a_prune(run):
    prune(run, "activity", 4)
    counts = seen(run, active)
    # Neuron 1 has bias 0 and never fires again; neuron 2 has bias 1 and fires always, though all its weights are 0.
    assert [counts[n][active].tolist() for n in ("0", "2")] == [[0, 8, 6], [6, 8]]


def test_second_cycle_with_accumulated_counters(run):
    total = seen(run, active)
    prune(run, "active_magnitude", 4, evidence=total)
    cycles.gather(total, seen(run, active))
    assert [total[n][active].tolist() for n in ("0", "2")] == [[8, 11, 12], [15, 9]]
    prune(run, "active_magnitude", 3, evidence=total)
    assert masks(run) == ([[0, 0, 1], [0, 0, 1]], [[1, 1], [0, 0], [1, 0]])


def test_schedule_on_sixteen_weights(run):
    assert cycles.counts(run, 0.5, 2) == (4, 3)
    assert cycles.counts(run, 0.5, 2, shares="uniform") == (4, 4)
    assert cycles.counts(run, 0.5, 2, base_of="prunable") == (3, 2)


def test_flops_before_and_after(run):
    example = run.task.data.train.inputs[:1]
    assert flops(run.model, example) == 32
    prune(run, "activity", 4)
    assert flops(run.model, example) == 24


def test_the_counter_of_a_training_stream_is_the_sum_over_its_batches(run):
    with observing(run.model, active, only=hidden(run.model), training=True) as counts:
        run.model.train()
        for rows in (slice(0, 3), slice(3, 8)):
            run.model(run.task.data.train.inputs[rows])
        run.model.eval()
        run.model(run.task.data.train.inputs)  # an evaluation in between is not counted
    assert [counts[n][active].tolist() for n in ("0", "2")] == [[4, 3, 6], [7, 5]]
