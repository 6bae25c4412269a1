"""Before and after: everything about a network that must not change."""

import pytest
import torch

from sapwood.shrinking.tracing.graph import named_tensors


def snapshot(model):
    """Tensors (the objects, and their values), shapes of modules, modes, hooks, random state."""
    return (
        [(name, id(t), t.detach().clone(), t.requires_grad) for name, t in named_tensors(model)],
        [(name, module.training, str(module)) for name, module in model.named_modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
        torch.get_rng_state(),
    )


def same(a, b):
    """Whether two snapshots hold the same values."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.fixture
def unchanged():
    """Call with a network; at the end of the test it must be as it was then."""
    seen = []
    yield lambda model: seen.append((model, snapshot(model)))
    assert seen
    for model, before in seen:
        assert same(before, snapshot(model))
