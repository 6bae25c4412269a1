"""What gates on all sites of a random network are put to: 0 is the network without the unit; costs and their slopes."""

import torch
from random_checks import answers_alike
from test_shrink import half

from sapwood.gates import Gated, UnitGate
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.scaling import points
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy


class Fixed(UnitGate):
    """A gate of given values."""

    def __init__(self, value):
        super().__init__(len(value))
        self.value = torch.nn.Parameter(value.double())

    def draw(self, x):
        return self.value

    def open(self):
        return self.value

    def keep(self):
        return self.value.detach() > 0


def gated_by(model, found, values, places):
    return Gated(model, {site.name: Fixed(values[site.name]) for site in found}, places).eval()


def between(found, seed):
    luck = torch.Generator().manual_seed(seed)
    return {site.name: 0.1 + 0.8 * torch.rand(site.units, generator=luck, dtype=torch.float64) for site in found}


def gates_are_right(model, inputs, seed):
    """On all sites at once and on one alone, for whatever `sites` offers."""
    anatomy = Anatomy(model, inputs[0])
    found = sites(anatomy)
    places = points(anatomy)
    assert set(places) == {site.name for site in found}
    for some in (found, found[seed % len(found) :][:1]) if found else ():
        keep = half(some, seed)
        gated = gated_by(model, some, keep, places)
        small = shrink(anatomy, keep, some, check=False).model
        baked, kept = gated.bake()
        assert all(torch.equal(kept[name], keep[name]) for name in keep)
        for x in inputs:
            with torch.no_grad():
                wanted = gated(x)
                answers_alike(small, x, wanted)
                answers_alike(baked, x, wanted)
    if found:
        _bakes(model, found, between(found, seed), places, inputs)
        _costs(macs_of(anatomy), between(found, seed), between(found, seed + 1))


def _bakes(model, found, values, places, inputs):
    gated = gated_by(model, found, values, places)
    baked, _ = gated.bake()
    for x in inputs:
        answers_alike(baked, x, gated(x).detach())


def _costs(cost, values, others):
    """The slope along `others` against a difference; two samples at once against each alone."""
    likely = {name: value.clone().requires_grad_() for name, value in values.items()}
    cost(likely).backward()
    slope = sum(float((likely[name].grad * others[name]).sum()) for name in values)
    up, down = (float(cost({n: v + step * others[n] for n, v in values.items()})) for step in (1e-4, -1e-4))
    assert abs((up - down) / 2e-4 - slope) <= 1e-6 * abs(slope)
    both = cost({name: torch.stack([value, others[name]]) for name, value in values.items()})
    alone = torch.stack([cost(values), cost(others)])
    torch.testing.assert_close(both, alone, rtol=1e-12, atol=0)
