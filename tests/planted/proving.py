"""Bugs planted in the proof that a smaller network is the same, and in trying what is offered."""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from planted.mutant import bugs, instead
from planted.shrinking import running
from shrinking.zoo import Written, conv, flat, image, settled
from torch import nn

from sapwood.checks.law import Laws, demand, demand_refused
from sapwood.shrinking import finding as sites
from sapwood.shrinking import fit
from sapwood.shrinking import shrunk as shrink
from sapwood.shrinking.cutting import equal, wide

WIDE = "a network that casts is proven in float64"
DRAWN = "a network that draws random numbers may lose units"
COUNTED = "heads are counted right behind what is silent"
AWAKE = "a slot in the wrong place is refused behind what is silent"
ORDINARY = "a slot in the wrong place is refused where weights are tiny"
APART = "in float32 what cannot be told from rounding is refused"
RUN = "a network of which nothing is claimed runs"
OFFERED = "what is offered can be removed"


def three(how, **more):
    torch.manual_seed(0)
    return settled(Written(how, a=nn.Linear(8, 12), b=nn.Linear(12, 8), head=nn.Linear(8, 3), **more))


def half(site):
    return {site.name: torch.arange(site.units) % 2 == 0}


def first_of(model, **options):
    return next(site for site in sites.sites(model, flat(8), **options) if site.units == 12)


def wrong(site):
    """Units that are read in a place beside their own."""
    slots = [replace(slot, unit_of=slot.unit_of.roll(int(slot.role == "reads"))) for slot in site.slots]
    return replace(site, slots=tuple(slots))


def plain(of, x):
    return of["head"](of["b"](F.relu(of["a"](x))))


@running()
def casts():
    model = three(lambda of, x: plain(of, x.float())).float()
    site = first_of(model)
    proven = shrink.shrink(model, half(site), [site], example=flat(8)).proven
    demand(proven is torch.float64, f"proven in {proven}")


@running()
def draws():
    model = three(lambda of, x: plain(of, x + torch.randn_like(x)))
    site = first_of(model)
    shrink.shrink(model, half(site), [site], example=flat(8))


class Heads(nn.Module):
    """Four, behind which nothing is heard."""

    def __init__(self):
        super().__init__()
        self.h, self.head = 4, nn.Linear(16, 3)
        self.q, self.k, self.v = (nn.Linear(8, 16) for _ in range(3))

    def forward(self, x):
        q, k, v = (layer(x).view(*x.shape[:2], self.h, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return self.head(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)) * 0.0


@running()
def heads():
    model, example = settled(Heads()), flat(8, 8).view(2, 4, 8)
    (site,) = (site for site in sites.sites(model, example) if site.name == "q")
    small = shrink.shrink(model, half(site), [site], example=example).model
    demand(small.h == 2, f"{small.h} heads, not 2")


def silent():
    model = three(lambda of, x: of["head"](F.relu(of["b"](torch.tanh(of["a"](x))) - 1e3)))
    site = first_of(model)
    demand_refused(lambda: shrink.shrink(model, half(site), [wrong(site)], example=flat(8)), "a slot shifted by one")


def tiny():
    model = three(
        lambda of, x: of["head"](x + of["scale"] * of["b"](F.relu(of["a"](x)))), scale=nn.Parameter(flat(8)[0])
    )
    with torch.no_grad():
        model.bare["scale"].fill_(1e-12)
    site = first_of(model)
    demand_refused(lambda: shrink.shrink(model, half(site), [wrong(site)], example=flat(8)), "a slot shifted by one")


def in_float32(of, x):
    y = of["b"](F.relu(of["a"](x).float()))
    if y.dtype is not torch.float32:
        raise TypeError("written for float32")
    return of["head"](x.float() + 1e-9 * y)


def rounded():
    model = three(in_float32).float()
    site = sites.sites(model, flat(8).float())[0]
    demand_refused(
        lambda: shrink.shrink(model, half(site), [wrong(site)], example=flat(8).float()), "a difference below rounding"
    )


def lossy():
    model = three(lambda of, x: of["head"](of["b"](of["norm"](of["a"](x)))), norm=nn.LayerNorm(12))
    site, whole = first_of(model, lossy=True), model.how
    model.how = lambda of, x: whole(of, x).expand(of["a"].out_features, 3, 3)
    demand_refused(
        lambda: shrink.shrink(model, half(site), [site], example=flat(8), check=False), "an answer in another shape"
    )


@running()
def offered():
    def looks(of, x):
        x = F.relu(of["a"](x))
        n, c, h, w = x.shape
        return of["head"](x) + of["qkv"](x).view(n, 3, c, h * w).sum((1, 2)).view(n, 1, h, w)

    model = settled(Written(looks, a=conv(3, 8, 1), qkv=conv(8, 24, 1), head=conv(8, 3, 1)))
    found = sites.sites(model, image())
    shrink.shrink(model, {site.name: torch.arange(site.units) % 2 == 0 for site in found}, found, example=image())


CLAIMS = {
    WIDE: (casts, {"casts stay as narrow as the code says": instead(wide.Wide, "_wide_one", lambda _, part: part)}),
    DRAWN: (draws, {"one draws where the other stopped": instead(wide.Wide, "seed", lambda *_: None)}),
    COUNTED: (heads, {"sizes are not compared where they are used": instead(fit, "wrong_in", lambda *_: None)}),
    AWAKE: (silent, {"what is silent stays silent": instead(wide, "SLEEPY", set())}),
    ORDINARY: (tiny, {"tiny weights stay tiny": instead(equal, "_ordinary", lambda _, size: size)}),
    APART: (rounded, {"what rounds is taken for equal": instead(shrink, "told_apart_in", lambda *_: None)}),
    RUN: (lossy, {"it is given without a run": instead(shrink, "_refuse_unless_it_runs", lambda *_: None)}),
    OFFERED: (
        offered,
        {"only sites with views of their own are tried": instead(sites, "asked", lambda _, found: found)},
    ),
}


def of(claim) -> Laws:
    return {f"proving: {claim}": CLAIMS[claim][0]}


MUTANTS = tuple(
    mutant for claim, (_, planted) in CLAIMS.items() for mutant in bugs("proving", partial(of, claim), {claim: planted})
)
