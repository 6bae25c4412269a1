"""Copies: models with things that cannot be copied, optimisers that train more, and kinds of models refused by name."""

import random
import sys
import tempfile
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from zoo import conv, flat, image, mlp, settled

from sapwood.errors import InputError
from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.tracing.computed import copied
from sapwood.shrinking.tracing.duplicate import duplicate


class Holding(nn.Module):
    """A small network that holds something besides."""

    def __init__(self, **held):
        super().__init__()
        self.body, self.out = nn.Linear(5, 6), nn.Linear(6, 3)
        for name, thing in held.items():
            setattr(self, name, thing)

    def forward(self, x):
        return self.out(torch.relu(self.body(x)))


class Tokenizer:
    """Its lock cannot be copied; its words can, and must be."""

    def __init__(self, owner=None):
        self.lock, self.words, self.owner, self.self = threading.Lock(), ["a"], owner, self


class NoCopies:
    def __deepcopy__(self, memo):
        raise NotImplementedError("one is enough")


class StateOfItsOwn:
    """What it hands to a copy is not what it holds."""

    def __getstate__(self):
        return {"lock": threading.Lock()}


def half(found):
    return {site.name: torch.arange(site.units) % 2 == 0 for site in found}


STUCK = {
    "lock": threading.Lock, "file": tempfile.TemporaryFile, "generator": lambda: (n for n in range(3)),
    "module": lambda: sys, "tokenizer": Tokenizer, "in a list": lambda: [1, [threading.RLock()]],
    "in a dict": lambda: {"a": {"b": threading.Lock()}}, "without copies": NoCopies, "own state": StateOfItsOwn,
    "result of a computation": lambda: {"last": torch.ones(2, requires_grad=True) * 2},
    "random numbers": lambda: (torch.Generator(), random.Random(1)), "weak": lambda: weakref.ref(STUCK_OWNER),
    "function": lambda: (lambda x: x), "event": threading.Event,
}  # fmt: skip
STUCK_OWNER = Tokenizer()


@pytest.mark.parametrize("make", STUCK.values(), ids=STUCK)
def test_models_are_shrunk_whatever_they_hold(make, unchanged, request):
    thing = make()
    if hasattr(thing, "close"):  # an open file would say so when it is forgotten
        request.addfinalizer(thing.close)
    model = settled(Holding(thing=thing))
    unchanged(model)
    found = sites(model, flat(5))
    small = shrink(model, half(found), found, example=flat(5), optimizer=SGD(model.parameters(), 0.1))
    assert small.difference <= 1e-12
    assert compact(model, example=flat(5)).difference <= 1e-12
    assert model.thing is thing
    assert type(small.model.thing) is type(thing)


def test_only_what_cannot_be_copied_is_shared():
    model = settled(Holding(tokenizer=Tokenizer()))
    model.tokenizer.owner = model
    model.both = [model.body, threading.Lock(), {"words": model.tokenizer.words}]
    copy = copied(model)
    assert copy.tokenizer is not model.tokenizer
    assert copy.tokenizer.lock is model.tokenizer.lock
    assert copy.tokenizer.words is not model.tokenizer.words
    assert copy.tokenizer.owner is copy
    assert copy.tokenizer.self is copy.tokenizer
    assert copy.both[0] is copy.body is not model.body
    assert copy.both[1] is model.both[1]
    assert copy.both[2]["words"] is copy.tokenizer.words


def test_a_module_that_cannot_be_copied_is_refused_by_name():
    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("one is enough")

    model = settled(nn.Sequential(nn.Linear(5, 6), nn.Sequential(Single(6, 6), nn.ReLU()), nn.Linear(6, 3)))
    found = sites(model, flat(5))
    with pytest.raises(InputError, match=r"module '1.0' cannot be copied, .*one is enough"):
        shrink(model, half(found), found, example=flat(5))


def test_what_can_be_copied_is_copied_as_ever():
    held = {"list": [1, 2], "self": None}
    held["self"] = held
    (copy,) = duplicate((held,), {})
    assert copy["self"] is copy is not held


# ---- optimisers ----


class Margin(nn.Module):
    """A loss with weights of its own, as ArcFace has them."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4, dtype=torch.float64))

    def forward(self, y):
        return ((y @ self.weight) ** 2).sum()


def shrunk(model, **options):
    found = sites(model, options["example"])
    return shrink(model, half(found), found, **options)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("by", [shrunk, compact])
def test_an_optimiser_that_trains_a_loss_too_is_sliced_and_goes_on_with_it(by, groups):
    (model, example), loss = mlp(), Margin()
    model = settled(model)
    with torch.no_grad():
        model[0].weight[2] = 0
    own, others = [*model.parameters()], [*loss.parameters()]
    optimizer = Adam([{"params": own}, {"params": others, "lr": 0.5}] if groups == 2 else own + others)
    loss(model(example)).backward()
    optimizer.step()
    with torch.no_grad():
        model[0].weight[2] = 0
    optimizer.zero_grad()
    before = loss.weight.detach().clone()
    remembered = optimizer.state[loss.weight]["exp_avg"].clone()
    small = by(model, example=example, optimizer=optimizer)
    assert small.optimizer is not optimizer
    mine = [p for group in small.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in mine} == {id(p) for p in (*small.model.parameters(), loss.weight)}
    assert torch.equal(small.optimizer.state[loss.weight]["exp_avg"], remembered)
    loss(small.model(example)).backward()
    small.optimizer.step()
    assert not torch.equal(loss.weight, before)
    assert small.model[0].out_features < 8


def test_an_optimiser_of_another_model_alone_is_refused():
    model = settled(mlp()[0])
    with pytest.raises(InputError, match="trains no parameter of the model's"):
        shrink(model, {}, (), example=flat(5), optimizer=SGD(Margin().parameters(), 0.1))


# ---- kinds of models and of examples ----


def net():
    return nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 2))


class CallsMore(nn.Linear):
    def __call__(self, x):
        return torch.relu(super().__call__(x))


def compiled_in_place():
    model = net()
    model[0].compile()
    return model


def hooked():
    model = net()
    model[0].register_forward_hook(lambda layer, x, y: y * 2)
    model.register_forward_pre_hook(lambda layer, x: (x[0] + 1,))
    return model


RUN = {
    "for several devices": (lambda: nn.DataParallel(net()), image, {"module.0": 6}),
    "compiled in place": (compiled_in_place, image, {"0": 6}),
    "with hooks": (hooked, image, {"0": 6}),
    "with a call of its own": (lambda: nn.Sequential(CallsMore(5, 6), nn.Linear(6, 3)), lambda: flat(5), {"0": 6}),
    "without a batch": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)),
        lambda: flat(5)[0],
        {"0": 6},
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("make", "example", "units"), RUN.values(), ids=RUN)
def test_wrapped_hooked_and_unusual_models_are_like_others(make, example, units):
    model = make().double().eval()
    found = sites(model, example())
    assert {site.name: site.units for site in found} == units
    assert shrink(model, half(found), found, example=example()).difference <= 1e-12


def quantised():
    return nn.Sequential(torch.ao.nn.quantized.dynamic.Linear(5, 6), nn.Linear(6, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "example", "says"),
    [
        (lambda: torch.compile(net()), image, "the model was made by torch.compile; give the one it was made of"),
        (lambda: nn.Sequential(net(), torch.compile(net())), image, "module '1' was made by torch.compile"),
        (lambda: torch.jit.script(nn.Linear(5, 6)), lambda: flat(5), "the model is a ScriptModule"),
        (lambda: nn.Sequential(torch.jit.script(nn.Linear(5, 6))), image, "module '0' is a ScriptModule"),
        (lambda: nn.Sequential(nn.LazyLinear(6), nn.Linear(6, 3)), image, "'0.weight' has no size yet; run the model"),
        (quantised, image, "module '0' is quantised"),
        (net, lambda: image()[:0], r"the example holds a tensor of shape \(0, 3, 8, 8\); give at least one sample"),
        (lambda: net().forward, image, "model is a method; give a torch.nn.Module"),
        (net, lambda: None, "it is None; give one of the model.s inputs"),
        (net, lambda: 3.0, "Sequential cannot be exported for this example"),
        (net, lambda: flat(5), "Sequential cannot be exported for this example"),
        (net, lambda: image().to("meta"), "Sequential cannot be exported for this example"),
    ],
)  # fmt: skip
def test_what_is_no_plain_model_or_no_example_is_refused_in_words_of_its_own(make, example, says):
    with pytest.raises(InputError, match=says):
        sites(make(), example())


def test_a_model_without_numbers_has_sites_and_is_cut_unproven_only():
    with torch.device("meta"):
        model = net()
    example = image().float().to("meta")
    found = sites(model, example)
    with pytest.raises(InputError, match=r"'0\.weight' has no numbers"):
        shrink(model, half(found), found, example=example)
    assert shrink(model, half(found), found, example=example, check=False).model[0].weight.shape == (3, 3, 3, 3)


class Collecting(nn.Sequential):
    """Registers hooks when it is first called, notes that it has, and reads what they collect."""

    def forward(self, x):
        if not getattr(self, "watched", False):
            self.watched = True
            self[0].register_forward_hook(lambda module, inputs, output: self.seen.append(output))
        self.seen = []
        self[0](x)
        (inside,) = self.seen
        return self[1](inside.relu())


def test_hooks_that_a_first_call_registers_are_gone_with_the_note_that_they_are_there():
    model = settled(Collecting(nn.Linear(5, 6), nn.Linear(6, 3)))
    found = sites(model, flat(5))
    assert (not model[0]._forward_hooks, hasattr(model, "watched")) == (True, False)
    assert shrink(model, {"0": torch.arange(6) > 1}, found, example=flat(5)).difference < 1e-13
