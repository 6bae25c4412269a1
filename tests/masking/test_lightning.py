"""Lightning: the trainer makes the optimiser and runs the loop, its steps with a closure."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sapwood import CRITERIA, hidden, hold, observing, score, select

lightning = pytest.importorskip("lightning")


class Classifier(lightning.LightningModule):
    """A network that Lightning trains."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


class Pruning(lightning.Callback):
    """Looks at the first epoch, holds what is left in the others."""

    def __init__(self):
        self.checked = 0

    def on_train_start(self, trainer, module):
        self.judge = CRITERIA["activity"]
        self.looking = observing(module, *self.judge.needs, only=hidden(module), training=True)
        self.seen = self.looking.__enter__()

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 0:
            self.looking.__exit__(None, None, None)
            self.keep = select.everywhere(score(module, self.judge, self.seen, only=hidden(module)), 0.5)
            self.held = hold(module, trainer.optimizers[0], self.keep)

    def on_train_batch_end(self, trainer, module, *_):
        if trainer.current_epoch:
            for name, mask in self.keep.items():
                assert not module.get_parameter(name)[~mask].any()
                assert not module.get_parameter(name).grad[~mask].any()
                self.checked += 1

    def on_train_end(self, trainer, module):
        self.held.release()


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning")  # by Lightning's use of torch's trees
@pytest.mark.filterwarnings("ignore::UserWarning:lightning")  # of workers, loggers and the like: its advice
def test_masks_are_held_and_layers_observed(tmp_path):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(64, 10), torch.randint(3, (64,))), batch_size=16)
    pruning, module = Pruning(), Classifier()
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[pruning],
        gradient_clip_val=1.0,
        default_root_dir=tmp_path,
        **options,
    )
    trainer.fit(module, loader, loader)
    assert pruning.checked
    assert not any(m._forward_pre_hooks for m in module.modules())
    assert all(not module.get_parameter(name)[~mask].any() for name, mask in pruning.keep.items())
