"""Laws of statistics: additive over samples; nothing left on the model, also when the forward pass raises."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.observe import Evidence, Statistic, hidden, observe, observing
from sapwood.task import Batch


def check_statistic(statistic: Statistic) -> list[Result]:
    """The laws of statistics, tried on `statistic`."""
    return tried(laws(statistic))


def laws(statistic: Statistic) -> Laws:
    """The laws of statistics about `statistic`, not yet tried."""
    bodies: dict[str, Callable[[Statistic], None]] = {
        "additive over any split of the samples": _additive,
        "a kernel as large as the image sees what a linear layer sees": _kernel,
        "a transposed convolution of single pixels sees what a straight one sees": _turned,
        "an operator in place behind a layer changes nothing": _in_place,
        "a layer that is called twice shows both calls": _shared,
        "layers that share a weight show what both see": _tied,
        "what checkpointing computes again counts once": _again,
        "300 passes sum to 300 times one, whenever one looks, in bfloat16 too": _often,
        "nothing is left on the model": _no_trace,
        "nothing is left on the model when the forward raises": _no_trace_on_failure,
        "only training passes count when told so": _training_only,
    }
    if statistic.backward:
        forward = (_often, _again, _no_trace_on_failure, _training_only)
        bodies = {law: body for law, body in bodies.items() if body not in forward}
    return {f"statistic {statistic}: {law}": partial(body, statistic) for law, body in bodies.items()}


def _loss(outputs: Tensor, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(outputs, batch.targets, reduction="sum")


def _seen(statistic: Statistic, sizes: list[int]) -> Evidence:
    model, samples = seeded_model(), tiny_samples()
    ends = torch.tensor(sizes).cumsum(0).tolist()
    batches = [samples.take(slice(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
    return observe(model, batches, statistic, loss=_loss, only=hidden(model))


def _additive(statistic: Statistic) -> None:
    whole = _seen(statistic, [48])
    for sizes in ([1] * 48, [7, 40, 1], [16, 16, 16]):
        parts = _seen(statistic, sizes)
        for layer, sums in whole.items():
            same = torch.allclose(sums[statistic].double(), parts[layer][statistic].double(), rtol=1e-9, atol=1e-12)
            demand(
                same,
                f"{layer}: batches of {sizes[:3]}... give another sum than one batch of 48; "
                "sum in float64 or int64, as in y_NO.double().sum(0)",
            )


def _kernel(statistic: Statistic) -> None:
    """Images of 3 channels and 4 x 5 pixels, under a kernel of that size, and under the same weights as a matrix."""
    luck = torch.Generator().manual_seed(0)
    images = torch.randn(11, 3, 4, 5, generator=luck, dtype=torch.float64)
    weight = torch.randn(6, 3, 4, 5, generator=luck, dtype=torch.float64)
    rows = _seen_by(nn.Linear(60, 6, bias=False), statistic, images.flatten(1), weight.flatten(1))
    pixels = _seen_by(nn.Conv2d(3, 6, (4, 5), bias=False), statistic, images, weight)
    _demand_same(rows, pixels, "the sums differ")


def _turned(statistic: Statistic) -> None:
    luck = torch.Generator().manual_seed(0)
    images = torch.randn(11, 3, 4, 5, generator=luck, dtype=torch.float64)
    weight = torch.randn(6, 3, 1, 1, generator=luck, dtype=torch.float64)
    straight = _seen_by(nn.Conv2d(3, 6, 1, bias=False), statistic, images, weight)
    turned = _seen_by(nn.ConvTranspose2d(3, 6, 1, bias=False), statistic, images, weight.transpose(0, 1))
    _demand_same(straight, turned, "the sums differ")


def _in_place(statistic: Statistic) -> None:
    """Looking forward only, and beside a statistic of the outputs' gradients."""
    for beside in ((), (_slopes,)):
        plain, over = (
            observe(_relus(inplace), [tiny_samples()], statistic, *beside, loss=_loss, only=["0"])["0"]
            for inplace in (False, True)
        )
        for name, value in plain.items():
            _demand_same(over[name], value, f"{name} is another with ReLU(inplace=True) behind the layer")


def _relus(inplace: bool) -> nn.Module:
    return nn.Sequential(*(nn.ReLU(inplace) if isinstance(m, nn.ReLU) else m for m in seeded_model()))


def _shared(statistic: Statistic) -> None:
    """One layer called twice, and two layers with its numbers: the latter's sums together."""
    model, samples = seeded_model(), tiny_samples()
    twin = copy.deepcopy(model[2])
    once, twice = (
        observe(
            nn.Sequential(model[0], model[1], model[2], second, *list(model)[3:]),
            [samples], statistic, _slopes, loss=_loss, only=only,
        )
        for second, only in ((twin, ["2", "3"]), (model[2], ["2"]))
    )  # fmt: skip
    for name in (statistic, _slopes):
        _demand_same(twice["2"][name], once["2"][name] + once["3"][name], f"{name}: two calls are not the sum of both")


def _tied(statistic: Statistic) -> None:
    model, samples = seeded_model(), tiny_samples()
    apart = nn.Sequential(model[0], model[1], model[2], copy.deepcopy(model[2]), *list(model)[3:])
    together = copy.deepcopy(apart)
    together.get_submodule("3").weight = together.get_submodule("2").weight
    once = observe(apart, [samples], statistic, _slopes, loss=_loss, only=["2", "3"])
    both = observe(together, [samples], statistic, _slopes, loss=_loss, only=["3"])
    for name in (statistic, _slopes):
        _demand_same(both["2"][name], once["2"][name] + once["3"][name], f"{name}: not the sum of both layers'")


_slopes = Statistic("slopes", lambda s: s.gy_NO.double().sum(0), backward=True)


def _again(statistic: Statistic) -> None:
    model, samples = seeded_model(), tiny_samples()
    with observing(model, statistic, only=hidden(model)) as once:
        model(samples.inputs)
    with observing(model, statistic, only=hidden(model)) as seen:
        h = checkpoint(model[:3], samples.inputs, use_reentrant=False)
        torch.autograd.backward(_loss(model[3:](h), samples))
    for layer, sums in once.items():
        _demand_same(seen[layer][statistic], sums[statistic], f"{layer}: not what one pass shows")


def _demand_same(found: Tensor, expected: Tensor, reason: str) -> None:
    demand(found.shape == expected.shape, f"shapes {tuple(found.shape)} and {tuple(expected.shape)}")
    demand(torch.allclose(found.double(), expected.double(), rtol=1e-9, atol=1e-12), reason)


def _seen_by(layer: nn.Module, statistic: Statistic, inputs: Tensor, weight: Tensor) -> Tensor:
    model = nn.Sequential(layer, nn.Flatten()).double()
    model.load_state_dict({"0.weight": weight})
    targets = torch.arange(len(inputs)) % 6
    return observe(model, [Batch(inputs, targets)], statistic, loss=_loss, only=["0"])["0"][statistic]


def _often(statistic: Statistic) -> None:
    for dtype in (torch.float64, torch.bfloat16):  # bfloat16 counts to 256
        model, inputs = seeded_model().to(dtype), tiny_samples().inputs[:5].to(dtype)
        with observing(model, statistic, only=hidden(model)) as seen:
            model(inputs)
            once = {layer: sums[statistic].clone() for layer, sums in seen.items()}
            for _ in range(299):
                model(inputs)
        for layer, value in once.items():
            same = torch.allclose(seen[layer][statistic].double(), 300 * value.double(), rtol=1e-9)
            demand(
                same,
                f"{layer} in {dtype}: {seen[layer][statistic].tolist()} after 300 passes, {value.tolist()} after 1; "
                "sum in float64 or int64, as in y_NO.double().sum(0)",
            )


def _no_trace(statistic: Statistic) -> None:
    model = seeded_model()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    observe(model, [tiny_samples()], statistic, loss=_loss, only=hidden(model))
    _demand_untouched(model)
    demand(all(torch.equal(v, before[n]) for n, v in model.state_dict().items()), "weights changed")
    demand(all(p.grad is None for p in model.parameters()), "gradients were left behind")


def _no_trace_on_failure(statistic: Statistic) -> None:
    model = seeded_model()
    raised = False
    try:
        with observing(model, statistic, only=hidden(model)):
            model(torch.zeros(2, 99, dtype=torch.float64))
    except RuntimeError:
        raised = True
    demand(raised, "the failing forward pass did not raise")
    _demand_untouched(model)


def _training_only(statistic: Statistic) -> None:
    model = seeded_model()
    with observing(model, statistic, only=hidden(model), training=True) as seen:
        model.eval()
        model(tiny_samples().inputs)
    demand(not any(seen.values()), "a pass in evaluation mode was counted")


def _demand_untouched(model: nn.Module) -> None:
    hooks = [n for n, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    demand(not hooks, f"hooks were left on {hooks}")
    demand(all(m.training for m in model.modules()), "the mode changed")
