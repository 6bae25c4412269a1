"""What torch.compile has made keeps removed weights at 0 while a mask is held, and no longer once it is released."""

import pytest
import torch
from torch import nn

from sapwood.masking.holding import hold

X = torch.randn(4, 6, dtype=torch.float64)
KEEP = torch.arange(48).view(8, 6) % 3 != 0


@pytest.fixture
def network():
    torch.manual_seed(0)
    torch.compiler.reset()
    yield nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    torch.compiler.reset()


def with_twos(network, keep):
    """What the network answers when its first weight is 2 where `keep` says, by hand."""
    hidden = X @ (2.0 * keep.double()).T + network[0].bias
    return network[2](hidden.relu())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("when", ["compiled before", "compiled while held"])
def test_a_compiled_network(network, backend, when):
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    weight = network[0].weight
    if when == "compiled before":
        compiled(X)
    with hold(network, optimizer, {"0.weight": KEEP}):
        for _ in range(2):
            weight.data.fill_(2)
            answer = compiled(X)
            torch.testing.assert_close(answer, with_twos(network, KEEP))
            optimizer.zero_grad()
            answer.square().sum().backward()
            assert not weight.grad[~KEEP].any()
            assert weight.grad[KEEP].any()
            optimizer.step()
            assert not weight[~KEEP].any()
    weight.data.fill_(2)
    torch.testing.assert_close(compiled(X), with_twos(network, torch.ones_like(KEEP)))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
def test_a_compiled_step(network, backend):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    step = torch.compile(optimizer.step, backend=backend)
    weight = network[0].weight

    def trained():
        network(X).square().sum().backward()
        weight.grad.fill_(1)  # behind the mask's back, for removed weights too
        step()
        return weight[~KEEP]

    assert trained().all()
    with hold(network, optimizer, {"0.weight": KEEP}):
        for _ in range(2):
            assert not trained().any()
    assert trained().all()
