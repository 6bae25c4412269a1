"""Laws of criteria: shape, finiteness, purity, repeatability, permutation, rescaling as declared."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.tiny import evidence_for, seeded, seeded_model
from sapwood.currency import Scores
from sapwood.errors import InputError
from sapwood.scoring.answers import hidden
from sapwood.scoring.criterion import Criterion, score
from sapwood.scoring.evidence import Evidence


def check_criterion(name: str, criterion: Criterion) -> list[Result]:
    """The laws of criteria, tried on `criterion`."""
    return tried(laws(name, criterion))


def laws(name: str, criterion: Criterion) -> Laws:
    """The laws of criteria about `criterion`, not yet tried."""
    bodies: dict[str, Callable[[Criterion], None]] = {
        "scores have the weights' names and shapes": _shapes,
        "scores are finite": _finite,
        "scores stay finite when a neuron has no weights left": _finite_without_weights,
        "nothing is touched: weights, gradients, mode, hooks, random state": _pure,
        "the same bits twice": _twice,
        "permuting hidden units permutes scores": _permutation,
        "rescaling a ReLU pair changes scores only if not declared invariant": _rescaling,
        "a weight that two layers share is scored once": _tied,
        "a neuron's score is the mean over its incoming weights": _per_neuron,
    }
    return {f"criterion {name}: {law}": partial(body, criterion) for law, body in bodies.items()}


def _scores(
    model: nn.Module, criterion: Criterion, *, per_neuron: bool = False, evidence: Evidence | None = None
) -> Scores:
    seen = evidence_for(model, criterion.needs) if evidence is None else evidence
    return score(model, criterion, seen, only=hidden(model), per_neuron=per_neuron)


def _shapes(criterion: Criterion) -> None:
    model = seeded_model()
    scores = _scores(model, criterion)
    expected = {f"{n}.weight": model.get_submodule(n).weight.shape for n in hidden(model)}
    demand(
        {n: s.shape for n, s in scores.items()} == expected, f"got {[(n, tuple(s.shape)) for n, s in scores.items()]}"
    )


def _finite(criterion: Criterion) -> None:
    _demand_finite(_scores(seeded_model(), criterion))


def _finite_without_weights(criterion: Criterion) -> None:
    model = seeded_model()
    with torch.no_grad():
        for name in hidden(model):
            _linear(model, name).weight[2] = 0
            _linear(model, name).bias[2] = -1
    _demand_finite(_scores(model, criterion))


def _demand_finite(scores: Scores) -> None:
    for name, s in scores.items():
        demand(bool(torch.isfinite(s.double()).all()), f"{name} has NaN or infinite scores")


def _pure(criterion: Criterion) -> None:
    model = seeded_model()
    evidence = evidence_for(model, criterion.needs)
    before = {n: p.detach().clone() for n, p in model.state_dict().items()}
    sums = {(layer, k): v.clone() for layer, seen in evidence.items() for k, v in seen.items()}
    random = torch.get_rng_state()
    try:
        _scores(model, criterion, evidence=evidence)
    except InputError as error:  # `score` refuses one that writes on the weights
        raise AssertionError(str(error)) from error
    demand(all(torch.equal(v, before[n]) for n, v in model.state_dict().items()), "weights changed")
    demand(all(torch.equal(evidence[layer][k], v) for (layer, k), v in sums.items()), "the evidence changed")
    demand(all(p.grad is None for p in model.parameters()), "gradients were left behind")
    demand(all(m.training for m in model.modules()), "the mode changed")
    demand(not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()), "hooks were left behind")
    demand(torch.equal(random, torch.get_rng_state()), "the global random state was advanced")


def _twice(criterion: Criterion) -> None:
    model = seeded_model()
    with seeded(17):
        first = _scores(model, criterion)
    with seeded(4711):  # what others have drawn before must not matter
        second = _scores(model, criterion)
    demand(all(torch.equal(first[n], second[n]) for n in first), "two calls differ")


def _permutation(criterion: Criterion) -> None:
    """New order of the first hidden layer's units: its rows, the next layer's columns, and so the scores."""
    model, order = seeded_model(), torch.tensor([3, 0, 7, 1, 5, 2, 6, 4])
    plain = _scores(model, criterion)
    with torch.no_grad():
        _linear(model, "0").weight.copy_(_linear(model, "0").weight[order])
        _linear(model, "0").bias.copy_(_linear(model, "0").bias[order])
        _linear(model, "2").weight.copy_(_linear(model, "2").weight[:, order])
    moved = _scores(model, criterion)
    _demand_close(moved["0.weight"], plain["0.weight"][order], "scores of the permuted layer did not follow")
    _demand_close(moved["2.weight"], plain["2.weight"][:, order], "scores of the layer that reads it did not follow")


def _rescaling(criterion: Criterion) -> None:
    """Rows of the first layer times c, columns of the second divided by c: the function is the same."""
    model, factor = seeded_model(), 2.0 ** torch.tensor([1, -2, 3, -1, 2, -3, 1, 4], dtype=torch.float64)
    plain = _scores(model, criterion)
    with torch.no_grad():
        _linear(model, "0").weight.mul_(factor[:, None])
        _linear(model, "0").bias.mul_(factor)
        _linear(model, "2").weight.div_(factor)
    scaled = _scores(model, criterion)
    same = all(torch.allclose(scaled[n].double(), plain[n].double(), rtol=1e-9, atol=1e-12) for n in plain)
    demand(
        same == criterion.rescaling_invariant,
        f"declared rescaling_invariant={criterion.rescaling_invariant}, found {same}; "
        f"write Criterion(..., rescaling_invariant={same})",
    )


def _per_neuron(criterion: Criterion) -> None:
    model = seeded_model()
    single, neuron = _scores(model, criterion), _scores(model, criterion, per_neuron=True)
    for name, s in single.items():
        expected = s if criterion.per == "output" else s.double().mean(1, keepdim=True).expand_as(s)
        _demand_close(neuron[name], expected, f"{name}: not the row means")


def _tied(criterion: Criterion) -> None:
    model = seeded_model()
    both = nn.Sequential(model[0], model[1], model[2], model[3], copy.deepcopy(model[2]), *list(model)[3:])
    both.get_submodule("4").weight = both.get_submodule("2").weight
    for only in (hidden(both), ["4", "0"]):
        scores = score(both, criterion, evidence_for(both, criterion.needs), only=only)
        demand(set(scores) == {"0.weight", "2.weight"}, f"scores of {', '.join(scores)}")


def _linear(model: nn.Module, name: str) -> nn.Linear:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _demand_close(found: Tensor, expected: Tensor, reason: str) -> None:
    # Sums over samples may be taken in another order; nothing else may differ.
    demand(torch.allclose(found.double(), expected.double(), rtol=1e-9, atol=1e-12), reason)
