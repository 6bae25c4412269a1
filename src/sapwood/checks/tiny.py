"""Tiny: a network and a task so small that every law can be tried at every step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from sapwood.scoring.answers import hidden
from sapwood.scoring.evidence import Evidence, Statistic
from sapwood.scoring.observation import observe
from sapwood.training.fresh import reset
from sapwood.training.task import Batch, Data, Task

SAMPLES, INPUTS, CLASSES = 48, 6, 3


def tiny_model(dropout: float = 0.0) -> nn.Sequential:
    """6-8-8-3 with ReLU, float64. The hidden layer is square, so that a transposed score is not found by its shape."""
    torch_layers = [
        nn.Linear(INPUTS, 8),
        nn.ReLU(),
        nn.Linear(8, 8),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(8, CLASSES),
    ]
    return nn.Sequential(*torch_layers).double()


def tiny_samples(samples: int = SAMPLES, seed: int = 0) -> Batch:
    """Random inputs whose class is the largest of their first three numbers."""
    luck = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, INPUTS, generator=luck, dtype=torch.float64)
    return Batch(inputs, inputs[:, :CLASSES].argmax(1))


def tiny_task(optimizer: Callable[..., Optimizer] = SGD, **options: float) -> Task:
    """The tiny network with dropout, so that random state matters, 6 steps an epoch, momentum unless told otherwise."""
    recipe = options or ({"lr": 0.1, "momentum": 0.9} if optimizer is SGD else {"lr": 0.01})
    data = Data(tiny_samples(), tiny_samples(16, seed=1), tiny_samples(16, seed=2))
    model, trained = partial(tiny_model, 0.2), partial(optimizer, **recipe)
    return Task("tiny", model, data, trained, batch_size=8, classes=CLASSES, fresh=_drawn_as_floats)


def _drawn_as_floats(model: nn.Module) -> None:
    """First weights as `tiny_model` has them, which are drawn in float32."""
    reset(model.float())
    model.double()


def tiny_conv_model() -> nn.Sequential:
    """Two convolutions of 4 and 6 channels, each with a batch norm, a mean over pixels, a layer of 8; float64."""
    torch_layers = [
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, CLASSES)),
    ]
    return nn.Sequential(*torch_layers).double()


def tiny_images(samples: int = SAMPLES, seed: int = 0) -> Batch:
    """Random images of 4 x 4 whose class is the row of the first three that is brightest."""
    luck = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 1, 4, 4, generator=luck, dtype=torch.float64)
    return Batch(inputs, inputs[:, 0, :CLASSES].sum(2).argmax(1))


def tiny_conv_task() -> Task:
    """The tiny convolutional network, 3 steps an epoch: for methods that rebuild, each life of which takes longer."""
    data = Data(tiny_images(), tiny_images(16, seed=1), tiny_images(16, seed=2))
    recipe = partial(SGD, lr=0.1, momentum=0.9)
    return Task("tiny conv", tiny_conv_model, data, recipe, batch_size=16, classes=CLASSES)


class TinyStream(nn.Module):
    """Convolutions and norms: a stream with two producers, and units inside of its block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.a, self.bn_a = nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.b, self.bn_b = nn.Conv2d(5, 6, 1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.stem(x))
        x = x + self.bn_b(self.b(self.bn_a(self.a(x)).relu()))
        return self.head(x.relu().flatten(1))  # type: ignore[no-any-return]


def seeded_model(seed: int = 0) -> nn.Sequential:
    """The tiny network without dropout, with weights from `seed`; the global random state is left alone."""
    with seeded(seed):
        return tiny_model()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's global random generator starts from `seed` inside, and is as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def evidence_for(model: nn.Module, needs: Sequence[Statistic]) -> Evidence:
    """What the hidden layers show over the tiny samples: these statistics and no other."""
    return observe(model, [tiny_samples()], *needs, loss=_summed_loss, only=hidden(model))


def _summed_loss(outputs: Tensor, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(outputs, batch.targets, reduction="sum")
