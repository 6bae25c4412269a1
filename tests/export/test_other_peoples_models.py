"""Other people's models go through `prune` unchanged: torchvision's, timm's, Hugging Face's, Lightning's, recurrent."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import others
import pytest

SEEN = {}


def seen_in_the_zoo(folder):
    """What the walks of the models of torchvision and timm saw, in one process of their own."""
    if not others.ZOO.is_dir():
        pytest.skip("make .venv/zoo installs torchvision and timm where only these tests see them")
    if not SEEN:
        done = subprocess.run(
            [sys.executable, others.__file__, str(folder), *others.IN_THE_ZOO], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
        SEEN.update(json.loads(done.stdout.splitlines()[-1]))
    return SEEN


@pytest.fixture(params=[*others.HERE, *others.IN_THE_ZOO])
def walked(request, tmp_path):
    """What a walk saw."""
    for package in ("onnx", "onnxscript", others.INSTALLED.get(request.param, "torch")):
        pytest.importorskip(package)
    if request.param in others.IN_THE_ZOO:
        return seen_in_the_zoo(tmp_path)[request.param]
    return others.walk(others.HERE[request.param], tmp_path)


def test_half_of_the_multiply_adds_go_and_everything_else_goes_on(walked):
    assert 0.3 < walked["left"] <= 0.5
    assert walked["apart"] < 1e-12, "in float64, from the network with the removed units as 0"
    assert walked["trained"] == [True, True], "with the optimiser that came along"
    assert walked["same"], "loaded from its file it answers with the same bits"
    assert walked["onnx"] is None if find_spec("onnxruntime") is None else walked["onnx"] <= 1e-5
    before, after, left = re.search(r"MACs +([\d,]+) +([\d,]+) +([\d.]+) %", walked["table"]).groups()
    assert int(after.replace(",", "")) <= 0.5 * int(before.replace(",", ""))
    assert float(left) == pytest.approx(100 * walked["left"], abs=0.05)
    assert "smaller network does not run" not in walked["table"]
