"""One pass as a method, on a tiny random Llama: what it removes and refuses; a large task leaves rows only."""

from functools import partial

import pytest
import torch
from torch.optim import SGD

from sapwood.errors import InputError
from sapwood.methods.one_pass import one_pass
from sapwood.methods.one_pass_units import one_pass_units
from sapwood.study.table import read
from sapwood.tasks import TASKS
from sapwood.tasks.smollm2_wikitext import logits
from sapwood.training.goal import TOKEN_BITS
from sapwood.training.loop import evaluate
from sapwood.training.run import start
from sapwood.training.task import Data, Task
from sapwood.training.windows import Windows, next_token_bits, next_token_loss, tokens
from sapwood.trials.execution import run_into
from sapwood.trials.folder import finished, over
from sapwood.trials.trial import Trial

transformers = pytest.importorskip("transformers")
SIZES = {"num_hidden_layers": 2, "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32}


def llama():
    config = transformers.LlamaConfig(num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, **SIZES)
    config.use_cache = False  # as of the task smollm2_wikitext: no graph can hold caches
    return transformers.LlamaForCausalLM(config).double()


def task() -> Task:
    numbers = torch.arange(161) * torch.arange(161) % 31
    data = Data(Windows(numbers, 16), Windows(numbers[:49], 16), Windows(numbers[49:98], 16))
    return Task("tiny_llama", llama, data, partial(SGD, lr=0.01), 2, loss=next_token_loss, metrics=next_token_bits,
                forward=logits, count=tokens, goal=TOKEN_BITS, at_once=2, ends=("test",), large=True)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "removed"),
    [
        ({}, 0.5),
        ({"pattern": "1:4"}, 0.75),
        ({"by": "sparsegpt", "sparsity": 0.25}, 0.25),
        ({"by": "magnitude", "sparsity": 0.75, "refit": True}, 0.75),
    ],
)
def test_of_every_layer_in_the_blocks_as_much_goes_as_was_asked_for(options, removed):
    run = start(task())
    before = evaluate(run)["bits"]
    list(one_pass(run, samples=4, **options))
    assert len(run.masks) == 14
    assert all(float((~keep).double().mean()) == removed for keep in run.masks.values())
    assert "model.embed_tokens.weight" not in run.masks
    assert run.notes["cut_valid_bits"] == evaluate(run)["bits"] != before
    named = [run.notes[f"error_{number}"] for number in range(1, 15)]
    assert run.notes["error_worst"] == max(named)
    assert run.notes["error_mean"] == pytest.approx(sum(named) / 14, rel=1e-12)
    assert (run.notes["masked_mean"] > run.notes["error_mean"]) == (options.get("by", "wanda") != "wanda")


def test_heads_and_widths_of_a_llama_go_and_its_config_follows():
    run = start(task())
    list(one_pass_units(run, samples=4, sparsity=0.5))
    config = run.model.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.intermediate_size) == (2, 1, 16)
    assert config.head_dim == 4
    assert run.notes["blocks_removed"] == 0.5
    assert run.notes["cut_valid_bits"] == evaluate(run)["bits"]
    blocks = run.reference.weights - 32 * 16  # without the embedding, which is the head
    assert run.reference.weights - run.size().weights == blocks / 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": 0}, "samples=0"),
        ({"rate": -1.0}, r"rate=-1\.0"),
        ({"sparsity": 1.0}, r"sparsity is 1\.0"),
        ({"pattern": "five"}, "pattern is 'five'"),
        ({"by": "luck"}, "by"),
        ({"ratios": "own"}, "ratios"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        list(one_pass(start(task()), **{"samples": 2} | options))


def test_a_trial_of_a_large_task_is_over_without_weights_or_spectra(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "tiny_llama", task)
    trial = Trial.make("one_pass", "tiny_llama", 0, "Wanda", samples=4)
    run_into(tmp_path, trial)
    folder = tmp_path / trial.id
    assert over(folder)
    assert not finished(folder)
    assert not [path.name for path in folder.iterdir() if path.suffix == ".safetensors"]
    rows = {(row["split"], row["metric"]): row["value"] for row in read(tmp_path) if row["phase"] is None}
    assert rows["test", "bits"] > 0
    assert rows["network", "sparsity_hidden"] == 0.5
    assert not [name for _, name in rows if name.startswith(("rank_", "nuclear_"))]
