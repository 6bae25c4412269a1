"""The callback for Lightning, in its own trainer."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sapwood import export

lightning = pytest.importorskip("lightning")
from sapwood.adapters.in_lightning import Prune  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning"),  # by Lightning's use of torch's trees
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),  # of workers, loggers and the like: its advice
    pytest.mark.filterwarnings("ignore:.*weights_only.*"),
]
X = torch.randn(48, 10, generator=torch.Generator().manual_seed(0))
LOADER = DataLoader(TensorDataset(X, torch.arange(48) % 3), batch_size=12)


class Loader:
    """Batches that go on where a checkpoint was written, which a plain DataLoader's do not."""

    done = 0

    def __len__(self):
        return 4

    def __iter__(self):
        begin, self.done = self.done, 0
        for at in range(begin, 4):
            self.done = (at + 1) % 4
            yield X[at::4], torch.arange(48)[at::4] % 3

    def state_dict(self):
        return {"done": self.done}

    def load_state_dict(self, state):
        self.done = state["done"]


class Classifier(export.Reloadable, lightning.LightningModule):
    """Looks at its weights in every step; trains by itself where it has several optimisers."""

    def __init__(self, several=False, fails=False):
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
        self.several, self.fails, self.automatic_optimization = several, fails, not several
        self.evaluated, self.alive = [], 0

    def forward(self, x):
        return self.net(x)

    def loss(self, batch):
        """What removed weights were in the pass is what they are after it."""
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        masks = next(each.masks for each in self.trainer.callbacks if isinstance(each, Prune))
        self.alive += sum(int(self.get_parameter(n)[~keep].any()) for n, keep in masks.items())
        return loss

    def training_step(self, batch, at):
        if self.fails and self.current_epoch == 2 and at == 1:
            raise RuntimeError("out of memory")
        loss = self.loss(batch)
        if self.several:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
        return loss

    def validation_step(self, batch, at):
        self.log("loss", self.loss(batch))
        self.evaluated.append((self.current_epoch, sum(int((p == 0).sum()) for p in self.parameters())))

    def configure_optimizers(self):
        if self.several:
            return [torch.optim.SGD(self.net[0].parameters(), 0.1), torch.optim.Adam(self.net[2:].parameters())]
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)]


def fit(pruning, module, folder, *, callbacks=(), path=None, epochs=4, **options):
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=[pruning, *callbacks], logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        enable_checkpointing=any(isinstance(c, lightning.pytorch.callbacks.Checkpoint) for c in callbacks), **options,
    )  # fmt: skip
    trainer.fit(module, Loader(), LOADER, ckpt_path=path)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert module.alive == 0
    return trainer


def zero(module, masks):
    return bool(masks) and all(not module.get_parameter(name)[~keep].any() for name, keep in masks.items())


@pytest.mark.parametrize(
    ("given", "some"), [({"sparsity": 0.6}, "*"), ({"macs": 0.4, "multiple": 1, "example": X[:2]}, "*=[13]")]
)
def test_resumed_training_has_the_same_masks_and_the_same_bits(given, some, tmp_path):
    def prune():
        return Prune(**given, at=[1, 3], by="activity")

    options = {"accumulate_grad_batches": 2, "gradient_clip_val": 1.0, "precision": "bf16-mixed"}
    every = lightning.pytorch.callbacks.ModelCheckpoint(
        tmp_path, "{epoch}-{step}", save_top_k=-1, every_n_train_steps=1, save_on_train_epoch_end=False
    )
    ends = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, "end-{epoch}", save_top_k=-1)
    first, module = prune(), Classifier()
    fit(first, module, tmp_path, callbacks=[every, ends], **options)
    assert zero(module, first.masks)
    assert len(list(tmp_path.glob("*.ckpt"))) == 12
    paths = sorted(tmp_path.glob(f"{some}.ckpt"))
    assert paths
    for path in paths:
        again, other = prune(), Classifier()
        fit(again, other, tmp_path, path=path, **options)
        assert all(torch.equal(again.masks[name], keep) for name, keep in first.masks.items()), path
        assert all(torch.equal(p, other.get_parameter(name)) for name, p in module.named_parameters()), path


def test_evaluation_sees_zeros_from_the_pruning_on(tmp_path):
    pruning, module = Prune(0.5, at=[0, 2]), Classifier()
    fit(pruning, module, tmp_path)
    zeros = {epoch: count for epoch, count in module.evaluated}  # the last batch of each epoch
    assert module.evaluated[0] == (0, 0)  # the sanity check comes before the training
    assert zeros == {0: 122, 1: 122, 2: 208, 3: 208}
    assert zero(module, pruning.masks)


def test_an_exception_leaves_the_model_free_and_early_stopping_is_told(tmp_path):
    pruning, module = Prune(0.5, at=[1, 3], by="activity"), Classifier(fails=True)
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(pruning, module, tmp_path)
    assert zero(module, pruning.masks)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    module.net[0].weight.data.fill_(1)
    module(X)
    assert (module.net[0].weight == 1).all()
    stop = lightning.pytorch.callbacks.EarlyStopping("loss", patience=1, min_delta=100.0)
    with pytest.warns(UserWarning, match="was not done: training ended after 2 epochs"):
        fit(Prune(0.5, at=3), Classifier(), tmp_path, callbacks=[stop])


def test_averages_of_weights_and_several_optimisers(tmp_path):
    average = lightning.pytorch.callbacks.EMAWeightAveraging(decay=0.9)
    for callbacks, module in ([[average], Classifier()], [[], Classifier(several=True)]):
        pruning = Prune(0.5, at=2)
        fit(pruning, module, tmp_path, callbacks=callbacks)
        assert zero(module, pruning.masks)


def test_the_smaller_model_is_what_the_trainer_saves(tmp_path):
    example, module = X[:2], Classifier()
    pruning = Prune(macs=0.5, at=[1, 2], by="activity", example=example, multiple=1, shrink=True)
    trainer = fit(pruning, module, tmp_path, precision="bf16-mixed")
    assert module.net[0].out_features < 16
    trainer.save_checkpoint(tmp_path / "small.ckpt")
    saved = torch.load(tmp_path / "small.ckpt", weights_only=True)
    assert {n: v.shape for n, v in saved["state_dict"].items()} == {n: p.shape for n, p in module.named_parameters()}
    memory = saved["optimizer_states"][0]["state"].values()
    assert [m["exp_avg"].shape for m in memory] == [p.shape for p in module.parameters()]
    trainer.validate(module, LOADER, verbose=False)
    again = Classifier.load_from_checkpoint(tmp_path / "small.ckpt")
    assert torch.equal(again(X), module(X))


def test_two_callbacks_are_refused_and_nothing_is_held(tmp_path):
    module = Classifier()
    with pytest.raises(RuntimeError, match=r"Found more than one stateful callback of type `Prune`"):
        fit(Prune(0.5, at=0), module, tmp_path, callbacks=[Prune(0.5, at=0)])
    assert not any(m._forward_pre_hooks for m in module.modules())
