"""Bugs planted in the surgeon's choice, and in the pass that removes heads and widths from a pretrained model."""

from contextlib import nullcontext

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.solver import layer_to_solve
from sapwood.checks.tiny import seeded
from sapwood.export import amounts, unit_rules, units_by_block
from sapwood.export.inside import Inside, Place
from sapwood.export.units_by_block import one_shot_units
from sapwood.reconstruction import flow, output_error, refit, surgery

left, reader = surgery._left, unit_rules.UnitRule._reader
D = torch.float64


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Linear(4, 10), torch.nn.Linear(10, 4)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


def model():
    with seeded(5):
        return torch.nn.Sequential(Block(), Block()).double()


def batches():
    return torch.randn(60, 4, dtype=D, generator=torch.Generator().manual_seed(2)).split(30)


def surgeon_laws() -> Laws:
    return {
        "surgeon: each time the unit goes after which a refit loses least": _one_after_another,
        "surgeon: units of several columns go as a whole": _whole_units,
    }


def unit_laws() -> Laws:
    return {
        "units: what reads them gets the weights and the bias of least squares": _refitted,
        "units: each block is judged on what the smaller ones before it give": _on_the_smaller,
        "units: the model is as it was afterwards": _as_it_was,
        "units: of a share of the weights, widths make up what heads leave": _made_up,
    }


def lost(w, g, keep_I):
    return output_error(refit(w, g, keep=keep_I)[0], w, g)


def greedily(w, g, unit_of_I, count):
    """The units that go, by brute force."""
    gone = []
    while len(gone) < count:
        rest = [u for u in range(int(unit_of_I.max()) + 1) if u not in gone]
        gone.append(min(rest, key=lambda u: lost(w, g, ~torch.isin(unit_of_I, torch.tensor([*gone, u])))))
    return sorted(gone)


def _one_after_another() -> None:
    w, g = layer_to_solve()
    wanted = greedily(w, g, torch.arange(20), 8)
    keep = surgery.surgeon(w, g, sparsity=0.4, ridge=1e-13)[1]
    demand((~keep).nonzero().flatten().tolist() == wanted, "other units went than by trying each")


def _whole_units() -> None:
    w, g = layer_to_solve()
    units = torch.arange(20) // 4
    keep = surgery.surgeon(w, g, sparsity=0.4, unit_of_I=units, ridge=1e-13)[1]
    gone = (~keep).nonzero().flatten().tolist()
    demand(gone == greedily(w, g, units, 2), f"units {gone} went")


def _refitted() -> None:
    net, x = model(), torch.cat(batches())
    small = one_shot_units(net, batches(), {"widths": 0.5}, by="outputs", multiple=1).model
    z, was = small[0].up(x).relu().detach(), (net[0](x) - x).detach()
    gap = was - small[0].down(z).detach()
    slope = torch.cat([z.T @ gap, gap.sum(0, keepdim=True)])
    demand(float(slope.abs().max()) < 1e-6, f"the error's slope is {float(slope.abs().max()):.1e}")


def _on_the_smaller() -> None:
    net, x = model(), torch.cat(batches())
    shot = one_shot_units(net, batches(), {"widths": 0.5}, multiple=1)
    x = shot.model[0](x)
    z = torch.cat([net[1].up(x).relu(), torch.ones(len(x), 1, dtype=D)], 1).detach()
    w = torch.cat([net[1].down.weight, net[1].down.bias[:, None]], 1).detach()
    keep = torch.cat([shot.keep["1.up"], torch.ones(1, dtype=torch.bool)])
    wanted = lost(w, z.T @ z, keep)
    demand(abs(shot.layers[1].error - wanted) < 1e-9, f"error {shot.layers[1].error:.4f}, not {wanted:.4f}")


def _as_it_was() -> None:
    net, like = model(), model()
    one_shot_units(net, batches(), {"widths": 0.5}, multiple=1)
    same = [torch.equal(p, q) for p, q in zip(net.parameters(), like.parameters(), strict=True)]
    demand(all(same), "its weights are others")


class Named:
    def __init__(self, name, units):
        self.name, self.units = name, units


def _made_up() -> None:
    places = (Place(Named("h", 3), "", "heads", None, None, (0, 1, 2), 100),
              Place(Named("w", 40), "", "widths", None, None, tuple(range(40)), 10))  # fmt: skip
    found = amounts.alike(Inside(places, (), 700), 0.2)
    gone = 100 * found["h"] + 10 * found["w"]
    demand(gone == 140, f"{gone} of 700 weights go, 140 were asked for")


def as_it_was(this, number):
    """The next block reads what it read in the whole model."""
    block = model()[number]
    for batch, beside in enumerate(this.beside):
        this.now[batch] = this._called(block, this.now[batch], beside[number])


def without_bias(this, place, sums):
    found = reader(this, place, sums)
    if not found.bias:
        return found
    return unit_rules.Reader(found.w_OI[:, :-1], found.gram_II[:-1, :-1], found.unit_of_I[:-1], False)


def each_alone(found, sparsity):
    """Heads and widths lose the same share, whatever the rounding of heads leaves."""
    return {place.name: place.near(sparsity * place.site.units) for place in found.places}


MUTANTS = (
    *bugs("surgeon", surgeon_laws, {
        "each time the unit goes after which a refit loses least": {
            "all go at once, by their first losses": instead(
                surgery, "_left", lambda w, g, c, count, at_once, ridge: left(w, g, c, count, 999, ridge)),
            "inputs do not depend on one another": instead(
                surgery, "_inverse", lambda gram, ridge: (1 / gram.diagonal()).diag()),
        },
        "units of several columns go as a whole": {
            "a unit is worth the sum of its columns": instead(
                surgery, "_losses", lambda w, inverse, columns: torch.stack(
                    [(w[:, at].square().sum(0) / inverse.diagonal()[at]).sum() for at in columns])),
        },
    }),
    *bugs("units", unit_laws, {
        "what reads them gets the weights and the bias of least squares": {
            "the weights stay as they were": instead(unit_rules, "refit", lambda w, g, keep: (w * keep, keep)),
            "the bias stays as it was": instead(unit_rules.UnitRule, "_reader", without_bias),
        },
        "each block is judged on what the smaller ones before it give": {
            "the second block reads what the first gave with all units": instead(flow.Flow, "forward", as_it_was),
        },
        "the model is as it was afterwards": {
            "what was written stays": instead(units_by_block, "_as_it_was", lambda *args: nullcontext()),
        },
        "of a share of the weights, widths make up what heads leave": {
            "each kind loses the share": instead(amounts, "alike", each_alone),
        },
    }),
)  # fmt: skip
