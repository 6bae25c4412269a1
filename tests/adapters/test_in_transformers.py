"""The callback for Hugging Face's Trainer, in the real one. Nothing is fetched."""

import pytest
import torch

from sapwood import InputError

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from sapwood.adapters.in_transformers import Prune  # noqa: E402

WORDS = torch.randint(50, (32, 8), generator=torch.Generator().manual_seed(0))
EXAMPLE = {"input_ids": WORDS[:2]}
SENTENCES = [{"input_ids": words, "labels": words} for words in WORDS]


class Eyes(transformers.TrainerCallback):
    """Looks at the weights after every step and at every evaluation."""

    def __init__(self, pruning, fails=None):
        self.pruning, self.fails, self.evaluated = pruning, fails, []

    def on_step_end(self, args, state, control, model=None, **_):
        assert zero(model, self.pruning.masks)
        if state.global_step == self.fails:
            raise RuntimeError("out of memory")

    def on_evaluate(self, args, state, control, model=None, **_):
        assert zero(model, self.pruning.masks)
        self.evaluated.append((state.epoch, len(self.pruning.masks), state.best_model_checkpoint))


def zero(model, masks):
    return all(not model.get_parameter(name)[~keep].any() for name, keep in masks.items())


def trainer(folder, pruning, *callbacks, **options):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        pad_token_id=0, attention_dropout=0.1,
    )  # fmt: skip
    given = {
        "output_dir": str(folder), "num_train_epochs": 3, "per_device_train_batch_size": 8, "learning_rate": 0.01,
        "gradient_accumulation_steps": 2, "max_grad_norm": 1.0, "report_to": [], "logging_strategy": "no",
        "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False,
    }  # fmt: skip
    return transformers.Trainer(
        transformers.LlamaForCausalLM(config),
        transformers.TrainingArguments(**given | options),
        train_dataset=SENTENCES,
        eval_dataset=SENTENCES[:8],
        callbacks=[pruning, *callbacks],
    )


def test_resumed_training_has_the_same_masks_and_the_same_bits(tmp_path):
    def prune():
        return Prune(0.6, at=[1, 2], by="activity", example=EXAMPLE)

    options = {"save_strategy": "steps", "save_steps": 1, "bf16": True}
    first = prune()
    whole = trainer(tmp_path / "first", first, Eyes(first), **options)
    whole.train()
    assert first.masks
    for step in (1, 2, 3):  # in the middle of an epoch that is observed, and where one ends
        again = prune()
        other = trainer(tmp_path / "again", again, Eyes(again), save_strategy="no", bf16=True)
        other.train(resume_from_checkpoint=str(tmp_path / "first" / f"checkpoint-{step}"))
        assert all(torch.equal(again.masks[name], keep) for name, keep in first.masks.items()), step
        assert all(torch.equal(p, other.model.get_parameter(name)) for name, p in whole.model.named_parameters()), step


def test_the_best_pruned_network_becomes_smaller_is_saved_and_reloads(tmp_path):
    pruning = Prune(parameters={1: 0.9, 2: 0.8}, multiple=2, uniform=True, example=EXAMPLE, shrink=True)
    eyes, patient = Eyes(pruning), transformers.EarlyStoppingCallback(early_stopping_patience=1)
    run = trainer(
        tmp_path, pruning, eyes, patient, save_strategy="epoch", eval_strategy="epoch", load_best_model_at_end=True
    )
    run.train()
    assert [(epoch, bool(masks)) for epoch, masks, _ in eyes.evaluated] == [(1, True), (2, True), (3, True)]
    assert [best for *_, best in eyes.evaluated] != [None] * 3
    model = run.model
    assert model.model.layers[0].mlp.gate_proj.out_features == model.config.intermediate_size < 24
    assert pruning.masks == {}
    loss = run.evaluate()["eval_loss"]
    run.save_model(str(tmp_path / "small"))
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small").eval()
    assert torch.equal(again(**EXAMPLE).logits, model.eval()(**EXAMPLE).logits)
    before = model.lm_head.weight.detach().clone()
    run.remove_callback(pruning)
    run.remove_callback(eyes)
    run.remove_callback(patient)
    run.args.num_train_epochs, run.args.load_best_model_at_end = 1, False
    run.train()  # goes on with the smaller model
    assert not torch.equal(model.lm_head.weight, before)
    assert run.evaluate()["eval_loss"] < loss


def test_after_an_exception_the_model_is_free(tmp_path):
    pruning = Prune(0.5, at=[0, 2], by="magnitude", example=EXAMPLE)
    run = trainer(tmp_path, pruning, Eyes(pruning, fails=3))
    with pytest.raises(RuntimeError, match="out of memory"), pruning:
        run.train()
    assert pruning.masks
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in run.model.modules())
    run.remove_callback(Eyes)
    run.train()  # a training that was broken off is no obstacle to the next one
    assert zero(run.model, pruning.masks)


def test_what_the_trainer_cannot_do_with_it_is_refused(tmp_path):
    with pytest.raises(InputError, match="restore_callback_states_from_checkpoint=True makes callbacks anew"):
        trainer(tmp_path, Prune(0.5), restore_callback_states_from_checkpoint=True)
    run = trainer(tmp_path, Prune(0.5, example=EXAMPLE))
    run.callback_handler.callbacks.append(Prune(0.5, example=EXAMPLE))
    with pytest.raises(InputError, match="two callbacks prune one LlamaForCausalLM"):
        run.train()
    with pytest.raises(InputError, match="due after 5 epochs, and training ends after 3"):
        trainer(tmp_path, Prune(0.5, at=5)).train()
