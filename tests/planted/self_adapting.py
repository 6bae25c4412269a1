"""Laws of masks for each sample, by hand and over all pairs; and bugs planted in them and in the method."""

from itertools import combinations
from types import SimpleNamespace

import torch
from planted.mutant import bugs, instead
from planted.training import SAME_BITS
from torch import nn

from sapwood import macs_of, points, sites
from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_conv_task
from sapwood.gates import Gated, Saliency
from sapwood.methods import METHODS
from sapwood.methods.parts import adaptivity
from sapwood.methods.parts.adaptivity import Priced
from sapwood.training.run import start
from sapwood.training.samples import Batch

OPTIONS = {"budget": 0.6, "warm": 0.3, "epochs": 2, "start": 0.5, "rate": 0.1, "judged": 10}
pairs, frequent, shares = adaptivity._pairs, adaptivity.most_frequent, Priced.shares


def laws() -> Laws:
    return {
        "adaptivity: a sample costs the channels that it opens in both layers, and the modules": _cost,
        "adaptivity: distances are those of all pairs": _distances,
        "adaptivity: the most frequent mask opens as many units as are open on average": _frequent,
        "adaptivity: swapped, every sample has the masks of another": _swapped,
        "adaptivity: the budget is of the mean, and pulls from the end of the warm-up on": _pull,
    }


def priced():
    """3 -> 4 -> 5 -> 6 channels on 8 x 8, 6 x 6 and 4 x 4 pixels, the second and third with a gate; then 2 classes."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 6, 3), nn.Flatten()]
    model, x = nn.Sequential(*layers, nn.Linear(96, 2)), torch.randn(2, 3, 8, 8)
    found = [site for site in sites(model, x[:1]) if site.name in ("1", "3")]
    gates = {"1": Saliency(5, reads=4), "3": Saliency(6, reads=5)}
    return Priced(Gated(model, gates, points(model, found, x[:1])), macs_of(model, found, x[:1]))


def _cost() -> None:
    """k² H W n_in n_out, layer by layer; each module has 8 inner units."""
    masks = {"1": torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]), "3": torch.tensor([[0, 0, 0, 1, 1, 1], [1] * 6])}
    modules = (4 * 8 + 8 * 5) + (5 * 8 + 8 * 6)
    first, whole = 9 * 64 * 3 * 4, 9 * 64 * 3 * 4 + 9 * 36 * 4 * 5 + 9 * 16 * 5 * 6 + 16 * 6 * 2
    one = first + 9 * 36 * 4 * 2 + 9 * 16 * 2 * 3 + 16 * 3 * 2 + modules
    expected = torch.tensor([one / whole, (whole + modules) / whole], dtype=torch.float64)
    found = priced().shares({name: mask.double() for name, mask in masks.items()})
    demand(torch.allclose(found, expected, rtol=1e-12), f"they cost {found.tolist()}, by hand {expected.tolist()}")


def _distances() -> None:
    every = torch.rand(9, 7, generator=torch.Generator().manual_seed(0)) > 0.4
    classes = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])
    found, apart = adaptivity.distances(every, classes), {True: [], False: []}
    for one, other in combinations(range(9), 2):
        apart[bool(classes[one] == classes[other])].append(float((every[one] != every[other]).double().mean()))
    told = torch.tensor([found["distance"], found["distance_within"], found["distance_between"]]).double()
    mean = [torch.tensor(each).double().mean() for each in (apart[True] + apart[False], apart[True], apart[False])]
    demand(torch.allclose(told, torch.stack(mean)), f"they are {told.tolist()}, pair by pair {mean}")


def _frequent() -> None:
    mask = torch.tensor([[1, 0, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()  # 9 open of 4 samples
    found = adaptivity.most_frequent({"a": mask})["a"]
    demand(found.tolist() == [[True, False, True, False]] * 4, f"it is {found[0].tolist()}")


def _swapped() -> None:
    """Every sample has a mask that no other has."""
    run, given = start(tiny_conv_task(), 0), []
    found = SimpleNamespace(gated=None, shares=lambda masks: torch.ones(16))
    masks = {"a": torch.arange(16)[:, None] == torch.arange(16)}
    told = (
        instead(adaptivity, "decisions", lambda *_: masks),
        instead(adaptivity, "under", lambda run, gated, samples, each: given.append(each["a"]) or 0.0),
    )
    with told[0](), told[1]():
        adaptivity.told(run, found)
    own, swapped, _ = given
    demand(not bool((own == swapped).all(1).any()), "a sample kept its own")
    demand(torch.equal(swapped.sum(0), own.sum(0)), "not all masks are used once")


def _pull() -> None:
    """The penalty of a step is weight * (mean share - budget of that step)², and there is none before."""
    task, options = tiny_conv_task(), {"warm": 0.5, "reached": 1.0, "epochs": 2, "budget": 0.4, "start": 0.3}
    run = start(task, 0)
    moments = METHODS["self_adaptive"](run, weight=7.0, **options)
    for now in moments:
        if now.step == 5:
            break
    gated, outputs = run.model, torch.zeros(16, 3, dtype=torch.float64)
    batch = Batch(task.data.train.inputs[:16], task.data.train.targets[:16])
    run.step = 4  # of 6: a third of the way from 1 to 0.4
    gate = gated.by_site()["4"]
    gate.outer.data *= 20  # samples differ
    gated.train()(batch.inputs)
    opened = gate.passed.sum(1).double()
    demand(len(opened.unique()) > 1, "all samples open as many")
    macs = 9 * 16 * 4 + 9 * 4 * 4 * opened + 4 * opened * 8 + 8 * 3 + (4 * 8 + 8 * 6)
    whole = 9 * 16 * 4 + 9 * 4 * 4 * 6 + 24 * 8 + 8 * 3
    expected = 7 * ((macs / whole).mean() - 0.8) ** 2
    found = run.loss(gated, batch, outputs) - task.loss(gated, batch, outputs)
    demand(bool((found - expected).abs() < 1e-12), f"it is {found.item():.6f}, by hand {expected.item():.6f}")
    run.step = 3
    demand(float(run.loss(gated, batch, outputs)) == float(task.loss(gated, batch, outputs)), "it pulls in the warm-up")
    moments.close()


def method_laws() -> Laws:
    return method.laws("self_adaptive", METHODS["self_adaptive"], **OPTIONS)


def unsaved(self, units, made=Saliency.__init__, **options):
    """What means of channels are like is in no checkpoint."""
    made(self, units, **options)
    self._non_persistent_buffers_set.add("mean")


def without_modules(self, masks=None):
    return self.cost(self.passed() if masks is None else masks) / float(self.cost({}))


def of_the_costliest(self, masks=None):
    return shares(self, masks).max(0, keepdim=True).values


MUTANTS = (
    *bugs(
        "adaptivity",
        laws,
        {
            "a sample costs the channels that it opens in both layers, and the modules": {
                "modules that cost nothing": instead(Priced, "shares", without_modules),
            },
            "distances are those of all pairs": {
                "a sample paired with itself": instead(
                    adaptivity, "_pairs", lambda every: (len(every) ** 2 / 2, pairs(every)[1])
                ),
            },
            "the most frequent mask opens as many units as are open on average": {
                "every unit that is ever open": instead(
                    adaptivity, "most_frequent", lambda masks: {n: m.any(0).expand(m.shape) for n, m in masks.items()}
                ),
            },
            "swapped, every sample has the masks of another": {
                "masks that stay where they are": instead(torch.Tensor, "roll", lambda self, *_: self),
            },
            "the budget is of the mean, and pulls from the end of the warm-up on": {
                "a budget of the costliest sample": instead(Priced, "shares", of_the_costliest),
            },
        },
    ),
    *bugs(
        "method self_adaptive",
        method_laws,
        {SAME_BITS: {"means of channels that no checkpoint knows of": instead(Saliency, "__init__", unsaved)}},
    ),
)
