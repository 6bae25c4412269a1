"""docs/coverage.md is what the architectures give now; without their packages only its shape is seen."""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
sys.path.insert(0, str(PEERS))
from afterwards import ONNX, costs, in_onnx, second_process  # noqa: E402
from architectures import ARCHITECTURES, made  # noqa: E402
from coverage import HEAD, PAGE, covered, page, written  # noqa: E402

from sapwood.shrinking.sites import sites  # noqa: E402

OWN = [name for name in ARCHITECTURES if not name.startswith(("torchvision", "transformers"))]
MISSING = [name for name in ("torchvision", "transformers") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(not ONNX, reason="not installed: onnx, onnxscript or onnxruntime; its column is not seen")


@pytest.fixture(scope="module")
def again():
    """The second process."""
    with second_process() as asked:
        yield asked


def comparable(lines):
    """Without what ONNX says, where it is not installed."""
    if ONNX:
        return lines
    row, *notes = lines
    return [row.rpartition(" | ")[0], *(note for note in notes if ", ONNX: " not in note)]


def test_every_architecture_has_a_row_and_what_does_not_hold_a_note():
    found = written()
    assert list(found) == list(ARCHITECTURES)
    assert PAGE.read_text("utf-8") == page(found)
    for name, (row, *notes) in found.items():
        *_, removed, _, counted, loaded, onnx = (part.strip() for part in row.strip("| ").split("|"))
        assert {counted, loaded, onnx} <= {"yes", "no"}, row
        wanted = {"counted": counted, "loaded": loaded, "ONNX": onnx}
        wanted["removed"] = "no" if int(removed.removesuffix(" %")) < 40 else "yes"
        for column in [column for column, said in wanted.items() if said == "no"]:
            assert any(note.startswith(f"- {name}, {column}: ") for note in notes), (row, column)


@pytest.mark.parametrize("name", OWN)
def test_the_lines_of_our_own_networks(name, again):
    assert comparable(covered(name, again).lines()) == comparable(written()[name])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; pip install -e '.[peers]'")
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in OWN])
def test_the_lines_of_other_packages_networks(name, again):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        assert comparable(covered(name, again).lines()) == comparable(written()[name])
