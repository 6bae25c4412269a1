"""Laws of networks that skip what gates close, and bugs planted in them."""

import torch
from planted.mutant import bugs, instead
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sapwood import macs_of, points, sites
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.export import Skipping, open_channels
from sapwood.gates import Gated, Saliency

computed, opened, groups = open_channels.Part._computed, open_channels.Pass.open, open_channels.groups
count, full = open_channels.Pass.count, open_channels.Part._full
whole, everything = open_channels.Part._all_of_one, open_channels.Part._all


class Stream(nn.Module):
    """Two producers of a stream, units inside of a block, two sites side by side in one reader."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.a, self.bn_a = nn.Conv2d(6, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.b, self.c = nn.Conv2d(10, 6, 1), nn.Conv2d(6, 7, 3)
        self.head = nn.Linear(7 * 4 + 6 * 16, 3)

    def forward(self, x):
        x = self.bn(self.stem(x))
        x = (x + self.b(self.bn_a(self.a(x)).relu())).relu()
        return self.head(torch.cat([self.c(x).relu().flatten(1), x.flatten(1)], 1))


def networks():
    """(gated network in evaluation mode, sites, six samples of which two are alike); float64, norms that shift."""
    torch.manual_seed(0)
    plain = [nn.Conv2d(2, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 9), nn.Tanh(), nn.Linear(9, 3)]
    for model in (Stream(), nn.Sequential(*plain)):
        x = torch.randn(6, 2, 4, 4, dtype=torch.float64)
        x[5] = x[2]
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.bias.data = torch.rand_like(norm.bias) + 0.5
        found = sites(model.double().eval(), x[:1])
        reads = {site.name: model.get_submodule(site.name).weight.shape[1] for site in found}
        gates = {site.name: Saliency(site.units, reads=reads[site.name], start=0.0) for site in found}
        gated = Gated(model, gates, points(model, found, x[:1])).double().eval()
        for gate in gated.gates.values():
            gate.inner.data *= 4
            gate.outer.data *= 4
        yield gated, found, x


CASES = []


def cases():
    """The networks, made once: no law changes them."""
    CASES.extend(networks() if not CASES else ())
    return CASES


def laws() -> Laws:
    return {
        "skipping: a batch is answered as by the gated network": _batches,
        "skipping: a sample by itself is answered as by the gated network": _alone,
        "skipping: so it is on open channels alone": _compact,
        "skipping: what a sample takes is what its open units cost, and the gates": _counted,
        "skipping: torch counts as many multiplications": _executed,
        "skipping: layers that multiply everything answer the same, and tell what they took": _whole,
    }


def _batches() -> None:
    for gated, found, x in cases():
        with torch.no_grad():
            expected = gated(x)
        gap = float((Skipping(gated, found)(x) - expected).abs().max())
        demand(gap < 1e-10, f"outputs differ by {gap:.1e}")


def _alone(compact: bool = False) -> None:
    for gated, found, x in cases():
        small = Skipping(gated, found, x if compact else None)
        demand(small.compact is compact, f"compact is {small.compact}")
        for sample in x[:, None]:
            with torch.no_grad():
                gap = float((small(sample) - gated(sample)).abs().max())
            demand(gap < 1e-10, f"outputs differ by {gap:.1e}")


def _compact() -> None:
    _alone(compact=True)


def _counted() -> None:
    for gated, found, x in cases():
        small = Skipping(gated, found)
        with torch.no_grad():
            gated(x)
        gates = gated.by_site()
        expected = macs_of(gated.model, found, x[:1])({n: gate.passed for n, gate in gates.items()})
        expected += sum(gate.macs for gate in gates.values())
        small(x)
        demand(len(expected.unique()) > 2, "all samples cost the same")
        demand(small.executed.tolist() == expected.tolist(), f"{small.executed.tolist()}, not {expected.tolist()}")


def _executed() -> None:
    for gated, found, x in cases():
        small = Skipping(gated, found, x)
        for inputs in (x, x[:1]):
            with FlopCounterMode(display=False) as counter:
                small(inputs)
            seen, told = counter.get_total_flops() // 2, int(small.executed.sum())
            demand(seen == told, f"it tells {told} multiply-adds, and torch saw {seen}")


def _whole() -> None:
    """Every second layer, and all, in batches and alone, on open channels and at full size."""
    for gated, found, x in cases():
        with torch.no_grad():
            expected = gated(x)
        layers = [name for name, m in gated.model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        for whole in (layers[::2], layers[1::2], layers):
            for example in (None, x):
                small = Skipping(gated, found, example, whole=whole)
                demand(list(small.whole) == whole, f"whole are {small.whole}, not {whole}")
                gaps = [
                    float((small(part) - each).abs().max()) for part, each in ((x, expected), (x[:1], expected[:1]))
                ]
                demand(max(gaps) < 1e-10, f"outputs differ by {max(gaps):.1e}")
                with FlopCounterMode(display=False) as counter:
                    small(x[:1])
                seen, told = counter.get_total_flops() // 2, int(small.executed)
                demand(seen == told, f"it tells {told} multiply-adds, and torch saw {seen}")
        every = sum(gate.macs for gate in gated.by_site().values()) + int(macs_of(gated.model, found, x[:1])({}))
        demand(told == every, f"all layers take {told}, the network and its gates {every}")


def of_zeros(self, x, members, into, out):
    """Everything multiplied, and what is closed put to 0."""
    y = computed(self, x, members, None, None)
    if out is not None:
        kept = torch.zeros(len(self.layer.weight), dtype=torch.bool)
        kept[out] = True
        y = y * kept.view([-1 if dim == self.axis % y.dim() else 1 for dim in range(y.dim())])
    return y


def all_inputs(self, x, members, into, out):
    return computed(self, x, members, None, out)


def half_of_it(self, members, samples, macs):
    count(self, members, samples, macs // 2)


def one_group(read, made):
    """All samples as the first one."""
    yield next(iter(groups(*(None if mask is None else mask[:1] for mask in (read, made)))))


def last_site(self, places):
    return opened(self, places[-1:])


def of_the_others(self, x, forward=open_channels.Norm.forward):
    """The scales of closed channels where there are as many, else of the last ones."""
    kept, places = self.now.masks, self.now._places
    self.now.masks, self.now._places = {name: mask.flip(1) for name, mask in kept.items()}, {}
    try:
        return forward(self, x)
    finally:
        self.now.masks, self.now._places = kept, places


def read_anyway(self, x, into, out):
    """Closed inputs of a layer that multiplies everything are what they are."""
    return whole(self, x, into if self.now.compact else None, out)


def unfilled(self, x, places, size):
    """Channels put at the first places instead of where they belong."""
    return full(self, x, torch.arange(len(places)), size)


def as_if_half(self, x):
    y = everything(self, x)
    self.now.count(None, len(x), -self.layer.weight.numel() // 2)
    return y


MUTANTS = bugs(
    "skipping",
    laws,
    {
        "a batch is answered as by the gated network": {
            "all samples of a batch under the masks of the first": instead(open_channels, "groups", one_group),
            "closed inputs that are read": instead(open_channels.Part, "_computed", all_inputs),
        },
        "a sample by itself is answered as by the gated network": {
            "only one of the sites that a layer reads looked at": instead(open_channels.Pass, "open", last_site),
        },
        "so it is on open channels alone": {
            "scales of other channels than the open ones": instead(open_channels.Norm, "forward", of_the_others),
        },
        "what a sample takes is what its open units cost, and the gates": {
            "outputs put to 0 and inputs not left out": instead(open_channels.Part, "_computed", of_zeros),
        },
        "layers that multiply everything answer the same, and tell what they took": {
            "closed inputs of a whole layer that are read": instead(open_channels.Part, "_all_of_one", read_anyway),
            "channels of a whole layer that lie elsewhere": instead(open_channels.Part, "_full", unfilled),
            "a whole layer that tells half of what it took": instead(open_channels.Part, "_all", as_if_half),
        },
        "torch counts as many multiplications": {
            "half of what is multiplied is told": instead(open_channels.Pass, "count", half_of_it),
        },
    },
)
