"""The surgeon: units go one after another, each time the one whose loss the others can make up for best."""

from itertools import combinations

import pytest
import torch

from sapwood.errors import InputError
from sapwood.reconstruction import contributions, output_error, refit, surgeon
from sapwood.reconstruction.surgery import losses_of_units, outputs_of_units

D = torch.float64
PAIRS = torch.tensor([0, 0, 1, 1, -1, 2, 2, 3, 3])


def layer(seed=0, inputs=9, outputs=4):
    """Weights, and the Gram matrix of inputs that depend on one another."""
    torch.manual_seed(seed)
    x = torch.randn(60, inputs, dtype=D) @ (torch.eye(inputs, dtype=D) + 0.6 * torch.randn(inputs, inputs, dtype=D))
    return torch.randn(outputs, inputs, dtype=D), x.T @ x


def without(w, g, unit_of_I, gone):
    """What the outputs lose without these units, the others by least squares."""
    keep = ~torch.isin(unit_of_I, torch.tensor(gone))
    return output_error(refit(w, g, keep=keep)[0], w, g) * float((w @ g * w).sum())


def test_losses_are_worked_out_by_hand():
    w, g = torch.tensor([[1.0, -1.5]], dtype=D), torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=D)
    # the inverse is [[1, -1], [-1, 2]]: w² over its diagonal; alone, a unit adds w² times the square of its input
    assert losses_of_units(w, g, ridge=1e-15).tolist() == pytest.approx([1.0, 1.125])
    assert outputs_of_units(w, g).tolist() == [2.0, 2.25]
    found, keep = surgeon(w, g, sparsity=0.5, ridge=1e-15)
    assert keep.tolist() == [False, True]
    assert found.tolist() == [[0.0, pytest.approx(-0.5)]]


@pytest.mark.parametrize("unit_of_I", [torch.arange(9), PAIRS])
def test_losses_are_those_of_a_refit_without_the_unit(unit_of_I):
    w, g = layer()
    wanted = [without(w, g, unit_of_I, [unit]) for unit in range(int(unit_of_I.max()) + 1)]
    assert losses_of_units(w, g, unit_of_I, ridge=1e-14).tolist() == pytest.approx(wanted, rel=1e-6)
    alone = contributions(w, g, unit_of_I=unit_of_I).gram_UU.diagonal()
    assert torch.allclose(outputs_of_units(w, g, unit_of_I), alone)


@pytest.mark.parametrize("unit_of_I", [torch.arange(9), PAIRS])
def test_each_step_takes_the_unit_that_is_missed_least(unit_of_I):
    """By brute force: the unit after which a refit of all that is left loses least; then the next, and so on."""
    for seed in range(3):
        w, g = layer(seed)
        units, gone = int(unit_of_I.max()) + 1, []
        for count in range(1, units):
            gone.append(min((u for u in range(units) if u not in gone),
                            key=lambda u: without(w, g, unit_of_I, [*gone, u])))  # fmt: skip
            found, keep = surgeon(w, g, sparsity=count / units, unit_of_I=unit_of_I, ridge=1e-14)
            assert (~keep).nonzero().flatten().tolist() == sorted(gone)
            lost = output_error(found, w, g) * float((w @ g * w).sum())
            assert lost == pytest.approx(without(w, g, unit_of_I, gone), rel=1e-6)


def test_it_is_near_the_best_choice_and_beats_what_looks_at_units_alone():
    """Two inputs that are nearly one: alone both matter, and one of them can go."""
    w, g = layer(4, inputs=6)
    twin = torch.eye(6, dtype=D)
    twin[1] = twin[0] + 0.01 * twin[1]
    g, w = twin @ g @ twin.T, w.abs() + 1
    alone = outputs_of_units(w, g).argsort()[:1].tolist()
    one = torch.arange(6)
    best = min((without(w, g, one, list(each)), each) for each in combinations(range(6), 1))
    keep = surgeon(w, g, sparsity=1 / 6)[1]
    assert (~keep).nonzero().flatten().tolist() in ([0], [1])
    assert best[1][0] in (0, 1)
    assert without(w, g, one, best[1]) < 0.1 * without(w, g, one, alone)


def test_columns_of_no_unit_stay_and_are_solved_for():
    w, g = layer()
    found, keep = surgeon(w, g, sparsity=0.5, unit_of_I=PAIRS)
    assert keep.shape == (4,)
    assert int(keep.sum()) == 2
    assert found[:, 4].abs().min() > 0
    assert not torch.equal(found[:, 4], w[:, 4])


def test_bad_input():
    w, g = layer()
    for options, said in (
        ({"sparsity": 1.0}, "must lie in"),
        ({"sparsity": 0.5, "at_once": 0}, "at_once is 0"),
        ({"sparsity": 0.5, "unit_of_I": torch.arange(8)}, "the unit of each of the 9 columns"),
        ({"sparsity": 0.5, "unit_of_I": 2 * torch.arange(9)}, "gives unit 1 no column"),
    ):
        with pytest.raises(InputError, match=said):
            surgeon(w, g, **options)
