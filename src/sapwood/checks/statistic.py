"""Laws of statistics: additive over samples; nothing left on the model, also when the forward pass raises."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

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
        "300 passes sum to 300 times one, whenever one looks, in bfloat16 too": _often,
        "nothing is left on the model": _no_trace,
        "nothing is left on the model when the forward raises": _no_trace_on_failure,
        "only training passes count when told so": _training_only,
    }
    if statistic.backward:
        bodies = {law: body for law, body in bodies.items() if body in (_additive, _kernel, _no_trace)}
    return {f"statistic {statistic}: {law}": partial(body, statistic) for law, body in bodies.items()}


def _loss(outputs: Tensor, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(outputs, batch.targets, reduction="sum")


def _seen(statistic: Statistic, sizes: list[int]) -> Evidence:
    model, samples = seeded_model(), tiny_samples()
    ends = torch.tensor(sizes).cumsum(0).tolist()
    batches = [samples.rows(slice(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
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
    demand(rows.shape == pixels.shape, f"shapes {tuple(rows.shape)} and {tuple(pixels.shape)}")
    demand(torch.allclose(rows.double(), pixels.double(), rtol=1e-9, atol=1e-12), "the sums differ")


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
