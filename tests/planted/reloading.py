"""Laws of networks that other tools build again, from a file, a checkpoint or a configuration, and bugs in it."""

import io
from types import SimpleNamespace
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from torch import nn

from sapwood import prune
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.errors import InputError
from sapwood.export import network, program, pruned_text, reloadable, same, widths
from sapwood.export.reloadable import Reloadable

X = torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    """Queries of some heads, keys and values of fewer, and neurons, as a config says."""

    def __init__(self, config):
        super().__init__()
        self.heads, self.width = config.num_attention_heads, config.head_dim
        self.q, self.kv = nn.Linear(8, self.heads * self.width), nn.Linear(8, 2 * config.few_heads * self.width)
        self.o, self.up = nn.Linear(self.heads * self.width, 8), nn.Linear(8, config.neurons)
        self.down = nn.Linear(config.neurons, 8)


class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(2))


def config(**changes):
    return SimpleNamespace(**({"num_attention_heads": 8, "few_heads": 4, "head_dim": 4, "neurons": 24} | changes))


def reloading_laws() -> Laws:
    return {
        "reloading: the config that is found builds the network's widths and heads": _config,
        "reloading: what was built again from a configuration is told apart": _same,
        "reloading: an open batch is open, and code that fixes it is named": _batch,
        "reloading: a checkpoint gives the pruned module": _checkpoint,
        "reloading: timm's text is read as shapes by timm's rules": _text,
    }


def _config():
    wanted = config(num_attention_heads=4, few_heads=2, neurons=10)
    try:
        found = widths.config_of(Stack(wanted), config())
    except InputError as error:
        demand(False, str(error))
    demand(found == wanted, f"the network is of {wanted}, and {found} was found")


def net():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def _told_apart(model, pruned, what, **options):
    try:
        same.check_same(model, pruned, **options)
    except InputError:
        return
    demand(False, f"{what} counts as the pruned network")


def _same():
    pruned = prune(net(), X, macs=0.5, timing=0)
    same.check_same(pruned.model, pruned)
    other = prune(net(), X, macs=0.5, timing=0).model
    _told_apart(net(), pruned, "one with the widths of before", weights=False)
    _told_apart(other, pruned, "one whose weights were dropped")


class Fixed(nn.Module):
    def forward(self, x):
        return x.view(2, 40).sum(1)


def _batch():
    kept = io.BytesIO()
    with patch.object(program.checkpoint, "replace", lambda path, content: kept.write(content)):
        try:
            program.to_program(net(), X, "here")
        except InputError as error:
            demand(False, str(error))
        try:
            program.to_program(Fixed(), X, "here")
        except InputError as error:
            demand("its code fixes the batch at 2" in str(error), f"code for two samples is refused: {error}")
        else:
            demand(False, "code for two samples is written for any number")


class Hooks(nn.Module):
    """What Lightning calls."""

    def on_save_checkpoint(self, checkpoint):
        pass

    def on_load_checkpoint(self, checkpoint):
        pass


class Heads(Reloadable, Hooks):
    def __init__(self):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 4, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(x + self.attention(x, x, x, need_weights=False)[0])


def _checkpoint():
    small = prune(Heads(), X, macs=0.7, multiple=1, timing=0).model.eval()
    checkpoint = {"state_dict": small.state_dict()}
    small.on_save_checkpoint(checkpoint)
    again = Heads().eval()
    try:
        again.on_load_checkpoint(checkpoint)
        again.load_state_dict(checkpoint["state_dict"])
    except (InputError, RuntimeError) as error:
        demand(False, f"the checkpoint does not load: {error}")
    with torch.no_grad():
        demand(torch.equal(again(X), small(X)), "the module that is loaded answers otherwise")


def _text():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    read = {}
    for entry in pruned_text.shapes_text(model).split("***"):  # as timm.models.adapt_model_from_string does
        name, shape = entry.split(":")[:2]
        numbers = shape[1:-1].split(",")
        if numbers[0] != "":
            demand(all(number.strip().isdigit() for number in numbers), f"{entry} is no shape")
            read[name] = [int(number) for number in numbers]
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items() if tensor.dim()}
    demand(read == wanted, f"{read} is read")


def for_these_samples(model, inputs, opened, real=program._exported):
    return real(model, inputs, False)


def twice(lever, dim, wanted, real=widths.Lever.value):
    found = real(lever, dim, wanted)
    return found and 2 * found


def sizes_of_tuples(model):
    return "***".join(f"{name}:{tensor.shape}" for name, tensor in model.state_dict().items())


MUTANTS = bugs("reloading", reloading_laws, {
    "the config that is found builds the network's widths and heads": {
        "heads become thinner instead of fewer": instead(widths, "_strange", lambda *_: 0),
        "a number of a config is twice what a width needs": instead(widths.Lever, "value", twice),
    },
    "what was built again from a configuration is told apart": {
        "a layer with the width of before is overlooked": instead(same, "_sizes", lambda *_: []),
        "weights that were dropped are overlooked": instead(same, "_equal", lambda *_: True),
    },
    "an open batch is open, and code that fixes it is named": {
        "the batch is silently the example's": instead(program, "_exported", for_these_samples),
        "the batch is not named as what stops an export": instead(program, "_goes", lambda *_: False),
    },
    "a checkpoint gives the pruned module": {
        "a checkpoint says nothing of sizes": instead(reloadable, "_shapes", lambda _: {}),
        "heads in a checkpoint keep the number of before": instead(network, "change_", lambda *_: None),
    },
    "timm's text is read as shapes by timm's rules": {
        "shapes are written as torch prints them": instead(pruned_text, "shapes_text", sizes_of_tuples),
    },
})  # fmt: skip
