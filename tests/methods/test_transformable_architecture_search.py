"""Transformable architecture search: what shapes cost, whose turn it is, who teaches, what is built."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from residual import Residual, residual_task
from torch import nn
from torch.optim import SGD

from sapwood import InputError, evaluate
from sapwood.checks.tiny import tiny_conv_task, tiny_samples
from sapwood.gates import Interpolated
from sapwood.methods import METHODS
from sapwood.methods.parts.equal_macs import become_like
from sapwood.methods.parts.searching import Search, Some, in_turn, space
from sapwood.methods.parts.structures import stages
from sapwood.methods.parts.widths import removable
from sapwood.methods.transformable_architecture_search import rebuild
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.tasks.recipe import taught
from sapwood.training.given import Given
from sapwood.training.losses import distil
from sapwood.training.run import start

method = METHODS["transformable_architecture_search"]
QUICK = {"rate": 0.3, "teach_epochs": 0, "search_epochs": 2, "epochs": 0}


def searching(blocks=3, **preferences):
    """A run and its space; `preferences`: {site: the size that is preferred for sure}, "_" for dots."""
    run = start(residual_task(blocks), 0)
    found = space(run, removable(run), True)
    for name, gate in found.gated.by_site().items():
        key = name.replace(".", "_").replace(" ", "_")
        if key in preferences:
            gate.preference.data.zero_()[gate.sizes.index(preferences[key])] = 1e6
    return run, found


SURE = {
    "blocks_0_fc1": 2, "blocks_1_fc1": 4, "blocks_2_fc1": 1, "blocks_3_fc1": 3, "blocks_4_fc1": 5,
    "depth_of_blocks_0_bn2": 3,
}  # fmt: skip


# ---- what shapes cost ----


def test_the_expected_cost_worked_out():
    """Blocks cost 6 E + E 6; sizes 1 to 5 are equally probable, E = 3; so are depths 1 and 3: two blocks cost half."""
    _, found = searching()
    for gate in found.gated.by_site().values():
        gate.preference.data.zero_()
    assert found.cost(found.gated.open()).item() == pytest.approx(36 + 36 + 2 * 0.5 * 36 + 18)
    found.gated.by_site()["blocks.2.fc1"].preference.data[4] = math.log(4)  # E is (1 + 2 + 3 + 4 + 4 * 5) / 8
    assert found.cost(found.gated.open()).item() == pytest.approx(36 + 36 + 0.5 * (36 + 12 * 3.75) + 18)


def test_sure_of_its_shape_expected_and_counted_cost_are_that_of_what_is_built():
    run, found = searching(5, **SURE)
    expected, counted = found.cost(found.gated.open()).item(), found.cost(found.found()).item()
    rebuild(run, found)
    assert run.size().macs == expected == counted == 36 + 12 * (2 + 4 + 1) + 18
    assert [block.fc1.out_features for block in run.model.blocks[:3]] == [2, 4, 1]
    assert not any(True for block in run.model.blocks[3:] for _ in block.parameters())  # gone with all of their numbers
    assert run.notes["blocks_out"] == 2
    assert run.notes["macs_left"] == expected / run.reference.macs


def test_controls_of_a_shape_without_blocks_have_all_blocks_and_cost_as_much():
    run, found = searching(5, **SURE)
    rebuild(run, found)
    like = Given(run.model.state_dict(), {}, 1.0, True, lambda: deepcopy(run.model))
    for widths in ("uniform", "random"):
        other = start(residual_task(5), 0)
        become_like(other, like, widths)
        assert run.size().macs - 12 < other.size().macs <= run.size().macs
        assert all(any(True for _ in block.parameters()) for block in other.model.blocks)
    with pytest.raises(InputError, match=r"'blocks.3.fc1' is not in .* give uniform or random widths"):
        become_like(start(residual_task(5), 0), like, "units")


def test_in_evaluation_the_searched_network_is_the_one_that_is_built_but_for_its_weights():
    run, found = searching(5, **SURE)
    found.gated.eval()
    baked, _ = found.gated.bake()
    x = run.task.data.test.inputs
    with torch.no_grad():
        y = baked.eval().stem(x)
        for block in baked.blocks[:3]:
            y = block(y)
        assert torch.allclose(found.gated(x), baked.head(y), rtol=0, atol=1e-12)


def test_blocks_of_one_shape_are_a_stage_and_its_depths_are_odd_or_all():
    anatomy = Anatomy(resnet_cifar(26, width=4), torch.randn(2, 3, 16, 16))
    found = stages(anatomy)
    assert [len(blocks) for blocks in found.values()] == [4, 4, 4]
    assert list(found["layer2.0.bn2"]) == [f"layer2.{n}.bn2" for n in range(4)]
    _, small = searching(4)
    assert small.gated.by_site()["depth of blocks.0.bn2"].sizes == (1, 3, 4)


class Straight(nn.Module):
    """A residual block of one layer, which has no units inside."""

    def __init__(self):
        super().__init__()
        self.fc2, self.bn2 = nn.Linear(6, 6), nn.BatchNorm1d(6)

    def forward(self, x):
        return (x + self.bn2(self.fc2(x))).relu()


def straight():
    network = Residual()
    network.blocks[1] = Straight().double()
    return network


def test_a_block_whose_cost_is_not_of_its_units_is_refused():
    task = replace(residual_task(), model=straight)
    with pytest.raises(InputError, match=r"block 'blocks.1.bn2' costs 36 .*depth=False"):
        next(method(start(task, 0), **QUICK))
    assert len([*method(start(task, 0), depth=False, **QUICK)]) == 6


# ---- pressure ----


@pytest.mark.parametrize(
    ("wanted", "sign"),
    [(0.9, 1), (1.0, 0), (1.06, -1)],  # of the shape preferred now, with a slack of a twentieth of the whole
)
def test_the_pressure_is_down_up_or_none_by_the_shape_preferred_now(wanted, sign):
    _, found = searching(3, **{name: size for name, size in SURE.items() if name[-3:] != "bn2"})
    now = found.cost(found.found()).item()
    whole = now * 1.1
    search = Search(found, wanted * now, whole, 2.0, 0.05, 10)
    expected = found.cost(found.gated.open()).item()
    assert search.pressure().item() == pytest.approx(sign * math.log(expected / 1e6))
    (slope,) = torch.autograd.grad(search.pressure(), [found.gated.by_site()["depth of blocks.0.bn2"].preference])
    assert bool(slope[0] < 0 < slope[1]) is (sign > 0)  # downhill, the cheaper one is preferred
    assert bool(slope.any()) is (sign != 0)


def test_by_pressure_alone_a_shape_comes_to_what_is_wanted_and_stays_there():
    run = start(residual_task(3), 0)
    found = space(run, removable(run), False)
    whole = run.reference.macs
    search = Search(found, 0.8 * whole, whole, 2.0, 0.25, 10)
    steps = SGD(found.gated.gates.parameters(), lr=0.1)
    seen = []
    for _ in range(200):
        steps.zero_grad()
        search.pressure().backward()
        steps.step()
        seen.append(found.cost(found.found()).item() / whole)
    first = next(at for at, share in enumerate(seen) if share <= 0.8)
    assert all(share > 0.8 for share in seen[:first])
    assert {*seen[first:]} == {seen[-1]}
    assert 0.55 <= seen[-1] <= 0.8


# ---- whose turn it is ----


def test_weights_and_preferences_move_in_turn():
    run = start(residual_task(3), 0)
    before, turns = {}, []
    for _ in method(run, **QUICK | {"search_epochs": 3}):
        state = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        if before:
            moved = {name.startswith("gates.") for name, p in state.items() if not torch.equal(p, before[name])}
            turns.append(moved)
        before = state
    assert turns == [{True} if step % 2 else {False} for step in range(1, 9)]


def test_both_halves_are_seen_once_in_as_many_steps_and_never_meet():
    task = replace(residual_task(), data=replace(residual_task().data, train=tiny_samples(50)), batch_size=10)
    turned = in_turn(task, 3)
    rows = [
        {tuple(row) for step in range(half, 6, 2) for row in turned.batch(3, step).inputs.tolist()} for half in (0, 1)
    ]
    assert [len(each) for each in rows] == [25, 25]
    assert len(rows[0] | rows[1]) == 50
    assert turned.steps_per_epoch == task.steps_per_epoch == 5
    other = in_turn(task, 4).halves[0].data.train.numbers
    assert not torch.equal(other, turned.halves[0].data.train.numbers)


def test_some_samples_are_those_of_their_numbers():
    of, numbers = tiny_samples(20), torch.tensor([3, 5, 11])
    some = Some(of, numbers)
    assert torch.equal(some.take(torch.tensor([2, 0])).inputs, of.inputs[[11, 3]])
    assert torch.equal(some.to("cpu").take(slice(1, 3)).targets, of.targets[[5, 11]])
    assert len({some.digest(), Some(of, numbers + 1).digest(), of.digest()}) == 3


def test_the_temperature_falls_from_5_to_a_tenth():
    run = start(residual_task(3), 0)
    seen = [next(iter(run.model.by_site().values())).temperature for _ in method(run, **QUICK | {"search_epochs": 4})]
    assert seen[0] == pytest.approx(5)
    assert seen[6] == pytest.approx(0.1 + 4.9 / 2)  # half of twelve steps
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.2


# ---- who teaches ----


def answers(model, batch):
    with torch.no_grad():
        return model.eval()(batch.inputs)


def test_the_whole_network_teaches_what_is_found():
    run = start(residual_task(), 0)
    options = {"teach_epochs": 2, "search_epochs": 1, "epochs": 1, "rate": 0.3, "soft": 0.7, "temperature": 3.0}
    dense = start(residual_task(), 0)
    list(METHODS["dense"](dense, epochs=2, stop="epochs"))
    for now in method(run, **options):
        if now.phase == 1:
            assert isinstance(run.model, Interpolated)
            assert run.loss is run.task.loss  # the search learns from labels
            assert torch.equal(run.remember("teacher", dict)["stem.weight"], dense.model.stem.weight)
    batch = run.task.batch(0, 99)
    outputs = run.model.eval()(batch.inputs)
    said = answers(dense.model, batch)
    assert torch.equal(run.loss(run.model, batch, outputs), distil(outputs, said, batch.targets, 3.0, 0.7))


def test_a_trials_teacher_teaches_what_is_found_and_not_the_search():
    teacher = Residual()
    task = taught(residual_task(), teacher)
    run = start(task, 0)
    run.given = {"teacher": Given(teacher.state_dict(), {}, 1.0)}
    phases = [(now.phase, run.loss) for now in method(run, search_epochs=1, epochs=1, rate=0.3)]
    assert [phase for phase, _ in phases] == [0] * 3 + [1] * 3  # no phase of a teacher's own
    assert {loss for phase, loss in phases if phase == 0} == {residual_task().loss}
    assert {loss for phase, loss in phases if phase == 1} == {task.loss}


def test_without_a_teacher_what_is_found_learns_from_labels():
    run = start(residual_task(), 0)
    list(method(run, **QUICK | {"epochs": 1}))
    assert run.loss is run.task.loss is residual_task().loss
    assert math.isfinite(evaluate(run)["loss"])


# ---- the rest ----


def test_what_is_built_begins_with_new_weights_and_says_how_sure_the_search_was():
    run = start(tiny_conv_task(), 0)
    searched = None
    for _ in method(run, **QUICK):
        searched = run.model if isinstance(run.model, Interpolated) else searched
    spreads = [gate.spread() for gate in searched.by_site().values()]
    assert run.notes["spread"] == pytest.approx(sum(spreads) / 3)
    assert run.notes["sharp"] == sum(each < 0.8 for each in spreads) / 3
    widths = [len(run.model[at].weight) for at in (0, 4, 8)]
    assert widths == [gate.sizes[gate.preferred()] for gate in searched.by_site().values()]
    baked, _ = searched.eval().bake()
    assert not torch.equal(run.model[0].weight, baked[0].weight[: widths[0]])


@pytest.mark.parametrize(
    "options",
    [{"wanted": 0.0}, {"wanted": 1.1}, {"price": -1.0}, {"slack": 2.0}, {"rate": 0.0}, {"decay": -1.0},
     {"teach_epochs": -1}, {"search_epochs": 0}, {"epochs": -1}],
)  # fmt: skip
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        next(method(start(residual_task(), 0), **options))
