"""Scores that are products with gradients are |w dL/dw|, whatever stands between us and a layer's own output."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from sapwood import CRITERIA, Batch, InputError, Statistic, observe, score
from sapwood.scoring import saliency
from sapwood.scoring.statistics import count, weight_grad

snip = CRITERIA["snip"]


def summed(outputs, batch):
    outputs = outputs if isinstance(outputs, torch.Tensor) else sum(o.sum(1, keepdim=True) for o in outputs)
    return F.cross_entropy(outputs, batch.targets % outputs.shape[1], reduction="sum") + outputs.square().sum()


def batch(*shape, seed=0):
    luck = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(*shape, generator=luck, dtype=torch.float64), torch.arange(shape[0]) % 3)


class Network(nn.Module):
    """Layers by name, and a forward that is given."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.way = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.way(self, x)


def network(forward, **layers):
    torch.manual_seed(0)
    made = {name: make() for name, make in layers.items()}
    return Network(forward, **made).double()


def linear(inputs, outputs):
    return lambda: nn.Linear(inputs, outputs)


def written_over(m, x):
    h = F.dropout(m.a(x), 0.5, training=m.training, inplace=True)
    h = F.relu_(h)
    h = m.b(h)
    h[:, 0] *= 2  # a piece of an output
    h.add_(1).mul_(0.5).clamp_(min=0)
    return m.c(h)


def viewed(m, x):
    h = m.a(x.view(2, -1, x.shape[1]))  # a Linear of a sequence gives a view
    return m.c(m.b(h.relu_()).view(len(x), -1).sigmoid_())


def several_times(m, x):
    h = m.a(x).relu()
    for _ in range(3):
        h = m.b(h).relu_()
    return m.c(h)


def recomputed(m, x):
    h = checkpoint(lambda t: F.relu(m.a(t), inplace=True), x, use_reentrant=False)
    return m.c(checkpoint(lambda t: m.b(m.b(t)).relu(), h, use_reentrant=False))


def forward_called(m, x):
    return m.c.forward(m.b.forward(m.a(x).relu()))


def weight_read(m, x):
    return F.linear(F.linear(m.a(x).relu(), m.b.weight).tanh(), m.c.weight, m.c.bias)


def functional(m, x):
    return m.c(torch.func.functional_call(m.b, dict(m.b.named_parameters()), (m.a(x).relu(),)))


WAYS = [written_over, viewed, several_times, recomputed, forward_called, weight_read, functional]


def expected(model, *batches, loss=summed):
    """|w dL/dw| by backward, of every weight matrix."""
    model.zero_grad()
    frozen = [p for p in model.parameters() if not p.requires_grad]
    for p in frozen:
        p.requires_grad_(True)
    with torch.enable_grad():
        for each in batches:
            loss(model(each.inputs), each).backward()
    found = {n: (p * p.grad).abs().detach() for n, p in model.named_parameters() if p.grad is not None and p.dim() > 1}
    for p in frozen:
        p.requires_grad_(False)
    model.zero_grad()
    return found


def snipped(model, *batches, loss=summed, only=None):
    return score(model, snip, observe(model, list(batches), *snip.needs, loss=loss, only=only), only=only)


def same(found, wanted):
    assert set(found) == set(wanted)
    for name, s in found.items():
        torch.testing.assert_close(s, wanted[name], rtol=1e-11, atol=1e-13)
        assert s.abs().max() > 0


@pytest.mark.parametrize("way", WAYS)
def test_snip_by_definition(way):
    model = network(way, a=linear(4, 5), b=linear(5, 5), c=linear(5, 3)).eval()
    given = [batch(6, 4), batch(2, 4, seed=1)]
    same(snipped(model, *given), expected(model, *given))


@pytest.mark.parametrize("way", [written_over, viewed, several_times, recomputed])
def test_statistics_of_outputs_gradients_see_each_call_before_what_overwrites_it(way):
    """gy'x summed over all calls is the weight's gradient; x, y and gy are those of the layer's own output."""
    by_hand = Statistic("by_hand", lambda s: s.gy_NO.T @ s.x_NI, backward=True)
    model = network(way, a=linear(4, 5), b=linear(5, 5), c=linear(5, 3)).eval()
    seen = observe(model, [batch(6, 4)], by_hand, weight_grad, count, loss=summed)
    for sums in seen.values():
        torch.testing.assert_close(sums[by_hand], sums[weight_grad], rtol=1e-11, atol=1e-13)
    calls = {several_times: 3, recomputed: 2}.get(way, 1)
    assert int(seen["b"][count]) == 6 * calls


def test_outputs_are_those_before_an_operator_in_place():
    outputs = Statistic("outputs", lambda s: s.y_NO.sum(0))
    slopes = Statistic("slopes", lambda s: s.gy_NO.sum(0), backward=True)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    given = batch(9, 3)
    wanted = model[0](given.inputs).detach().sum(0)
    for options in ({"loss": summed}, {}):
        wants = (outputs, slopes) if options else (outputs,)
        torch.testing.assert_close(observe(model, [given], *wants, **options)["0"][outputs], wanted)


CONVOLUTIONS = {
    "depthwise": lambda: nn.Conv2d(4, 4, 3, groups=4),
    "circular": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    "same": lambda: nn.Conv2d(4, 4, 3, padding="same"),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
    "transposed in groups": lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, dilation=2),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_of_every_kind(kind):
    model = network(lambda m, x: m.b(m.a(x)).flatten(1).tanh(), a=lambda: nn.Conv2d(2, 4, 1), b=CONVOLUTIONS[kind])
    given = batch(5, 2, 6, 6)
    same(snipped(model, given), expected(model, given))


def test_frozen_layers_are_scored_and_stay_frozen():
    model = network(lambda m, x: m.c(m.b(m.a(x)).relu_()), a=linear(4, 5), b=linear(5, 5), c=linear(5, 3))
    model.a.requires_grad_(False)
    model.b.weight.requires_grad_(False)
    given = batch(7, 4)
    same(snipped(model, given), expected(model, given))
    assert [p.requires_grad for p in model.parameters()] == [False, False, False, True, True, True]
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    same(
        saliency.synflow(model, given.inputs),
        {n: s.double() for n, s in saliency.synflow(model.float(), given.inputs).items()},
    )
    assert set(saliency.grasp(model.double(), given, summed)) == {"a.weight", "b.weight", "c.weight"}
    assert not any(p.requires_grad for p in model.parameters())


def test_an_error_leaves_frozen_layers_frozen_and_no_hooks():
    model = network(lambda m, x: m.c(m.a(x)), a=linear(4, 5), c=linear(5, 3)).requires_grad_(False)
    with pytest.raises(InputError, match="RuntimeError: mat1 and mat2"):
        observe(model, [batch(7, 99)], weight_grad, count, loss=summed)
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())
    assert model.training


def unused(m, x):
    m.b(m.a(x))  # seen, and thrown away
    return m.c(m.a(x).relu())


def detached(m, x):
    return m.c(m.b(m.a(x)).detach() + m.a(x))


def without_gradients(m, x):
    with torch.no_grad():
        h = m.b(m.a(x))
    return m.c(h + m.a(x))


@pytest.mark.parametrize("way", [unused, detached, without_gradients])
@pytest.mark.parametrize("needs", [(weight_grad,), (weight_grad, count)])
def test_a_weight_on_which_the_loss_does_not_depend_is_named(way, needs):
    model, given = network(way, a=linear(4, 5), b=linear(5, 5), c=linear(5, 3)), batch(6, 4)
    with pytest.raises(InputError, match="'b'"):
        observe(model, [given], *needs, loss=summed)
    some = snipped(model, given, only=["a", "c"])
    wanted = expected(model, given)
    same(some, {name: wanted[name] for name in some})
    for look in (lambda: saliency.grasp(model, given, summed), lambda: saliency.synflow(model, given.inputs)):
        with pytest.raises(InputError, match="'b'"):
            look()


def test_an_expert_that_some_batches_do_not_use():
    model = network(lambda m, x: m.c((m.a if x.sum() > 0 else m.b)(x)), a=linear(4, 5), b=linear(4, 5), c=linear(5, 3))
    given = [Batch(x, y) for x, y in (batch(6, 4),) for x in (x.abs(), -x.abs())]
    same(snipped(model, *given), expected(model, *given))


def test_detached_outputs_and_losses_of_several_numbers_are_named():
    model, given = nn.Sequential(nn.Linear(4, 3)).double(), batch(6, 4)
    with pytest.raises(InputError, match="depends on no weight"):
        observe(model, [given], weight_grad, loss=lambda y, b: y.detach().sum())
    with pytest.raises(InputError, match=r"shape \(6,\); give one number"):
        observe(model, [given], weight_grad, loss=lambda y, b: y.sum(1))
    with pytest.raises(InputError, match="the loss is a float"):
        observe(model, [given], weight_grad, loss=lambda y, b: float(y.detach().sum()))


def test_weights_that_can_have_no_gradient_are_named():
    model = network(lambda m, x: m.c(m.a(x)), a=linear(4, 5), b=linear(5, 5), c=linear(5, 3))
    model.b.weight = nn.Parameter(torch.ones(5, 5, dtype=torch.int8), requires_grad=False)
    with pytest.raises(InputError, match="does not depend on the weight of 'b'"):
        observe(model, [batch(6, 4)], weight_grad, loss=summed)
    assert observe(model, [batch(6, 4)], weight_grad, loss=summed, only=[]) == {}


def test_reentrant_checkpointing_is_refused_by_name():
    way = lambda m, x: m.c(checkpoint(m.a, x.requires_grad_(), use_reentrant=True))  # noqa: E731
    behind = lambda m, x: m.c(checkpoint(m.a, m.b(x), use_reentrant=True))  # noqa: E731
    for model in (
        network(way, a=linear(4, 5), c=linear(5, 3)),
        network(behind, a=linear(5, 5), b=linear(4, 5), c=linear(5, 3)),
    ):
        with pytest.raises(InputError, match="use_reentrant=True"):
            observe(model, [batch(6, 4)], weight_grad, loss=summed)


def attention(m, x):
    h = m.b(x.view(len(x), 2, 4))
    return m.c(m.a(h, h, h)[0].sum(1))


def test_weights_that_no_layer_is_called_for():
    model = network(attention, a=lambda: nn.MultiheadAttention(4, 2, batch_first=True), b=linear(4, 4), c=linear(4, 3))
    given, wanted = batch(6, 8), None
    wanted = expected(model.eval(), given)
    found = snipped(model, given, only=["b", "a.out_proj", "c", "a.in_proj_weight"])
    same(found, wanted)
    encoder = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 7, batch_first=True), nn.Flatten(), nn.Linear(8, 3))
    given = Batch(given.inputs.view(6, 2, 4), given.targets)
    wanted = expected(encoder.double().eval(), given)
    same(snipped(encoder, given), {n: s for n, s in wanted.items() if "in_proj" not in n})


def test_parameters_by_their_own_name():
    way = lambda m, x: m.c(m.a(m.e(x.long() % 3))[0][:, -1])  # noqa: E731
    model = network(way, e=lambda: nn.Embedding(3, 4), a=lambda: nn.LSTM(4, 5, batch_first=True), c=linear(5, 3))
    given, names = batch(6, 7), ["a.weight_hh_l0", "e.weight", "c"]
    wanted = expected(model, given)
    same(snipped(model, given, only=names), {n: wanted[n] for n in ("a.weight_hh_l0", "e.weight", "c.weight")})


@pytest.mark.parametrize("how", ["torch's masks", "weight norm", "spectral norm", "old weight norm"])
def test_computed_weights_are_scored_by_what_they_are_in_the_pass(how):
    model = network(several_times, a=linear(4, 5), b=linear(5, 5), c=linear(5, 3)).eval()
    if how == "torch's masks":
        prune.l1_unstructured(model.b, "weight", 0.4)
        name = "b.weight_orig"
    elif how == "weight norm":
        parametrizations.weight_norm(model.b)
        name = "b.parametrizations.weight.original1"
    elif how == "spectral norm":
        parametrizations.spectral_norm(model.b)
        name = "b.parametrizations.weight.original"
    else:
        with pytest.warns(FutureWarning):
            nn.utils.weight_norm(model.b)
        name = "b.weight_v"
    given = batch(6, 4)
    w = model.b.weight.detach().clone().requires_grad_()
    plain = network(several_times, a=linear(4, 5), b=linear(5, 5), c=linear(5, 3))
    for part in ("a", "c"):
        getattr(plain, part).load_state_dict(getattr(model, part).state_dict())
    plain.b.bias = model.b.bias
    plain.b.weight.data = w.detach()
    wanted = expected(plain, given)
    found = snipped(model.requires_grad_(False), given)
    assert set(found) == {"a.weight", name, "c.weight"} <= {n for n, _ in model.named_parameters()}
    torch.testing.assert_close(found[name], wanted["b.weight"], rtol=1e-10, atol=1e-12)
    hessian = saliency.grasp(model, given, summed)
    torch.testing.assert_close(hessian[name], saliency.grasp(plain, given, summed)["b.weight"], rtol=1e-9, atol=1e-12)
    if how == "torch's masks":
        flow = saliency.synflow(plain, given.inputs)
        torch.testing.assert_close(saliency.synflow(model, given.inputs)[name], flow["b.weight"])
    assert not any(p.requires_grad for p in model.parameters())


def test_tied_weights_sum_the_gradients_of_all_their_uses():
    model = network(lambda m, x: m.c(m.b(m.a(x).relu_())), a=linear(5, 5), b=linear(5, 5), c=linear(5, 3))
    model.b.weight = model.a.weight
    given = batch(6, 5)
    same(snipped(model, given), expected(model, given))
    same(snipped(model, given, only=["b"]), {"a.weight": expected(model, given)["a.weight"]})


def test_inside_of_inference_mode_and_no_grad():
    model, given = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).double(), batch(6, 4)
    wanted = expected(model, given)
    with torch.no_grad():
        same(snipped(model, given), wanted)
    with torch.inference_mode():
        inputs = given.inputs.clone()
        found = snipped(model, Batch(inputs, given.targets))
    same({n: s.clone() for n, s in found.items()}, wanted)


def test_under_autocast_gradients_are_those_of_the_float32_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    given = Batch(batch(6, 4).inputs.float(), batch(6, 4).targets)
    with torch.autocast("cpu", torch.bfloat16):
        found = snipped(model, given, loss=lambda y, b: F.cross_entropy(y.float(), b.targets, reduction="sum"))
        F.cross_entropy(model(given.inputs).float(), given.targets, reduction="sum").backward()
    for name, s in found.items():
        p = model.get_parameter(name)
        torch.testing.assert_close(s, (p * p.grad).abs().double(), rtol=1e-6, atol=1e-9)
