"""Networks that were shrunk, each with the function that makes the original."""

from types import SimpleNamespace

import nets
import pytest
from small import halved, narrow_tied


def made(name):
    """A small network, the function that makes its original, and inputs."""
    small = narrow_tied() if name == "Tied" else halved(name)
    return SimpleNamespace(name=name, make=nets.MAKE[name], small=small.eval(), x=nets.EXAMPLE[name])


@pytest.fixture(params=list(nets.MAKE))
def case(request):
    return made(request.param)


@pytest.fixture
def cases():
    """All of them."""
    return [made(name) for name in nets.MAKE]


@pytest.fixture
def tied():
    return narrow_tied().eval()
