"""Together: several optimisers as one, in every way in which an optimiser is used; and the proximal one."""

import copy
import pickle

import pytest
import torch
from planted.updating import together_laws
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR

from sapwood import hold
from sapwood.checks.tiny import tiny_model, tiny_samples, tiny_task
from sapwood.errors import InputError
from sapwood.training.proximal import ProximalNesterov, soft
from sapwood.training.run import start
from sapwood.training.together import Together

LAWS = together_laws()


@pytest.mark.parametrize("law", LAWS)
def test_laws(law):
    LAWS[law]()


@pytest.fixture
def model():
    return tiny_model()


def parts(model):
    return Adam(model[0].parameters(), lr=0.01), SGD(model[2].parameters(), lr=0.1, momentum=0.9)


def step(model, optimizer):
    batch = tiny_samples()
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
    optimizer.step()


def test_groups_and_states_are_the_parts_own(model):
    adam, sgd = parts(model)
    both = Together(adam, sgd)
    step(model, both)
    assert [group["lr"] for group in both.param_groups] == [0.01, 0.1]
    both.param_groups[1]["lr"] = 7.0
    assert sgd.param_groups[0]["lr"] == 7.0
    assert both.state[model[0].weight] is adam.state[model[0].weight]
    assert set(both.state) == set(adam.state) | set(sgd.state)
    del both.state[model[2].bias]
    assert model[2].bias not in sgd.state
    both.state[model[2].bias] = {"momentum_buffer": None}
    assert sgd.state[model[2].bias] == {"momentum_buffer": None}
    with pytest.raises(KeyError):
        both.state[torch.zeros(2)]


def test_gradients_are_forgotten_in_all(model):
    both = Together(*parts(model))
    step(model, both)
    both.zero_grad()
    assert [p.grad for p in (*model[0].parameters(), *model[2].parameters())] == [None] * 4


def test_hooks_and_closures_are_called_once_a_step(model):
    both, calls = Together(*parts(model)), []
    both.register_step_pre_hook(lambda *_: calls.append("before"))
    both.register_step_post_hook(lambda *_: calls.append("after"))

    def closure():
        calls.append("closure")
        loss = model(tiny_samples().inputs).square().sum()
        loss.backward()
        return loss

    assert both.step(closure) > 0
    assert calls == ["before", "closure", "after"]


def test_a_scheduler_sets_the_rates_of_all(model):
    both = Together(*parts(model))
    schedule = StepLR(both, step_size=1, gamma=0.1)
    step(model, both)
    schedule.step()
    assert [group["lr"] for group in both.param_groups] == pytest.approx([0.001, 0.01])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_as_the_original(model, again):
    both = Together(*parts(model))
    step(model, both)
    twin, other = again((model, both))
    for network, optimizer in ((model, both), (twin, other)):
        step(network, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert other.state is not both.state


def test_hooks_around_saving_and_loading(model):
    both, calls = Together(*parts(model)), []
    both.register_state_dict_pre_hook(lambda _: calls.append("saving"))
    both.register_load_state_dict_pre_hook(lambda _, saved: calls.append(sorted(saved)))
    both.register_load_state_dict_post_hook(lambda _: calls.append("loaded"))
    both.load_state_dict(both.state_dict())
    assert calls == ["saving", ["param_groups", "state"], "loaded"]


def test_masks_are_held_in_both(model):
    both = Together(*parts(model))
    step(model, both)  # momentum of what will be removed
    masks = {f"{name}.weight": torch.rand(8, width) < 0.5 for name, width in ((0, 6), (2, 8))}
    with hold(model, both, masks):
        for _ in range(3):
            step(model, both)
            for name, keep in masks.items():
                assert not model.get_parameter(name)[~keep].any()
                assert model.get_parameter(name)[keep].all()
        assert not both.state[model[0].weight]["exp_avg"][~masks["0.weight"]].any()
        assert not both.state[model[2].weight]["momentum_buffer"][~masks["2.weight"]].any()


def test_a_parameter_in_two_is_refused_by_its_name(model):
    adam, sgd = Adam(model[0].parameters()), SGD([model[0].bias, *model[2].parameters()], lr=0.1)
    wanted = r"parameter '0.bias' is in 2 optimisers \(Adam, SGD\), which would each move it; give it to one of them"
    with pytest.raises(InputError, match=wanted):
        Together(adam, sgd, of=model)
    with pytest.raises(InputError, match=r"parameter of shape \(8,\) is in 2 optimisers"):
        Together(adam, sgd)


def test_what_else_is_refused(model):
    both = Together(*parts(model))
    with pytest.raises(InputError, match="was given no optimiser"):
        Together()
    with pytest.raises(InputError, match="add it to one of its `optimizers`"):
        both.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
    with pytest.raises(InputError, match="has 1 parameter groups that are not those of the 2 optimisers"):
        both.load_state_dict(Adam(model[0].parameters()).state_dict())
    run = start(tiny_task())
    with pytest.raises(InputError, match="register them in the model"):
        run.become(run.model, Together(SGD(run.model.parameters(), lr=0.1), *parts(model)))


# The proximal optimiser, by the sheet of sparse structure selection


def quadratic(t, strength, steps=400, **options):
    """Where it ends on (w - t)^2 * h / 2, h = 2, from w = 1."""
    w = torch.ones(len(t), dtype=torch.float64, requires_grad=True)
    optimizer = ProximalNesterov([w], lr=0.02, strength=strength, positive=True, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        (w - torch.tensor(t, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
    return w.detach()


def test_a_quadratic_ends_at_its_shrunken_optimum():
    """max(0, t - strength / h): [0, 0.25, 0.95, 0] for strength 0.1, h 2."""
    found = quadratic([0.04, 0.3, 1.0, -0.5], 0.1)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.25, 0.95, 0.0], dtype=torch.float64), atol=0.01, rtol=0)
    assert found[0] == 0
    assert found[3] == 0


def test_without_strength_nothing_is_exactly_zero():
    found = quadratic([0.04, 0.3], 0.0)
    torch.testing.assert_close(found, torch.tensor([0.04, 0.3], dtype=torch.float64), atol=1e-6, rtol=0)


def test_two_steps_by_hand():
    """lr 0.5, momentum 0.5, strength 0.2, g = w: z = S(0.5, 0.1) = 0.4, m = -0.6, w = 0.4 - 0.3 = 0.1; then
    z = S(0.05, 0.1) = 0, m = -0.1 - 0.3 = -0.4, w = -0.2, and 0 where it must be positive.
    """
    for positive, last in ((False, -0.2), (True, 0.0)):
        w = torch.ones(1, dtype=torch.float64, requires_grad=True)
        optimizer = ProximalNesterov([w], lr=0.5, momentum=0.5, strength=0.2, positive=positive)
        for wanted in (0.1, last):
            w.grad = w.detach().clone()
            optimizer.step()
            assert w.item() == pytest.approx(wanted, abs=1e-15)


def test_without_strength_it_is_nesterov():
    one, other = tiny_model(), tiny_model()
    other.load_state_dict(one.state_dict())
    pairs = (
        (one, ProximalNesterov(one.parameters(), lr=0.1, momentum=0.9)),
        (other, SGD(other.parameters(), lr=0.1, momentum=0.9, nesterov=True)),
    )
    for _ in range(5):
        for network, optimizer in pairs:
            step(network, optimizer)
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-13)


def test_only_groups_with_strength_are_thresholded():
    a, b = (torch.full((2,), 0.01, requires_grad=True) for _ in range(2))
    optimizer = ProximalNesterov([{"params": [a], "strength": 1.0}, {"params": [b]}], lr=0.1, momentum=0.0)
    a.grad, b.grad = torch.zeros(2), torch.zeros(2)
    optimizer.step()
    assert a.tolist() == [0, 0]
    assert (b == 0.01).all()


def test_soft_thresholding():
    assert soft(torch.tensor([-3.0, -1.0, 0.5, 2.5]), 1.0).tolist() == [-2.0, 0.0, 0.0, 1.5]


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"momentum": 1.0}, {"strength": float("nan")}])
def test_bad_numbers_are_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*; give a number of 0 or more"):
        ProximalNesterov([torch.zeros(1, requires_grad=True)], **wrong)
