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
from coverage import PAGE, covered, page, written  # noqa: E402

from sapwood.shrinking.finding import sites  # noqa: E402
from sapwood.shrinking.tracing.anatomy import Anatomy  # noqa: E402

OWN = [name for name in ARCHITECTURES if not name.startswith(("torchvision", "transformers"))]
MISSING = [name for name in ("torchvision", "transformers") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(not ONNX, reason="not installed: onnx, onnxscript or onnxruntime")


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
@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; pip install -e '.[peers]'")
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in OWN])
def test_the_lines_of_other_packages_networks(name, again):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        assert comparable(covered(name, again).lines()) == comparable(written()[name])


def test_the_second_process_sees_other_outputs_and_says_when_it_failed():
    original = model, _ = made("channel shuffle")
    with second_process() as again:
        assert again("channel shuffle", original, model) == "yes"
        model.register_forward_hook(lambda *given: torch.nextafter(given[-1], torch.tensor(9.0)))  # in no file
        assert again("channel shuffle", original, model) == "other outputs"
        with pytest.raises(RuntimeError, match="could not load U-Net"):  # another network's file
            again("U-Net", original, model)


def test_other_costs_are_told():
    anatomy = Anatomy(*made("channel shuffle"))
    [site] = sites(anatomy)
    whole, rest, said = costs(anatomy, anatomy.model, {site.name: torch.arange(site.units) > 0})
    assert rest < whole
    assert said == f"shrunk {rest:,.0f}, but torch counts {whole:,.0f}"


class Branching(torch.nn.Module):
    """Not exportable: what runs depends on the numbers."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


@needs_onnx
def test_what_onnx_refuses_is_told_and_of_which_network():
    _, example = original = made("channel shuffle")
    assert in_onnx(original, Branching()).startswith("the whole network is written, but Branching cannot be exported: ")
    assert in_onnx((Branching(), example), Branching()).startswith(
        "the whole network is not written either: Branching cannot"
    )
