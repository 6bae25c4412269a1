"""Laws of networks that carry a state and of components under a budget, and bugs planted in them."""

from dataclasses import replace
from itertools import pairwise

import torch
from planted.mutant import bugs, instead
from recurrent import recurrent_task
from torch import nn

from sapwood import start, train
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.gates import HardConcrete
from sapwood.methods.parts import components as parts
from sapwood.methods.parts import constrained
from sapwood.models.sru import Sru, _Scan, scanned
from sapwood.shrinking.tracing.site import Site, Slot
from sapwood.training import loop, task
from sapwood.training.windows import IGNORED

GRADIENTS = "a scan's gradients are those of the loop"
CARRIED = "a row goes on with the state it had, from 0 when an epoch begins"
SLOPED = "no gate is so sure that it learns nothing any more"
SINGULAR = "singular components, the largest first, make the same product"
DEALT = "shuffled components are as many of each layer, others"


def laws() -> Laws:
    """Of the network, of how it is trained, and of what is cut."""
    bodies = {GRADIENTS: _gradients, CARRIED: _carried, SLOPED: _sloped, SINGULAR: _singular, DEALT: _dealt}
    return {f"recurring: {law}": body for law, body in bodies.items()}


def _drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def _gradients():
    args = [each.requires_grad_() for each in (_drawn(5, 2, 3), 2 * _drawn(5, 2, 3), 3 * _drawn(3), _drawn(2, 3))]
    one, other = (torch.autograd.grad((scan(*args) * _drawn(5, 2, 3)).sum(), args) for scan in (scanned, _Scan.apply))
    for name, a, b in zip(("u", "u_f", "v_f", "first"), one, other, strict=True):
        demand(bool((a - b).abs().max() < 1e-10), f"dL/d{name} is {float((a - b).abs().max()):.1g} off")


def _carried():
    still = replace(recurrent_task(lr=0.0), batch_size=21)  # three full batches an epoch
    run, batches = start(still), [*still.batches(0, 0)]
    for one, other in pairwise(batches):
        ends = one.targets[:, -1]
        on = (ends == other.inputs[:, 0]) | (ends == IGNORED)  # the text's end, behind which is its beginning
        demand(bool(on.all()), "some row reads on elsewhere")
    logits = run.model(torch.cat([batch.inputs for batch in batches], 1)).detach()
    losses = [now.loss for now in train(run, epochs=2)]
    wanted = float(still.loss(run.model, batches[2], logits[:, 6:]))
    demand(abs(losses[2] - wanted) < 1e-10, f"the last loss of an epoch is {losses[2]}, and {wanted} in one piece")
    again = still.batch(0, 3)
    wanted = float(still.loss(run.model, again, run.model(again.inputs)).detach())
    demand(abs(losses[3] - wanted) < 1e-10, f"the first loss of an epoch is {losses[3]}, and {wanted} from 0")


def _sloped():
    gates = {"a": HardConcrete(3).double()}
    gates["a"].log_alpha.data.copy_(torch.tensor([-30.0, 0.5, 30.0]))
    constrained._clamp(gates)
    (slope,) = torch.autograd.grad(gates["a"].open().sum(), gates["a"].log_alpha)
    demand(bool((slope > 0.005).all()), f"slopes of P(open) are {slope}")
    demand(float(gates["a"].log_alpha[1].detach()) == 0.5, "a gate between the limits was moved")


class _Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 3, bias=False, dtype=torch.float64)
        self.second = nn.Linear(3, 4, bias=False, dtype=torch.float64)


def _singular():
    model, slots = _Two(), [Slot(name, dim, torch.arange(3), role) for name, dim, role in PLACES]
    with torch.no_grad():
        model.first.weight.copy_(_drawn(3, 5))
        model.second.weight.copy_(_drawn(4, 3))
    site = Site("first", 3, tuple(slots), torch.ones(3, dtype=torch.bool))
    before = (model.second.weight @ model.first.weight).detach()
    parts.ordered_(model, [site])
    after = (model.second.weight @ model.first.weight).detach()
    demand(bool((after - before).abs().max() < 1e-10), "the product is another")
    sizes, sigma = parts.norms(model, [site])["first"], torch.linalg.svdvals(before)[:3]
    demand(bool((sizes - sigma).abs().max() < 1e-10), f"components have norms {sizes}, singular values are {sigma}")


PLACES = (("first.weight", 0, "makes"), ("second.weight", 1, "reads"))


def _dealt():
    keep = {"a": torch.arange(40) < 30, "b": torch.arange(40) < 10}
    dealt = parts.elsewhere(keep, 0)
    counts = {name: int(kept.sum()) for name, kept in dealt.items()}
    demand(counts == {"a": 30, "b": 10}, f"{counts} stay, of 30 and 10")
    demand(not any(torch.equal(dealt[name], keep[name]) for name in keep), "they are the same")


def without_the_gate(ctx, given, backward=_Scan.backward):
    u, v_f, c, f = ctx.saved_tensors

    class Without:
        saved_tensors = (u, torch.zeros_like(v_f), c, f)

    return backward(Without, given)


def without_the_states_end(run, network, carry, batch):
    return carry(network, batch, run.store("carried"))


def from_nothing(self, tokens, memory=None, forward=Sru.forward):
    return forward(self, tokens, None if memory is None else {})


def by_one_norm(model, found):
    pairs = {site.name: parts.pair(model, site) for site in found}
    return {name: left.detach().norm(dim=0) for name, (left, _) in pairs.items()}


def in_one_draw(keep, seed):
    whole = torch.cat([*keep.values()])
    dealt = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))]
    return dict(zip(keep, dealt.split([len(kept) for kept in keep.values()]), strict=True))


MUTANTS = bugs(
    "recurring",
    laws,
    {
        GRADIENTS: {"the gate's own slope by the state is left out": instead(_Scan, "backward", without_the_gate)},
        CARRIED: {
            "a state goes over from one epoch to the next": instead(loop, "_carried", without_the_states_end),
            "a state that is left and never read": instead(Sru, "forward", from_nothing),
            "batches in any order": instead(task, "_in_order", task._order),
        },
        SLOPED: {"gates may be as sure as they like": instead(constrained, "_clamp", lambda gates: None)},
        SINGULAR: {"a component's size is that of its column": instead(parts, "norms", by_one_norm)},
        DEALT: {"components dealt among all layers": instead(parts, "elsewhere", in_one_draw)},
    },
)
