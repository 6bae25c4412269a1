"""Random situations of training, drawn by a seed: what people do to a network, its optimiser and their copies.

A situation is a network, an optimiser, perhaps a wrapper around it, a precision, and a dozen acts in a random order
while masks are held. The law: in every forward pass removed weights are exactly 0, or an InputError came at once.
What a forward pass reads is seen by a hook that stands after the library's, on the layer that computes.
"""

import copy
import random
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.swa_utils import AveragedModel

from sapwood.errors import InputError
from sapwood.masking.holding import hold

OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "Nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, foreach=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "Adam, fused": lambda p: optim.Adam(p, lr=0.01, fused=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    "Adadelta": lambda p: optim.Adadelta(p),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01),
    "Rprop": lambda p: optim.Rprop(p, lr=0.01),
    "ASGD": lambda p: optim.ASGD(p, lr=0.05),
}


class Inside(optim.Optimizer):
    """A wrapper that never calls Optimizer.__init__."""

    def __init__(self, optimizer):
        self.optimizer, self.param_groups, self.state = optimizer, optimizer.param_groups, optimizer.state
        self.defaults = optimizer.defaults

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Climbing(Inside):
    """Sharpness-aware: up by the gradient and some noise, and down from where it was."""

    @torch.no_grad()
    def step(self, closure=None):
        every = [p for group in self.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in every]
        for p in every:
            p.data.add_(p.grad if p.grad is not None else 0).add_(0.01)
        for p, value in zip(every, before, strict=True):
            p.data = value
        return self.optimizer.step(closure)


class Slow(Inside):
    """Looks ahead: every second step a third of the way back to slow weights."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]
        self.count = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.optimizer.step(closure)
        self.count += 1
        every = [p for group in self.param_groups for p in group["params"]]
        for p, slow in zip(every, self.slow, strict=False):
            if self.count % 2 == 0:
                slow.lerp_(p, 0.7)
                p.copy_(slow)


WRAPPERS = {"none": lambda o: o, "inside": Inside, "climbing": Climbing, "slow weights": Slow}
PRECISIONS = ("float64", "float32", "bfloat16", "autocast", "scaler")
CLIPPING = ("none", "norm", "value", "by hand")
SCHEDULES = ("none", "cosine", "one cycle")


class Net(nn.Module):
    """A convolution, a tied pair, a layer read by its parent, attention, and a head."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, padding=1)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.read = nn.Linear(6, 6, bias=False)
        self.attention = nn.MultiheadAttention(6, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.conv(x).relu().transpose(1, 2)
        x = self.second(self.first(x).relu()).relu()
        x = nn.functional.linear(x, self.read.weight)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1))


MASKED = ("conv.weight", "first.weight", "read.weight", "attention.in_proj_weight", "attention.out_proj.weight")
MASKED = (*MASKED, "head.weight")


@dataclass
class Situation:
    """Everything that the acts change."""

    luck: random.Random
    optimizer_name: str
    wrapper: str
    precision: str
    clipping: str
    schedule: str
    accumulate: int
    done: list[str] = field(default_factory=list)

    def __post_init__(self):
        torch.manual_seed(self.luck.randrange(2**31))
        kind = {"float64": torch.float64, "bfloat16": torch.bfloat16}.get(self.precision, torch.float32)
        self.model = Net().to(kind)
        self.x, self.y = torch.randn(5, 2, 4).to(kind), torch.randint(3, (5,))
        self.optimizer = self.made(self.model)
        self.scaler = torch.amp.GradScaler("cpu", enabled=self.precision == "scaler", init_scale=256.0)
        self.inner = getattr(self.optimizer, "optimizer", self.optimizer)
        self.scheduler = {
            "none": lambda o: None,
            "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 50),
            "one cycle": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.05, 200, cycle_momentum=False),
        }[self.schedule](self.inner)
        if self.luck.random() < 0.7:
            self.train()
        self.dense = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.memory = copy.deepcopy(self.inner.state_dict())
        self.average = AveragedModel(self.model)
        self.other = optim.Adam(self.model.parameters(), lr=0.01)
        self.keep = {
            name: torch.rand(p.shape) > 0.5 for name, p in self.model.named_parameters() if name in self.masked_names()
        }
        self.passes = 0

    def made(self, model):
        return WRAPPERS[self.wrapper](OPTIMISERS[self.optimizer_name](model.parameters()))

    def masked_names(self):
        if not hasattr(self, "_names"):
            self._names = self.luck.sample(MASKED, self.luck.randint(1, len(MASKED)))
        return self._names

    def __str__(self):
        parts = (self.optimizer_name, self.wrapper, self.precision, self.clipping, self.schedule)
        return f"{', '.join(parts)}, {self.accumulate} batches a step; {', '.join(self.masked_names())}: {self.done}"

    def loss(self, model):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision in ("autocast", "scaler")):
            output = model(self.x)
        return nn.functional.cross_entropy(output.float(), self.y)

    def train(self):
        """One step as a training loop makes it."""
        self.optimizer.zero_grad(set_to_none=self.luck.random() < 0.5)
        for _ in range(self.accumulate):
            bad = float("inf") if self.precision == "scaler" and self.luck.random() < 0.1 else 1
            self.scaler.scale(self.loss(self.model) / self.accumulate * bad).backward()
        if self.clipping != "none":
            self.scaler.unscale_(self.inner)
        if self.clipping == "norm":
            clip_grad_norm_(self.model.parameters(), 1.0)
        elif self.clipping == "value":
            clip_grad_value_(self.model.parameters(), 0.1)
        elif self.clipping == "by hand":
            for p in self.model.parameters():
                if p.grad is not None:
                    p.grad.data = p.grad.data.clamp(-0.1, 0.1) + 1e-3
        if self.precision == "scaler":
            self.scaler.step(self.inner)
            self.scaler.update()
        else:
            self.optimizer.step()
        if self.done and self.wrapper != "slow weights" and self.precision != "scaler":  # a scaler skips steps
            self.check_after_step()
        if self.scheduler is not None:
            self.scheduler.step()

    def check_after_step(self):
        """Before anybody runs the model again: weights, gradients and memory."""
        for name, keep in self.keep.items():
            weight = self.model.get_parameter(name)
            remembered = [
                v for k, v in self.inner.state[weight].items() if torch.is_tensor(v) and v.shape == keep.shape
            ]
            for what in (weight, *remembered):
                assert (what.detach()[~keep] == 0).all(), f"{name} is not 0 after a step: {self}"

    def evaluate(self):
        self.model.eval()
        with torch.no_grad():
            self.loss(self.model)
        self.model.train()

    def load_weights(self):
        self.model.load_state_dict(self.dense)

    def load_part(self):
        self.model.read.load_state_dict({"weight": self.dense["read.weight"]})

    def load_memory(self):
        if len(self.inner.param_groups) == 1:
            self.scheduler = None  # it would not find its own rates
            self.inner.load_state_dict(copy.deepcopy(self.memory))

    def put_average_back(self):
        with torch.no_grad():
            for p, mean in zip(self.model.parameters(), self.average.module.parameters(), strict=True):
                p.data.copy_(mean)

    def swap_average(self):
        for p, mean in zip(self.model.parameters(), self.average.module.parameters(), strict=True):
            p.data, mean.data = mean.data, p.data

    def update_average(self):
        self.average.update_parameters(self.model)

    def new_average(self):
        self.average = AveragedModel(self.model)
        self.watch(self.average.module)
        self.loss(self.average.module)

    def copy_pair(self):
        """And go on with the copy."""
        self.model, self.inner = copy.deepcopy((self.model, self.inner))
        self.optimizer = WRAPPERS[self.wrapper](self.inner)
        self.other = optim.Adam(self.model.parameters(), lr=0.01)
        self.scheduler = None
        self.watch(self.model)
        self.loss(self.model)

    def second_optimiser(self):
        self.other.zero_grad()
        self.loss(self.model).backward()
        self.other.step()

    def write(self):
        with torch.no_grad():
            for p in self.model.parameters():
                p.data.add_(0.1)

    def write_through_numpy(self):
        if self.precision != "bfloat16":
            for p in self.model.parameters():
                p.detach().numpy()[...] += 0.1

    def replace(self):
        self.model.read.weight = nn.Parameter(torch.randn_like(self.model.read.weight))
        self.scheduler = None
        self.inner.add_param_group({"params": [self.model.read.weight]})

    def strange_gradients(self):
        for p in self.model.parameters():
            p.grad = torch.full_like(p, self.luck.choice((1.0, float("inf"))))
        for name, p in self.model.named_parameters():
            if name not in self.keep:
                p.grad = None
            else:
                p.grad.masked_fill_(self.keep[name], 0)
        self.inner.step()

    def watch(self, model):
        """Looks at every forward pass of a layer, with what it is about to read."""

        watched = (model, model.conv, model.first, model.second, model.attention, model.head)

        def look(module, args):
            if not any(module is one for one in watched):  # a copied hook
                return
            self.passes += 1
            for name in self.keep:
                path, _, leaf = name.rpartition(".")
                weight = model.get_submodule(path)._parameters[leaf]
                back = int((weight.detach()[~self.keep[name]] != 0).sum())
                assert not back, f"{back} removed weights of {name} are back: {self}"

        for module in watched:
            module.register_forward_pre_hook(look)


ACTS = ("train", "train", "train", "evaluate", "load_weights", "load_part", "load_memory", "put_average_back")
ACTS = (*ACTS, "swap_average", "update_average", "new_average", "copy_pair", "second_optimiser", "write")
ACTS = (*ACTS, "write_through_numpy", "replace", "strange_gradients")


def drawn(seed):
    """The situation of this seed."""
    luck = random.Random(seed)
    options = (tuple(OPTIMISERS), tuple(WRAPPERS), PRECISIONS, CLIPPING, SCHEDULES, (1, 1, 2, 3))
    return Situation(luck, *(luck.choice(choices) for choices in options))


@contextmanager
def refused(said):
    """An InputError is an answer; the situation is over."""
    try:
        yield
    except InputError as error:
        said.append(str(error))


def lived_through(seed, acts=8):
    """What the library refused in the situation of this seed; an AssertionError if a removed weight came back."""
    situation, said = drawn(seed), []
    with refused(said), hold(situation.model, situation.optimizer, situation.keep):
        situation.watch(situation.model)
        for _ in range(acts):
            act = situation.luck.choice(ACTS)
            situation.done.append(act)
            getattr(situation, act)()
        situation.loss(situation.model)
        assert situation.passes
    return said
