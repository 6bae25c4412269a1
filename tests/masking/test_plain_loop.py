"""A plain loop with all that loops have: accumulation, clipping, a schedule, a scaler, an average, a checkpoint."""

import copy

import torch
from torch import nn

from sapwood import CRITERIA, hidden, hold, observing, score, select
from sapwood.checks.tiny import tiny_task
from sapwood.training.run import start


def test_prune_in_the_middle_of_training():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    average = torch.optim.swa_utils.AveragedModel(model)
    x, y = torch.randn(96, 10), torch.randint(3, (96,))

    def epoch():
        for at in range(0, 96, 16):
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x[at : at + 16]), y[at : at + 16]) / 2
            scaler.scale(loss).backward()
            if at % 32:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                schedule.step()
                average.update_parameters(model)

    judge = CRITERIA["activity"]
    with observing(model, *judge.needs, only=hidden(model), training=True) as seen:
        epoch()
    keep = select.everywhere(score(model, judge, seen, only=hidden(model)), 0.5)
    best = copy.deepcopy(model.state_dict())
    with hold(model, optimizer, keep):
        epoch()
        for name, mask in keep.items():
            assert not model.get_parameter(name)[~mask].any()
        model.load_state_dict(best)
        with torch.no_grad():
            model(x)
        for name, mask in keep.items():
            assert not model.get_parameter(name)[~mask].any()
        epoch()
    moved = {name: p.detach().clone() for name, p in model.named_parameters()}
    epoch()
    for name, mask in keep.items():
        assert (model.get_parameter(name) != moved[name])[mask].any()


def test_what_was_removed_is_0_as_soon_as_a_run_has_gone_back():
    run = start(tiny_task())
    early = {name: value.clone() for name, value in run.model.state_dict().items()}
    keep = torch.arange(64).view(8, 8) % 3 != 0
    run.prune({"2.weight": keep})
    run.rewind(early)
    assert torch.equal(run.model[2].weight, early["2.weight"] * keep)
