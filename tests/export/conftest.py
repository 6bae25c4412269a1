"""Networks that were shrunk, each with the function that makes the original."""

from types import SimpleNamespace

import nets
import pytest
from small import halved, narrow_tied


@pytest.fixture(params=list(nets.MAKE))
def case(request):
    """A small network, the function that makes its original, and inputs."""
    name = request.param
    small = narrow_tied() if name == "Tied" else halved(name)
    return SimpleNamespace(name=name, make=nets.MAKE[name], small=small.eval(), x=nets.EXAMPLE[name])


@pytest.fixture
def tied():
    return narrow_tied().eval()
