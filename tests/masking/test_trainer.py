"""Hugging Face's Trainer: it makes the optimiser, wraps it, clips, saves and resumes. Nothing is fetched."""

import pytest
import torch

from sapwood import CRITERIA, hold, observing, score, select

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
LAYERS = ["model.layers.0.mlp.gate_proj", "model.layers.0.self_attn.v_proj", "model.layers.1.mlp.up_proj"]


class Sentences(torch.utils.data.Dataset):
    """Random words."""

    def __len__(self):
        return 32

    def __getitem__(self, at):
        words = torch.randint(50, (8,), generator=torch.Generator().manual_seed(at))
        return {"input_ids": words, "labels": words}


class Pruning(transformers.TrainerCallback):
    """Holds masks from the end of the first epoch on, by what the layers have shown in it."""

    def __init__(self):
        self.checked = 0
        self.held = None

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
        self.judge = CRITERIA["activity"]
        self.looking = observing(model, *self.judge.needs, only=LAYERS, training=True)
        self.seen = self.looking.__enter__()

    def on_epoch_end(self, args, state, control, model=None, optimizer=None, **_):
        if self.held is None:
            self.looking.__exit__(None, None, None)
            self.keep = select.everywhere(score(model, self.judge, self.seen, only=LAYERS), 0.5)
            self.held = hold(model, optimizer, self.keep)

    def on_step_end(self, args, state, control, model=None, **_):
        if self.held is not None:
            for name, mask in self.keep.items():
                assert not model.get_parameter(name)[~mask].any()
                self.checked += 1


def trainer(folder, *callbacks):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0
    )
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=3,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        max_grad_norm=1.0,
        learning_rate=0.01,
        report_to=[],
        save_strategy="epoch",
        logging_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    model = transformers.LlamaForCausalLM(config)
    return transformers.Trainer(model=model, args=arguments, train_dataset=Sentences(), callbacks=list(callbacks))


def test_masks_are_held_and_layers_observed(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pruning = Pruning()
    run = trainer(tmp_path, pruning)
    run.train()
    assert pruning.checked
    with pruning.held:  # a checkpoint from before the masks is loaded, as the best one is in the end
        run._load_from_checkpoint(str(tmp_path / "checkpoint-2"), run.model)
        run.model(input_ids=torch.ones(1, 4, dtype=torch.long))
        assert all(not run.model.get_parameter(name)[~mask].any() for name, mask in pruning.keep.items())
        run.save_model(str(tmp_path / "pruned"))
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "pruned")
    assert all(not again.get_parameter(name)[~mask].any() for name, mask in pruning.keep.items())
    assert not any(m._forward_pre_hooks for m in run.model.modules())
