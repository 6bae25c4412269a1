"""Attacks: inside of the ball to the last bit, steps worked by hand, no trace on the network, and masked gradients."""

import doctest
from fractions import Fraction
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from sapwood import InputError, shrink, sites
from sapwood.attacks import (
    Ball,
    Normalised,
    features,
    fgsm,
    latent,
    obfuscated,
    pgd,
    relative,
    sign,
    vulnerability,
    withstands,
)
from sapwood.attacks.obfuscated import signs_of_masking
from sapwood.checks.tiny import seeded


def images(count=6, dtype=torch.float64, side=3):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


def network(dtype=torch.float64):
    """With what has a state: a batch norm and dropout."""
    with seeded(0):
        model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
                              nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))  # fmt: skip
        return model.to(dtype)


LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
BALL = Ball(0.1)


# ---- the ball ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [0.0, 1e-17, 0.1, 0.3, 8 / 255, 2.0])
def test_bounds_are_the_outermost_numbers_within_the_ball(dtype, eps):
    x = torch.cat([images(20, dtype).flatten(), torch.tensor([0.0, 1.0, 0.5, 1 / 3, 0.1], dtype=dtype)])[:, None]
    low, high = (bound.flatten() for bound in Ball(eps).around(x))
    inf = torch.tensor(torch.inf, dtype=dtype)
    for pixel, least, most, out in zip(x.flatten(), low, high, torch.nextafter(high, inf), strict=True):
        exact, below, above, next_one = (Fraction(n.item()) for n in (pixel, least, most, out))
        assert exact - Fraction(eps) <= below <= exact <= above <= exact + Fraction(eps)
        assert 0 <= below <= above <= 1
        assert above == 1 or next_one > exact + Fraction(eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_attack_stays_inside_exactly(dtype):
    x, model = images(dtype=dtype), network(dtype)
    for attack in (fgsm, pgd, partial(pgd, steps=3, step=1.0, restarts=3), partial(pgd, random=False)):
        attacked = attack(model, x, LABELS, ball=BALL)
        assert attacked.dtype is dtype
        assert attacked.shape == x.shape
        assert (attacked.double() - x.double()).abs().max() <= 0.1  # and not 0.1 plus rounding
        assert 0 <= attacked.min() <= attacked.max() <= 1
        assert not torch.equal(attacked, x)


def test_draws_fill_the_ball_and_follow_the_generator():
    x = torch.full((1, 10_000), 0.5, dtype=torch.float64)
    drawn = [BALL.drawn(x, BALL.around(x), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    moved = drawn[0] - x
    assert moved.min() < -0.099 < 0.099 < moved.max()
    assert moved.mean().abs() < 0.003  # of a standard error of 0.0006


# ---- steps worked by hand ----


def linear(w, b=0.0):
    """Logits 0 and w x + b."""
    model = nn.Linear(len(w), 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * len(w), w]))
        model.bias.copy_(torch.tensor([0.0, b]))
    return model


def test_fgsm_on_a_logistic_model_by_hand():
    """The gradient by x is (p - y) w: of class 1 every pixel goes against the sign of w, of class 0 along it."""
    x = torch.tensor([[0.5, 0.5, 0.05], [0.5, 0.5, 0.95]], dtype=torch.float64)
    attacked = fgsm(linear([1.0, -2.0, 4.0]), x, torch.tensor([1, 0]), ball=BALL)
    expected = torch.tensor([[0.4, 0.6, 0.0], [0.6, 0.4, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(attacked, expected, rtol=0, atol=1e-15)


def test_pgd_walks_by_its_step_and_ends_at_the_corner():
    """Two steps of 0.03 are 0.06; five would be 0.15, and the ball ends at 0.1."""
    x, labels, model = torch.full((1, 2), 0.5, dtype=torch.float64), torch.tensor([1]), linear([1.0, -1.0])
    walk = partial(pgd, model, x, labels, ball=BALL, step=0.03, random=False)
    torch.testing.assert_close(walk(steps=2), torch.tensor([[0.44, 0.56]], dtype=torch.float64))
    assert torch.equal(walk(steps=5), fgsm(model, x, labels, ball=BALL))
    usual = pgd(model, x, labels, ball=BALL, steps=10, random=False)  # 2.5 eps / 10 a step: there after four
    assert torch.equal(usual, fgsm(model, x, labels, ball=BALL))


def test_no_step_lowers_the_loss_of_a_linear_model():
    x = torch.rand(50, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels, model = torch.arange(50) % 2, linear([3.0, -1.0, 0.5, 2.0, -4.0, 0.1], b=-0.3)
    losses = [sign.cross_entropy(model(x), labels)]
    for steps in range(1, 8):
        attacked = pgd(model, x, labels, ball=BALL, steps=steps, step=0.02, random=False)
        losses.append(sign.cross_entropy(model(attacked), labels))
        assert (losses[-1] >= losses[-2]).all()
    assert (losses[-1] > losses[0]).all()


def test_restarts_never_make_an_attack_worse():
    x, labels, model = images(40), torch.arange(40) % 3, network()
    attack = partial(pgd, model.eval(), x, labels, ball=Ball(0.05), steps=2)
    ends = [attack(restarts=count, generator=torch.Generator().manual_seed(3)) for count in (1, 2, 6)]
    seen = []
    for attacked in ends:
        outputs = model(attacked)
        seen.append((outputs.argmax(1) != labels, sign.cross_entropy(outputs, labels)))
    for (fooled, lost), (fooled_too, lost_too) in pairwise(seen):
        assert not (fooled & ~fooled_too).any()
        assert (lost_too >= lost)[fooled == fooled_too].all()
    assert (seen[-1][1] > seen[0][1]).any()


class Table(nn.Module):
    """Logits by hand for pixels in [0, 1/2) and in [1/2, 1]."""

    def __init__(self, low, high):
        super().__init__()
        self.low, self.high = torch.tensor(low).double(), torch.tensor(high).double()

    def forward(self, x):
        return torch.where(x < 0.5, self.low, self.high) + 0 * x


def test_of_two_ends_the_misclassified_one_counts_even_at_a_lower_loss():
    """Class 0: (0, 0.1) is misclassified at a loss of 0.74; (1, 0.9, 0.9, ...) is right at a higher one."""
    wrong, right = [0.0, 0.1, -9.0, -9.0, -9.0], [1.0, 0.9, 0.9, 0.9, 0.9]
    labels = torch.zeros(30, dtype=torch.int64)
    for table in (Table(wrong, right), Table(right, wrong)):
        x = torch.full((30, 1), 0.5, dtype=torch.float64)
        attacked = pgd(table, x, labels, ball=BALL, steps=1, restarts=12, generator=torch.Generator().manual_seed(0))
        assert (table(attacked).argmax(1) == 1).all()


# ---- what an attack leaves alone ----


@pytest.mark.parametrize("training", [True, False])
def test_an_attack_leaves_no_trace(training):
    model, x = network().train(training), images()
    model[3].eval()  # a module's own mode
    model(x).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    slopes = [p.grad.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    x.requires_grad_()
    attacked = pgd(model, x, LABELS, ball=BALL, steps=2, restarts=2, generator=torch.Generator().manual_seed(0))
    signs_of_masking(model, images(), LABELS, ball=BALL, steps=1, generator=torch.Generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, slope) for p, slope in zip(model.parameters(), slopes, strict=True))
    assert all(p.requires_grad for p in model.parameters())
    assert [m.training for m in model] == [training] * 3 + [False] + [training] * 4
    assert x.grad is None
    assert not attacked.requires_grad


def test_an_attack_is_made_in_evaluation_mode_also_where_gradients_are_off():
    model, x = network(), images()
    with torch.no_grad():
        attacked = fgsm(model.train(), x, LABELS, ball=BALL)
    assert torch.equal(attacked, fgsm(model.eval(), x, LABELS, ball=BALL))


def test_withstanding_counts_images_that_are_right_both_ways():
    model, x = linear([1.0, 0.0], b=-0.5), torch.tensor([[0.9, 0.5], [0.55, 0.5], [0.2, 0.5]], dtype=torch.float64)
    labels = torch.tensor([1, 1, 1])
    assert withstands(model, x, labels).tolist() == [True, True, False]
    assert withstands(model, x, labels, partial(fgsm, ball=BALL)).tolist() == [True, False, False]
    helpful = lambda model, x, y: torch.ones_like(x)  # noqa: E731
    assert withstands(model, x, labels, helpful).tolist() == [True, True, False]


# ---- pixels ----


def test_a_normalised_network_takes_pixels_and_shrinks():
    with seeded(0):
        inner = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)).double()
    model, x = Normalised(inner, (0.5, 0.25), (0.2, 0.5)), torch.rand(4, 2, 3, 3).double()
    apart = torch.stack([(x[:, 0] - 0.5) / 0.2, (x[:, 1] - 0.25) / 0.5], 1)
    torch.testing.assert_close(model(x), inner(apart))
    assert [name for name, _ in model.named_parameters()] == [f"model.{name}" for name, _ in inner.named_parameters()]
    found = sites(model, x)
    small = shrink(model, {found[0].name: torch.tensor([True, False, True, True])}, found, example=x).model
    assert small.model[0].out_channels == 3
    with pytest.raises(InputError, match=r"pixels from -.* to .*, outside of 0 to 1; attack pixels, and put the"):
        fgsm(inner, apart, torch.tensor([0, 1, 2, 0]), ball=Ball(0.03))


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        (lambda m, x, y: fgsm(m, x, y, ball=Ball(-0.1)), r"eps=-0.1, low=0.0, high=1.0: give a finite eps"),
        (lambda m, x, y: fgsm(m, x, y, ball=Ball(0.1, 1.0, 1.0)), "a range of pixels with low below high"),
        (lambda m, x, y: pgd(m, x, y, ball=BALL, steps=0), "steps=0, step=None, restarts=1: give at least 1 step"),
        (lambda m, x, y: pgd(m, x, y, ball=BALL, restarts=0), "restarts=0: give at least 1 step and 1 restart"),
        (lambda m, x, y: pgd(m, x, y, ball=BALL, step=-1.0), "a length of 0 or more"),
        (lambda m, x, y: fgsm(m, x.half(), y, ball=BALL), "images to attack are torch.float16"),
        (lambda m, x, y: fgsm(m, {"x": x}, y, ball=BALL), "images to attack are dict; give one tensor"),
        (lambda m, x, y: fgsm(m, x - 1, y, ball=BALL), "outside of 0 to 1"),
        (lambda m, x, y: fgsm(nn.Sequential(m, Root()), x, y, ball=BALL), "gradient .* is not finite"),
        (lambda m, x, y: Normalised(m, (0.5,), (0.0,)), "std above 0"),
        (lambda m, x, y: vulnerability({}, {}), "clean features are read by no layer"),
    ],
)
def test_bad_input_is_one_clear_error(attack, says):
    with pytest.raises(InputError, match=says):
        attack(network(), images(), LABELS)


class Root(nn.Module):
    """Not a number below 0."""

    def forward(self, x):
        return (x - 1e3).sqrt()


# ---- features ----


def test_features_are_what_layers_but_the_first_read():
    model, x = network().eval(), images()
    with features(model) as seen:
        model(x)
    assert {name: tuple(z.shape) for name, z in seen.items()} == {"5": (6, 36), "7": (6, 8)}
    torch.testing.assert_close(seen["5"], model[:5](x))
    assert not any(m._forward_hooks for m in model.modules())


def test_vulnerability_by_hand():
    clean = {"a": torch.tensor([[1.0, 3.0]]), "b": torch.tensor([[2.0, 0.0, 2.0]])}
    attacked = {"a": torch.tensor([[2.0, 1.0]]), "b": torch.tensor([[2.0, 3.0, 2.0]])}
    assert vulnerability(clean, attacked).item() == pytest.approx((3 / 2 + 3 / 3) / 2)
    assert relative(clean, attacked).item() == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert vulnerability(clean, attacked, {"a": 6, "b": 3}).item() == pytest.approx((3 / 6 + 3 / 3) / 2)


def test_smaller_features_lower_the_vulnerability_and_not_the_relative_one():
    """What is behind makes up for it, and the network is as easily fooled."""
    model, x = network().eval(), images()
    small = network().eval()
    with torch.no_grad():
        for layer, by in ((small[1].weight, 0.1), (small[1].bias, 0.1), (small[5].weight, 10.0)):
            layer.mul_(by)
    found = []
    for each in (model, small):
        with features(each) as seen:
            each(x)
            clean = dict(seen)
            each(fgsm(each, x, LABELS, ball=BALL))
        found.append((vulnerability(clean, seen).item(), relative(clean, seen).item()))
    torch.testing.assert_close(small(x), model(x))
    assert found[1][0] < found[0][0]
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-9)


# ---- masked gradients ----


class Rounded(nn.Module):
    """Sees 16 grey levels: no gradient passes."""

    def forward(self, x):
        return (16 * x).round() / 16


def brighter_half(count=200):
    """Two classes by which half of four pixels is brighter, and a network that knows."""
    x = torch.rand(count, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, (x[:, 0] + x[:, 1] > x[:, 2] + x[:, 3]).long(), linear([1.0, 1.0, -1.0, -1.0])


def test_a_plain_network_shows_no_signs():
    x, labels, model = brighter_half()
    signs = signs_of_masking(model, x, labels, ball=BALL, steps=10, other=model, generator=torch.Generator())
    assert signs.warnings() == []
    assert signs.clean == 1
    assert signs.unlimited == signs.level == 0
    assert signs.fgsm == signs.pgd == signs.longer == signs.transferred < 1


def test_a_network_that_hides_from_gradients_is_found_out():
    x, labels, model = brighter_half()
    signs = signs_of_masking(nn.Sequential(Rounded(), model), x, labels, ball=BALL, steps=10, other=model,
                             generator=torch.Generator().manual_seed(0))  # fmt: skip
    said = " ".join(signs.warnings())
    assert signs.level == 1
    for word in ("with every pixel free", "attacks on another network do more harm", "the loss has no gradient"):
        assert word in said


def test_a_saturated_loss_is_found_out():
    """Logits so large that the softmax is 1 to the last digit: in float64 nothing is left of the gradient."""
    x, labels, model = brighter_half()
    with torch.no_grad():
        model.weight.mul_(1e6)
    signs = signs_of_masking(model, x, labels, ball=BALL, steps=10, generator=torch.Generator())
    assert signs.level > 0.9
    assert any("no gradient" in said for said in signs.warnings())


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"pgd": 0.6, "longer": 0.6}, "many steps do less harm than one"), ({"longer": 0.4}, "a longer attack finds more"),
     ({"unlimited": 0.2}, "every pixel free"), ({"transferred": 0.4}, "another network"), ({"level": 0.1}, "gradient")],
)  # fmt: skip
def test_each_sign_alone_is_said(changed, says):
    plain = obfuscated.Signs(clean=0.9, fgsm=0.55, pgd=0.5, longer=0.49, unlimited=0.05, level=0.01, transferred=0.7)
    assert plain.warnings() == []
    (said,) = plain._replace(**changed).warnings()
    assert says in said


@pytest.mark.parametrize("module", [sign, obfuscated, latent], ids=lambda module: module.__name__)
def test_examples_in_docstrings_run(module):
    with seeded(0):
        failed, tried = doctest.testmod(module, extraglobs={"torch": torch, "nn": nn})
    assert (failed, tried > 0) == (0, True)
