"""Observing in other people's training loops: every training sample is counted once, and scores follow."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sapwood import CRITERIA, hidden, observe, observing, score
from sapwood.scoring.statistics import active, count

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3


class Classifier(nn.Module):
    """Takes what Hugging Face's Trainer gives; its head is defined first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head, self.body = nn.Linear(8, 3), nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True))

    def forward(self, pixels, labels=None):
        logits = self.head(self.body(pixels))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits} if labels is not None else logits


def plain_loop(model, folder):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for x, y in DataLoader(TensorDataset(X, Y), batch_size=8):
        optimizer.zero_grad()
        model(x, y)["loss"].backward()
        optimizer.step()


def hugging_face(model, folder):
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), num_train_epochs=1, per_device_train_batch_size=8, report_to="none",
        save_strategy="no", use_cpu=True, disable_tqdm=True, gradient_accumulation_steps=2,
    )  # fmt: skip
    rows = [{"pixels": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    transformers.Trainer(model, arguments, train_dataset=rows, eval_dataset=rows).train()


def accelerated(model, folder):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    loader = DataLoader(TensorDataset(X, Y), batch_size=8)
    wrapped, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1), loader)
    for x, y in loader:
        accelerator.backward(wrapped(x, y)["loss"])
        optimizer.step()
        optimizer.zero_grad()


def lightning(model, folder):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.inner = model

        def training_step(self, batch, index):
            return self.inner(*batch)["loss"]

        def validation_step(self, batch, index):
            self.inner(*batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = DataLoader(TensorDataset(X, Y), batch_size=8)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Module(), loader, loader)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("trainer", [plain_loop, hugging_face, accelerated, lightning])
def test_every_training_sample_is_counted_once(trainer, compiled, tmp_path):
    model = Classifier()
    if compiled:
        model.compile(backend="eager")
    before = model.body[0].weight.detach().clone()
    with observing(model, active, count, training=True) as seen:
        trainer(model, tmp_path)
    assert {name: int(sums[count]) for name, sums in seen.items()} == {"body.0": 40, "head": 40}
    assert not torch.equal(before, model.body[0].weight)
    scores = score(model, CRITERIA["activity"], seen, only=hidden(model))
    assert list(scores) == ["body.0.weight"]
    assert not any(m._forward_hooks for m in model.modules())
    torch._dynamo.reset()


def test_gpt2_is_ranked_by_magnitude_activity_and_gradients():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=31, n_positions=12)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).double().eval()
    ids = torch.randint(31, (3, 12))
    names = hidden(model, {"input_ids": ids})
    kinds = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert names == [f"transformer.h.{block}.{kind}" for block in range(2) for kind in kinds]
    batch = transformers.BatchEncoding({"input_ids": ids, "labels": ids})
    seen = observe(model, [batch], *CRITERIA["snip"].needs, active, count, loss=lambda outputs, b: outputs.loss)
    found = score(model, CRITERIA["snip"], seen)
    model(**batch).loss.backward()
    for name, s in found.items():
        p = model.get_parameter(name)
        torch.testing.assert_close(s, (p * p.grad).abs(), rtol=1e-9, atol=1e-12)
    assert len(found) == 9
    assert int(seen["transformer.h.0.mlp.c_fc"][count]) == 36
    fired = score(model, CRITERIA["activity"], seen, only=names)["transformer.h.0.mlp.c_fc.weight"]
    assert torch.equal(fired, seen["transformer.h.0.mlp.c_fc"][active].expand(16, 64))
