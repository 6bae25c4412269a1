"""accelerate: what `prepare` hands out wraps the optimiser, and may wrap the model."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sapwood import CRITERIA, hidden, hold, observing, score, select

accelerate = pytest.importorskip("accelerate")


@pytest.fixture
def prepared():
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    loader = DataLoader(TensorDataset(torch.randn(64, 10), torch.randint(3, (64,))), batch_size=16)
    yield accelerator, *accelerator.prepare(model, optimizer, schedule, loader)
    accelerator.free_memory()


def epoch(accelerator, model, optimizer, schedule, loader):
    for x, y in loader:
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(x), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("given", ["the wrapper", "the optimiser inside"])
def test_masks_are_held_and_layers_observed(prepared, given, tmp_path):
    accelerator, model, optimizer, *_ = prepared
    plain = accelerator.unwrap_model(model)
    judge = CRITERIA["activity"]
    with observing(plain, *judge.needs, only=hidden(plain), training=True) as seen:
        epoch(*prepared)
    keep = select.everywhere(score(plain, judge, seen, only=hidden(plain)), 0.5)
    accelerator.save_state(tmp_path / "dense")
    with hold(plain, optimizer if given == "the wrapper" else optimizer.optimizer, keep):
        for again in (False, True):
            if again:
                accelerator.load_state(tmp_path / "dense")
            epoch(*prepared)
            for name, mask in keep.items():
                weight = plain.get_parameter(name)
                assert not weight[~mask].any()
                assert not optimizer.state[weight]["exp_avg"][~mask].any()
                assert weight[mask].any()
