"""By magnitude: LAMP, scopes, iterative pruning, lottery tickets, surgery - the numbers worked out in their sheets."""

from collections import OrderedDict
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

from sapwood import masks as mask
from sapwood import schedule, select
from sapwood.checks import tiny_task
from sapwood.criteria import lamp, magnitude
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.methods.iterative_magnitude import scaled
from sapwood.methods.parts.controls import reinitialised, shuffled
from sapwood.models.mlp import mlp
from sapwood.selection import thresholds
from sapwood.selection.scope import SCOPES, selected
from sapwood.training.run import start
from sapwood.training.task import Batch, Data, Task

LENET = {"hidden1.weight": (300, 784), "hidden2.weight": (100, 300), "output.weight": (10, 100)}


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def lenet_task():
    """LeNet-300-100 on two samples, a step an epoch."""
    luck = torch.Generator().manual_seed(0)
    few = Batch(torch.randn(2, 784, generator=luck), torch.tensor([0, 1]))
    return Task("few", partial(mlp, 784, 300, 100, 10), Data(few, few, few), partial(SGD, lr=0.1), batch_size=2)


def watched(task):
    """The task, and a list that gets the weights that each training step begins with."""
    seen = []

    def loss(model, batch, outputs):
        if model.training:
            seen.append({name: p.detach().clone() for name, p in model.state_dict().items()})
        return task.loss(model, batch, outputs)

    return replace(task, loss=loss), seen


def lived(method, task=None, seed=0, **options):
    """A run after all of a method, and its moments."""
    run = start(task or tiny_task(), seed)
    return run, list(METHODS[method](run, **options))


def same_under(masks, found, expected):
    """Whether all parameters are those expected, bit by bit, and 0 where they are masked."""
    return all(torch.equal(found[n], expected[n] * masks[n] if n in masks else expected[n]) for n in expected)


# LAMP


def test_lamp_by_hand():
    assert lamp.score(tensor([1, -2, 3, -4]), {}).tolist() == [[1 / 30, 4 / 29, 9 / 25, 1]]
    found = lamp.score(tensor([10, 11, 12, 13]), {})
    torch.testing.assert_close(found, tensor([0.187266, 0.278802, 0.460064, 1]), rtol=0, atol=5e-7)


def test_lamp_does_not_depend_on_a_layers_scale():
    w = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(lamp.score(w / 10, {}), lamp.score(w, {}), rtol=1e-13, atol=0)
    assert torch.equal(lamp.score(w / 16, {}), lamp.score(w, {}))


def test_lamp_keeps_some_of_a_layer_that_magnitude_empties():
    layers = {"a": tensor([1, 2, 3, 4]), "b": tensor([10, 11, 12, 13])}
    by = {c: select.everywhere({n: c.score(w, {}) for n, w in layers.items()}, 0.5) for c in (magnitude, lamp)}
    assert {n: k.flatten().tolist() for n, k in by[magnitude].items()} == {"a": [False] * 4, "b": [True] * 4}
    assert {n: k.flatten().tolist() for n, k in by[lamp].items()} == {n: [False, False, True, True] for n in layers}


def test_lamp_is_its_definition_also_with_equal_weights_and_without_any():
    w = torch.randint(-4, 5, (6, 9), generator=torch.Generator().manual_seed(3)).double()
    squares = w.square()
    expected = torch.stack([s / squares[squares >= s].sum() for s in squares.flatten()]).view(w.shape)
    torch.testing.assert_close(lamp.score(w, {}), expected, rtol=1e-14, atol=0)
    assert torch.equal(lamp.score(torch.zeros(2, 3), {}), torch.zeros(2, 3, dtype=torch.float64))


def test_no_layer_is_emptied_by_lamp_while_another_has_two_weights():
    luck = torch.Generator().manual_seed(1)
    scores = {n: lamp.score(torch.randn(size, generator=luck) * 10**n, {}) for n, size in enumerate([(4, 5), (2, 30)])}
    assert [int(k.sum()) for k in select.drop(scores, 78).values()] == [1, 1]


# Scopes


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99])
def test_every_scope_removes_the_share_of_all(scope, sparsity):
    luck = torch.Generator().manual_seed(0)
    scores = {name: torch.rand(shape, generator=luck) for name, shape in LENET.items()}
    keep = selected(scores, sparsity, scope)
    assert sum(int(k.sum()) for k in keep.values()) == round((1 - sparsity) * 266_200)
    for name, s in scores.items():
        kept, gone = s[keep[name]], s[~keep[name]]
        assert not gone.numel() or kept.min() >= gone.max()  # within a layer the lowest go


@pytest.mark.parametrize(
    ("sparsity", "densities"),
    [(0.5, (0.434099, 1, 1)), (0.9, (0.079568, 0.230189, 1)), (0.98, (0.015394, 0.044534, 0.367403))],
)
def test_erk_gives_the_sheets_densities(sparsity, densities):
    keep = selected({name: torch.rand(shape) for name, shape in LENET.items()}, sparsity, "erk")
    for found, expected in zip(keep.values(), densities, strict=True):
        assert abs(found.float().mean().item() - expected) < 1e-3  # of 1,000 weights: a whole one


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_gone_counts_and_stays_gone(scope):
    scores = {name: torch.rand(shape) for name, shape in LENET.items()}
    earlier = selected(scores, 0.6, scope)
    other = {name: torch.rand(s.shape) for name, s in scores.items()}
    later = selected(other, 0.9, scope, among=earlier)
    assert mask.nested(earlier, later)
    assert sum(int(k.sum()) for k in later.values()) == 26_620


def test_an_unknown_scope_is_refused():
    with pytest.raises(InputError, match=r"unknown scope 'layer'; did you mean 'per_layer'\?"):
        selected({"a": tensor(1, 2)}, 0.5, "layer")


# Rounds, thresholds


def test_rounds_remove_the_same_fraction_of_what_is_left():
    found = schedule.geometric_rounds(0.99, 5)
    assert [round(100 * (1 - s), 3) for s in found] == [39.811, 15.849, 6.310, 2.512, 1.000]
    assert found[-1] == 0.99
    assert schedule.geometric_rounds(0.0, 2) == (0.0, 0.0)
    with pytest.raises(InputError, match="rounds is 0; give at least 1"):
        schedule.geometric_rounds(0.5, 0)
    with pytest.raises(InputError, match=r"final is 1\.0; give a sparsity"):
        schedule.geometric_rounds(1.0, 3)


def test_deviations_are_those_of_what_is_still_kept():
    w, all_of_it = {"w": tensor(3, -1, 1, -3)}, {"w": 0.5}  # deviation sqrt(5) = 2.236
    first = thresholds.of_deviations(w, {}, all_of_it)
    assert first["w"].tolist() == [True, False, False, True]
    assert thresholds.deviation(w["w"][first["w"]]) == 3.0
    assert thresholds.of_deviations(w, first, {"w": 1.0})["w"].tolist() == [True, False, False, True]  # |w| = threshold
    assert not thresholds.of_deviations(w, first, {"w": 1.01})["w"].any()
    again = thresholds.of_deviations({"w": tensor(1, 9, 9, 1)}, first, {"w": 0})
    assert again["w"].tolist() == first["w"].tolist()  # none comes back
    assert thresholds.deviation(tensor()) == 0.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2", "quality is '1 2'; give one number, or 3: for a, b, c"),
        ("1 x 3", "quality is '1 x 3'; give numbers"),
        ("", "give one number"),
        ("inf", "give one number"),
    ],
)
def test_bad_numbers_are_refused(text, says):
    with pytest.raises(InputError, match=says):
        thresholds.numbers("quality", text, "abc")


def test_numbers_are_for_all_or_one_by_one():
    assert thresholds.numbers("c", "2", "abc") == {"a": 2, "b": 2, "c": 2}
    assert thresholds.numbers("c", "1 -2.5 3", "abc") == {"a": 1, "b": -2.5, "c": 3}


# Iterative magnitude


def test_the_densities_of_the_paper_are_its_compression():
    scores = {name: torch.rand(shape) for name, shape in LENET.items()}
    keep = select.per_layer(scores, dict(zip(LENET, (0.92, 0.91, 0.74), strict=True)))
    kept = sum(int(k.sum()) for k in keep.values())
    assert kept == 21_776
    assert (round(100 * kept / 266_200, 2), round(266_200 / kept, 2)) == (8.18, 12.22)


def test_dropout_follows_the_density_of_the_layer_before_it():
    model = nn.Sequential(
        OrderedDict(
            drop0=nn.Dropout(0.3), a=nn.Linear(10, 10), drop1=nn.Dropout(0.5), b=nn.Linear(10, 4), drop2=nn.Dropout(0.2)
        )
    )
    keep = torch.zeros(10, 10, dtype=torch.bool)
    keep.view(-1)[:8] = True
    found = scaled(model, {"drop0": 0.3, "drop1": 0.5, "drop2": 0.2}, {"a.weight": keep})
    assert found["drop1"] == pytest.approx(0.141421356, abs=1e-9)  # 0.5 sqrt(0.08)
    assert (found["drop0"], found["drop2"]) == (0.3, 0.2)


def test_each_round_prunes_every_layer_scales_dropout_and_slows_down():
    run, moments = lived("iterative_magnitude", sparsity=0.75, rounds=2, first_epochs=1, round_epochs=1, rate=0.1)
    assert len(moments) == 18
    assert run.round == 2
    assert {n: int(k.sum()) for n, k in run.masks.items()} == {"0.weight": 12, "2.weight": 16, "5.weight": 6}
    assert run.model.get_submodule("4").p == 0.2 * 0.25**0.5  # of the original 0.2, not of the first round's
    assert [group["lr"] for group in run.optimizer.param_groups] == [pytest.approx(0.01)]


def test_a_threshold_round_removes_what_lies_below_it():
    task, seen = watched(tiny_task(SGD, lr=1e-300))  # nothing moves, so all is known
    run, _ = lived("iterative_magnitude", task, quality="1 0.5 0", rounds=1, first_epochs=1, round_epochs=1)
    for name, factor in (("0.weight", 1.0), ("2.weight", 0.5), ("5.weight", 0.0)):
        w = seen[0][name]
        assert torch.equal(run.masks[name], w.abs() >= factor * w.std(correction=0))


# Lottery ticket


def test_a_ticket_has_the_densities_of_the_paper():
    run = start(lenet_task())
    densities = []
    for _ in METHODS["lottery_ticket"](run, rounds=15, round_epochs=1):
        densities.append(round(100 * (1 - mask.sparsity(run.masks)), 2))
    assert [int(k.sum()) for k in run.masks.values()] == [8_275, 1_056, 206]
    assert densities[1:4] == [80.04, 64.06, 51.28]
    assert (densities[7], densities[8], densities[9], densities[15]) == (21.07, 16.88, 13.52, 3.58)


@pytest.mark.parametrize("rewind", [0.0, 0.5])
def test_survivors_go_back_bit_by_bit(rewind):
    task, seen = watched(tiny_task())
    run = start(task, 5)
    begun, phase = [], None
    for now in METHODS["lottery_ticket"](run, rounds=3, round_epochs=2, rewind=rewind, each=0.3):
        if now.phase != phase:
            phase = now.phase
            begun.append((now.step - 1, dict(run.masks)))
    ticket = seen[int(6 * rewind)]
    assert len(begun) == (4 if rewind == 0 else 5)
    assert not same_under({}, seen[begun[-1][0] - 1], ticket)
    for step, masks in begun[-3:]:
        assert masks
        assert same_under(masks, seen[step], ticket)


def test_controls_change_the_last_training_alone():
    runs = {}
    for control in ("none", "shuffled", "reinitialised"):
        task, seen = watched(tiny_task())
        run, moments = lived("lottery_ticket", task, rounds=2, round_epochs=1, control=control)
        runs[control] = run.masks, seen, moments
    masks, seen, moments = runs["none"]
    for control in ("shuffled", "reinitialised"):
        assert runs[control][2][:12] == moments[:12]
    assert masks.keys() == runs["reinitialised"][0].keys()
    assert all(torch.equal(runs["reinitialised"][0][n], keep) for n, keep in masks.items())
    other = reinitialised(start(tiny_task()))
    assert same_under(masks, runs["reinitialised"][1][12], other)
    assert not torch.equal(other["0.weight"], seen[0]["0.weight"])
    moved = runs["shuffled"][0]
    assert {n: k.sum() for n, k in moved.items()} == {n: k.sum() for n, k in masks.items()}
    assert any(not torch.equal(moved[n], keep) for n, keep in masks.items())
    assert same_under(moved, runs["shuffled"][1][12], seen[0])


def test_controls_leave_no_trace_and_depend_on_the_seed():
    before = torch.get_rng_state()
    keep = {"w": torch.arange(40).view(5, 8) < 20}
    first, other = shuffled(keep, 0), shuffled(keep, 1)
    runs = [reinitialised(start(tiny_task(), seed)) for seed in (0, 1)]
    torch.set_rng_state(before)
    again = start(tiny_task(), 0)
    state = torch.get_rng_state()
    assert torch.equal(reinitialised(again)["0.weight"], runs[0]["0.weight"])
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(runs[0]["0.weight"], runs[1]["0.weight"])
    assert torch.equal(first["w"], shuffled(keep, 0)["w"])
    assert not torch.equal(first["w"], other["w"])
    assert first["w"].sum() == 20


# Surgery


def test_the_threshold_and_the_hysteresis_by_hand():
    w = tensor(0.02, -0.05, 0.1, -0.3, 0.5, -0.04)
    t = thresholds.surgical(w, 0.0)
    assert t == pytest.approx(0.168333, abs=5e-7)
    assert thresholds.surgical(w, 1.0) - t == pytest.approx(0.175349, abs=5e-7)
    assert thresholds.surgical(w, -5.0) == 0.0
    assert (0.9 * t, 1.1 * t) == (pytest.approx(0.1515), pytest.approx(0.185167, abs=5e-7))
    keep = thresholds.spliced(w, torch.ones(6, dtype=torch.bool), t, 0.1)
    assert keep.int().tolist() == [0, 0, 0, 1, 1, 0]
    assert thresholds.spliced(tensor(0.17, 0.17), torch.tensor([True, False]), t, 0.1).tolist() == [True, False]
    assert thresholds.spliced(tensor(0.19, 0.15), torch.tensor([False, True]), t, 0.1).tolist() == [True, False]


def test_without_a_band_it_is_a_threshold():
    luck = torch.Generator().manual_seed(0)
    w, keep = torch.randn(50, generator=luck), torch.rand(50, generator=luck) > 0.5
    assert torch.equal(thresholds.spliced(w, keep, 0.7, 0.0), w.abs() >= 0.7)


def test_a_share_lies_below_its_threshold():
    w = tensor(5, -1, 3, -2, 4)
    assert [(w.abs() < thresholds.below(w, share)).sum().item() for share in (0.0, 0.2, 0.6, 0.99)] == [0, 1, 3, 4]
    with pytest.raises(InputError, match=r"sparsity is 1\.5; it is the fraction removed"):
        thresholds.below(w, 1.5)


def test_removed_weights_learn_behind_their_masks_and_come_back():
    run = start(tiny_task())
    came_back, learned, before = 0, 0, None
    for _ in METHODS["dynamic_surgery"](run, c="0.5", gamma=0.0, dense_epochs=0, surgery=4, epochs=4):
        masks = dict(run.masks)
        if before is not None:
            came_back += sum(int((masks[n] & ~before[n]).sum()) for n in masks)
        learned += sum(bool((run.model.get_parameter(n)[~keep] != 0).any()) for n, keep in masks.items())
        before = masks
    assert came_back > 0
    assert learned > 0
    assert run.round == 24 + 1  # one after each step, and one that ends it
    assert not run.dense
    assert all(not bool(run.model.get_parameter(n)[~keep].any()) for n, keep in run.masks.items())


def test_masks_are_looked_at_ever_less_often():
    rounds = [
        lived("dynamic_surgery", gamma=g, power=1.0, dense_epochs=0, surgery=20, epochs=20)[0].round for g in (0, 1)
    ]
    expected = sum(1 / (1 + t) for t in range(1, 121))  # 4.4
    assert rounds[0] == 121
    assert abs(rounds[1] - 1 - expected) < 6  # three standard deviations


def test_the_threshold_stays_what_it_was_when_surgery_began():
    task, seen = watched(tiny_task())
    options = {"c": "0.3", "band": 0.0, "gamma": 0.0, "dense_epochs": 1, "surgery": 2, "epochs": 2, "biases": True}
    run = start(task)
    for now in METHODS["dynamic_surgery"](run, **options):
        if now.phase == 1:
            for layer in ("0", "2", "5"):
                w, b = seen[6][f"{layer}.weight"], seen[6][f"{layer}.bias"]
                t = thresholds.surgical(torch.cat([w.flatten(), b]), 0.3)
                for name in (f"{layer}.weight", f"{layer}.bias"):
                    assert torch.equal(run.masks[name], run.model.get_parameter(name).abs() >= t)


def test_a_ramp_from_the_beginning_starts_with_what_it_begins_with():
    """Before the first step: what goes on from zeros of another run does not let them grow until the second prune."""
    run = start(tiny_task())
    options = {
        "sparsity": 0.8,
        "initial": 0.5,
        "begin": 0.0,
        "end": 2.0,
        "every": 4,
        "epochs": 2,
        "scope": "everywhere",
    }
    found = [run.sparsity() for _ in METHODS["gradual_magnitude"](run, **options, output=True)]
    assert found[0] == pytest.approx(0.5, abs=0.01)
    assert found == sorted(found)
    assert found[-1] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("scope", thresholds.SCOPES)
def test_with_a_sparsity_the_threshold_moves_with_the_weights(scope):
    run, moved = start(tiny_task()), set()
    options = {"sparsity": 0.75, "scope": scope, "band": 0.0, "gamma": 0.0}
    for now in METHODS["dynamic_surgery"](run, **options, dense_epochs=1, surgery=2, epochs=2):
        if now.phase == 1:
            sizes = {f"{n}.weight": run.model.get_parameter(f"{n}.weight").detach().abs() for n in ("0", "2", "5")}
            ranked = torch.cat([size.flatten() for size in sizes.values()]).sort().values
            for name, size in sizes.items():
                own = ranked if scope == "everywhere" else size.flatten().sort().values
                t = own[round(0.75 * len(own))]
                moved.add(float(t))
                assert torch.equal(run.masks[name], size >= t)
    assert len(moved) >= 12  # steps


@pytest.mark.parametrize("options", [{"scope": "everywhere"}, {"scope": "per_layer"}, {"biases": True}], ids=str)
def test_with_a_sparsity_exactly_that_share_is_gone_after_surgery(options):
    """Though a band of 0.5 keeps far more of them while operating."""
    run = start(tiny_task())
    surgery = {"sparsity": 0.75, "band": 0.5, "dense_epochs": 1, "surgery": 2, "epochs": 3}
    kept = [
        sum(int(m.sum()) for m in run.masks.values()) for _ in METHODS["dynamic_surgery"](run, **surgery, **options)
    ]
    total = sum(m.numel() for m in run.masks.values())
    assert kept[-7] > 0.3 * total
    parts = [dict(run.masks)] if options.get("scope") == "everywhere" else [
        {n: m for n, m in run.masks.items() if n.startswith(f"{layer}.")} for layer in ("0", "2", "5")
    ]  # fmt: skip
    for part in parts:
        numbers = sum(m.numel() for m in part.values())
        assert sum(int(m.sum()) for m in part.values()) == numbers - round(0.75 * numbers)


@pytest.mark.parametrize("bad", [{"band": 1.0}, {"gamma": -1.0}, {"power": -1.0}, {"surgery": 4, "epochs": 3}])
def test_bad_surgery_is_refused(bad):
    with pytest.raises(InputError, match=r"need band in \[0, 1\)"):
        lived("dynamic_surgery", **bad)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"each": 1.0}, r"each is 1\.0, output_share 0\.5"),
        ({"output_share": 6.0}, r"output_share 6\.0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"rewind": 3.0, "round_epochs": 2}, r"rewind is 3\.0; give an epoch in 0\.\.2"),
        ({"control": "none at all"}, "unknown control"),
    ],
)
def test_bad_tickets_are_refused(bad, says):
    with pytest.raises(InputError, match=says):
        lived("lottery_ticket", **bad)
