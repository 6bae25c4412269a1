"""Laws of products in singular form and of those whose tails are zeroed, and bugs planted in them."""

from importlib import import_module
from itertools import pairwise

import torch
from planted.mutant import bugs, instead
from recurrent import recurrent_task

from sapwood import start
from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_task
from sapwood.methods import METHODS
from sapwood.methods.parts import significance as parts
from sapwood.methods.parts import singular
from sapwood.methods.parts.components import components, pair
from sapwood.methods.parts.components import ordered_ as ordered
from sapwood.reconstruction.factors import decomposed, truncated
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.tracing.site import Site, Slot
from sapwood.training.run import Run

trained, zeroed = (import_module(f"sapwood.methods.{name}") for name in ("svd_training", "sparse_low_rank"))
joined, decompose, tails = singular.joined, singular.decomposed, parts.tails

WORKED = "numbers worked out by hand"
ANSWERS = "in singular form, and joined again, it answers as before, whatever the signs of s"
ORTHONORMAL = "U and V are orthonormal at first, and nothing decays there"
BEFORE = "interrupted just before rebuilding and resumed: the same bits"
COUNTED = "as many numbers are not 0 as the budget leaves"
BLOCKS = "zeroed tails are two dense blocks"
NEARER = "the more is reduced, the farther from the weight; nothing reduced is truncated SVD"
LEAST = "what matters least is reduced"


def laws() -> Laws:
    """Of both methods' parts."""
    bodies = {WORKED: _worked, ANSWERS: _answers, ORTHONORMAL: _orthonormal, COUNTED: _counted, BLOCKS: _blocks}
    return {f"truncating: {law}": body for law, body in (bodies | {NEARER: _nearer, LEAST: _least}).items()}


def _tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def _near(found, wanted, what):
    demand(float((torch.as_tensor(found) - torch.as_tensor(wanted)).abs().max()) < 1e-6, f"{what}: {found}, {wanted}")


def _worked():
    s, one, equal = _tensor(4, 2, 1, 0.5), _tensor(0, 3, 0, 0), _tensor(2, 2, 2, 2)
    hoyer, square, l1 = (singular.MEASURES[name] for name in ("hoyer", "hoyer_square", "l1"))
    for values, by_hand in ((s, (1.626978, 2.647059, 7.5)), (one, (1, 1, 3)), (equal, (2, 4, 8))):
        _near([float(measure(values)) for measure in (hoyer, square, l1)], _tensor(*by_hand), "of being sparse")
    tall = _tensor([1, 0], [0, 1], [0, 1])
    for w, by_hand in ((tall, 0.25), (tall.T, 0.25), (torch.eye(5, dtype=torch.float64)[:, :3], 0)):
        _near(singular.orthogonality(w), by_hand, "of being orthonormal")
    _near(1 - singular.energies({"a": s})["a"][1:], _tensor(0.752941, 0.941176, 0.988235), "energy that stays")
    _near(
        singular.energies({"a": _tensor(0.5, 4, 1, 2)})["a"], _tensor(0.25, 21.25, 1.25, 5.25) / 21.25, "in any order"
    )
    low = {"w": (torch.arange(392), torch.arange(150))}
    keep = {"w": torch.arange(216) < 20}
    demand(parts.zeros(keep, low, 0.5) == 5_420, f"{parts.zeros(keep, low, 0.5)} zeros, not 5,420 of 21,680")


def _answers():
    run = start(recurrent_task())
    found = components(run.apart.several)
    inputs = run.task.example
    with evaluating(run.model), torch.no_grad():
        before = run.model(inputs)
    gated = singular.decomposed(run, found)
    with evaluating(gated), torch.no_grad():
        demand(float((gated(inputs) - before).abs().max()) < 1e-10, "in singular form it answers otherwise")
        for gate in gated.by_site().values():
            gate.value[::2] *= -1
        demand(float((gated(inputs) - before).abs().max()) < 1e-10, "the signs of s count")
    singular.joined(run, found)
    with evaluating(run.model), torch.no_grad():
        demand(float((run.model(inputs) - before).abs().max()) < 1e-10, "joined, it answers otherwise")


def _orthonormal():
    run = start(tiny_task(lr=0.1, weight_decay=0.1))
    trained.factorise(run)
    found = components(run.apart.several)
    gated = singular.decomposed(run, found)
    for site in found:
        for w in pair(gated.model, site):
            _near(singular.orthogonality(w.detach()), 0, "of being orthonormal")
    inside = {id(p) for name, p in gated.named_parameters() if "gates" in name or name in INSIDE}
    for group in run.optimizer.param_groups:
        mine = {id(p) for p in group["params"]} & inside
        demand(not mine or group["weight_decay"] == 0, f"{len(mine)} of U, V and s decay")


INSIDE = [f"model.{layer}.{factor}.weight" for layer in (0, 2) for factor in (0, 1)]


def _counted():
    run = start(recurrent_task(length=1))
    found = components(run.apart.several)
    whole = sum(p.numel() for p in run.model.parameters())
    prunable = sum(sum(w.numel() for w in pair(run.model, site)) for site in found)
    list(METHODS["sparse_low_rank"](run, sparsity=0.6, epochs=0))
    left = sum(int(p.count_nonzero()) for p in run.model.parameters())
    zero = sum(int((p == 0).sum()) for name, p in start(recurrent_task()).model.named_parameters() if "bias" in name)
    gone = (whole - left - zero) / prunable
    demand(abs(run.notes["sparsity_of_components"] - gone) < 1e-9, f"{run.notes} is told, and {gone} is gone")
    demand(0.6 <= gone < 0.6 + 160 / prunable, f"{gone} is gone, 0.6 was asked for")


def _product(rank=8):
    """A weight of 9 x 12, its factors, and the site of their components."""
    w = torch.randn(9, 12, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    u, sigma, vt = decomposed(w, rank)
    model = torch.nn.Module()
    model.first, model.second = torch.nn.Linear(12, rank, bias=False), torch.nn.Linear(rank, 9, bias=False)
    model.first.weight, model.second.weight = (torch.nn.Parameter(part) for part in (sigma[:, None] * vt, u))
    slots = [Slot(name, dim, torch.arange(rank), role) for name, dim, role in PLACES]
    return w, model, Site("first", rank, tuple(slots), torch.ones(rank, dtype=torch.bool))


PLACES = (("first.weight", 0, "makes"), ("second.weight", 1, "reads"))


def _masked(model, site, reduced, lower):
    """What is left of the product, and the inputs and outputs that are reduced."""
    low = parts.least({"first": (torch.arange(12.0), torch.arange(9.0))}, reduced)
    masks = parts.tails(model, [site], low, lower)
    left, right = (w.detach() * keep for w, keep in zip(pair(model, site), pair(masks, site), strict=True))
    return left @ right, *low["first"]


def _blocks():
    _, model, site = _product()
    found, inputs, outputs = _masked(model, site, 0.5, 0.3)
    left, right = (part.detach() for part in pair(model, site))
    high = (
        torch.arange(9)[~torch.isin(torch.arange(9), outputs)],
        torch.arange(12)[~torch.isin(torch.arange(12), inputs)],
    )
    wanted = left[:, :2] @ right[:2]
    wanted[high[0][:, None], high[1]] += left[high[0], 2:] @ right[2:, high[1]]
    demand((len(inputs), len(outputs)) == (6, 4), f"{len(inputs)} inputs and {len(outputs)} outputs are reduced")
    _near(found, wanted, "of the product")


def _nearer():
    w, model, site = _product(6)
    for by in ({"lower": 0.5}, {"reduced": 0.5}):
        shares = (0, 0.25, 0.5, 0.75, 1)
        each = [by | ({"reduced": share} if "lower" in by else {"lower": 1 - share}) for share in shares]
        errors = [float((_masked(model, site, **options)[0] - w).norm()) for options in each]
        demand(all(one < other for one, other in pairwise(errors)), f"{each}: {errors}")
        _near(_masked(model, site, **each[0])[0], truncated(w, 6), "nothing reduced")


def _least():
    ends = {"a": (_tensor(5, 1, 4, 1, 3), _tensor(2, 9, 0))}
    inputs, outputs = parts.least(ends, 0.5)["a"]
    demand((inputs.tolist(), outputs.tolist()) == ([1, 3], [2]), f"{inputs.tolist()}, {outputs.tolist()}")
    run = start(recurrent_task())
    found = components(run.apart.several)
    seen = parts.significance(run, found, "activations", 10_000)
    train = run.task.data.train
    read = torch.bincount(train.take(torch.arange(len(train))).inputs.flatten(), minlength=128)
    demand(bool((seen["tokens"][0] == read).all()), "symbols do not count as often as they are read")
    weights = parts.significance(run, found, "weights", 1)["tokens"]
    whole = run.model.layers[0].weight.weight @ run.model.tokens.weight.T
    for told, dim in zip(weights, (0, 1), strict=True):
        _near(told, whole.detach().abs().sum(dim), "sums of weights")


def trained_laws():
    """A network that gets factors, trains them in singular form and is cut."""
    options = {"sparsity": 0.5, "epochs": 1, "sparse_epochs": 1, "tune": 1, "task": tiny_task()}
    return method.laws("svd_training", METHODS["svd_training"], **options)


def zeroed_laws():
    """A network that gets factors, is truncated and zeroed, and trains on."""
    options = {"sparsity": 0.5, "epochs": 2, "tune": 1, "task": tiny_task()}
    return method.laws("sparse_low_rank", METHODS["sparse_low_rank"], **options)


# ---- bugs ----


def with_signs(self, x):
    return self.value


def of_the_larger_side(w):
    gram = w @ w.T if w.shape[0] >= w.shape[1] else w.T @ w
    return (gram - torch.eye(len(gram)).to(gram)).square().mean()


def by_sums(values, energies=singular.energies):
    return energies({name: s.sqrt() for name, s in values.items()})


def once_only(model, found, *, apart=False):
    values = ordered(model, found)
    return {name: torch.ones_like(s) for name, s in values.items()} if apart else values


def decaying(run, found):
    gated = decompose(run, found)
    run.become(gated)
    return gated


def forgotten(run, found):
    """What gates are worth is asked of those of this life."""
    run.memory.setdefault("remembered", {})["singular values"] = {
        n: g.draw(None) for n, g in run.model.by_site().items()
    }
    return joined(run, found)


def heads(model, found, low, lower):
    """The first components instead of the last."""
    masks = tails(model, found, low, lower)
    for site in found:
        left, right = pair(masks, site)
        left.copy_(left.flip(1))
        right.copy_(right.flip(0))
    return masks


def most(ends, reduced, least=parts.least):
    return least({name: (-inputs, -outputs) for name, (inputs, outputs) in ends.items()}, reduced)


def not_kept(self, name, compute, remember=Run.remember):
    return compute() if name == "significance" else remember(self, name, compute)


MUTANTS = (
    *bugs(
        "truncating",
        laws,
        {
            WORKED: {
                "the Gram matrix of the larger side": instead(singular, "orthogonality", of_the_larger_side),
                "energy by s, not by its square": instead(singular, "energies", by_sums),
            },
            ANSWERS: {"the sign of s counts": instead(singular.Singular, "draw", with_signs)},
            ORTHONORMAL: {
                "U and V hold the roots of s": instead(singular, "ordered_", once_only),
                "U, V and s decay": instead(singular, "decomposed", decaying),
            },
            COUNTED: {"zeros do not count": instead(zeroed, "zeros", lambda keep, low, lower: 0)},
            BLOCKS: {"the first components are zeroed": instead(parts, "tails", heads)},
            NEARER: {"tails that are never zeroed": instead(parts, "tails", lambda *of: tails(*of[:-1], 1.0))},
            LEAST: {"what matters most is reduced": instead(parts, "least", most)},
        },
    ),
    *bugs(
        "method svd_training",
        trained_laws,
        {BEFORE: {"singular values that are not remembered": instead(trained, "joined", forgotten)}},
    ),
    *bugs(
        "method sparse_low_rank",
        zeroed_laws,
        {BEFORE: {"significance that is not remembered": instead(Run, "remember", not_kept)}},
    ),
)
