"""The networks of `nets`, shrunk."""

import nets
import torch
from torch import nn

from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import shrink


def settled(model):
    """Numbers that tell a forgotten tensor: also in statistics, which are 0 and 1 in a fresh network."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.num_batches_tracked.fill_(7)
    return model


def halved(name):
    """The network without every other unit."""
    model, x = settled(nets.MAKE[name]()), nets.EXAMPLE[name]
    found = sites(model, x)
    assert found
    return shrink(model, {s.name: torch.arange(s.units) % 2 == 0 for s in found}, found, example=x).model


def narrow_tied():
    """Tied with 3 instead of 6 units in its blocks, as shrinking would leave it."""
    small = nets.Tied()
    with torch.no_grad():
        for block in (small.one, small.two):
            block.up.weight.data, block.up.bias.data = block.up.weight[:3].clone(), block.up.bias[:3].clone()
            block.down.weight.data, block.up.out_features = block.down.weight[:, :3].clone(), 3
            block.down.in_features = 3
        small.table.mul_(0.5)
    small.width = small.config.width = 3
    small.config.parts = (2, 1)
    small.config.deeper = nets.Sizes(3)
    return small
