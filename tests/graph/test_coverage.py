"""docs/coverage.md is what the architectures give now; without their packages only its shape is seen."""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
sys.path.insert(0, str(PEERS))
from architectures import ARCHITECTURES  # noqa: E402
from coverage import HEAD, PAGE, covered, written  # noqa: E402

OWN = [name for name in ARCHITECTURES if not name.startswith(("torchvision", "transformers"))]
MISSING = [name for name in ("torchvision", "transformers") if find_spec(name) is None]


def test_every_architecture_has_a_line_and_every_low_one_a_reason():
    assert PAGE.read_text("utf-8").startswith(HEAD)
    found = written()
    assert list(found) == list(ARCHITECTURES)
    for line in found.values():
        removed, reason = (part.strip() for part in line.split("|")[4:6])
        assert int(removed.removesuffix(" %")) >= 40 or reason, line


@pytest.mark.parametrize("name", OWN)
def test_the_lines_of_our_own_networks(name):
    assert covered(name).line() == written()[name]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; pip install -e '.[peers]'")
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in OWN])
def test_the_lines_of_other_packages_networks(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        assert covered(name).line() == written()[name]
