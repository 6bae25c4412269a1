"""What pruning costs a training step: 784-300-200-100-50-10 at 80 % sparsity, beside a bare loop.

The whole of it is `train` with masks held and every sample counted on the hidden layers; the bare loop is a permuted
index, index_select, cross-entropy and SGD, without masks, counts, metrics or a look at the loss. Beside it: the two
ways to mask that come with torch. Random data of Fashion-MNIST's shape; what is timed are steps inside an epoch, not
the evaluation at its end.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import torch
from interleaved import Times, compare
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from sapwood.hold import hold
from sapwood.models.mlp import mlp
from sapwood.observe import hidden, observing
from sapwood.run import Run, start
from sapwood.statistics import active
from sapwood.task import Batch, Data, Task
from sapwood.train import train

WIDTHS, SPARSITY = (784, 300, 200, 100, 50, 10), 0.8
TARGETS = {32: 1.12, 128: 1.05}
BARE, WHOLE, WEIGHTS = "bare loop", "train, neurons masked and counted", "train, weights masked and counted"
Steps = Iterator[object]  # makes one step each time it is asked
Change = Callable[[nn.Module, torch.optim.Optimizer], object]
MasksFor = Callable[[nn.Module], dict[str, Tensor]]
Pick = Callable[[Tensor, Tensor], Tensor]  # (samples, index)


def samples(count: int) -> Batch:
    """Random images and labels."""
    luck = torch.Generator().manual_seed(0)
    return Batch(torch.rand(count, 784, generator=luck), torch.randint(10, (count,), generator=luck))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Masks of the hidden layers' weights that remove 80 %, at random, one by one."""
    luck = torch.Generator().manual_seed(1)
    weights = {f"{name}.weight": model.get_parameter(f"{name}.weight") for name in hidden(model)}
    return {name: torch.rand(w.shape, generator=luck) >= SPARSITY for name, w in weights.items()}


def neurons_of(model: nn.Module) -> dict[str, Tensor]:
    """The same by whole neurons, all of one's incoming weights: what activation-based pruning removes."""
    return {name: keep[:, :1].expand_as(keep).clone() for name, keep in weights_of(model).items()}


def unchanged(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The network as it is."""


def rows_of(values: Tensor, index: Tensor) -> Tensor:
    """The fastest way to pick them; brackets take a tenth of a step more."""
    return values.index_select(0, index)


def loop(data: Batch, size: int, change: Change = unchanged, pick: Pick = rows_of) -> Steps:
    """The bare loop, on a network to which `change` has done something."""
    model = mlp(*WIDTHS)
    kept = change(model, optimizer := torch.optim.SGD(model.parameters(), lr=0.01))
    while True:
        for index in torch.randperm(len(data.targets)).split(size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(pick(data.inputs, index)), pick(data.targets, index)).backward()
            optimizer.step()
            yield kept


def ours(data: Batch, size: int, masked: MasksFor | None, counted: bool) -> Steps:
    """`train`, with masks or counts or both or neither."""
    little = data.take(slice(32))
    task = Task("random", partial(mlp, *WIDTHS), Data(data, little, little), partial(torch.optim.SGD, lr=0.01), size)
    run: Run = start(task)
    if masked is not None:
        run.prune(masked(run.model))
    with ExitStack() as stack:
        if counted:
            stack.enter_context(observing(run.model, active, only=hidden(run.model), training=True))
        yield from train(run, epochs=1_000_000)


def held(model: nn.Module, optimizer: torch.optim.Optimizer) -> object:
    """sapwood's masks on anybody's loop."""
    return hold(model, optimizer, weights_of(model))


def held_without_gradients(model: nn.Module, optimizer: torch.optim.Optimizer) -> object:
    """The same, gradients left alone, as `train` does it."""
    return hold(model, optimizer, weights_of(model), gradients=False)


def torch_prune(model: nn.Module, _: object) -> None:
    """torch.nn.utils.prune: the mask is applied in a hook before each forward pass."""
    for name, keep in weights_of(model).items():
        prune.custom_from_mask(model.get_submodule(name.removesuffix(".weight")), "weight", keep)


def torch_parametrize(model: nn.Module, _: object) -> None:
    """torch.nn.utils.parametrize: the weight is computed anew each time it is read."""
    for name, keep in weights_of(model).items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        parametrize.register_parametrization(layer, "weight", _Masked(keep))


class _Masked(nn.Module):
    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.keep: Tensor
        self.register_buffer("keep", keep.float())

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.keep


def parts(data: Batch, size: int) -> dict[str, Steps]:
    """The bare loop, and `train` with one thing after another."""
    return {
        BARE: loop(data, size),
        "bare loop, again (noise)": loop(data, size),
        "bare loop, rows by brackets": loop(data, size, pick=Tensor.__getitem__),
        "train, neither": ours(data, size, None, False),
        "train, neurons masked": ours(data, size, neurons_of, False),
        "train, weights masked": ours(data, size, weights_of, False),
        "train, counted": ours(data, size, None, True),
        WHOLE: ours(data, size, neurons_of, True),
        WEIGHTS: ours(data, size, weights_of, True),
    }


def ways_to_mask(data: Batch, size: int) -> dict[str, Steps]:
    """Masks in the bare loop. Apart from the others: the last two take so much memory each step that all slow down."""
    return {
        BARE: loop(data, size),
        "bare loop, hold()": loop(data, size, held),
        "bare loop, hold(gradients=False)": loop(data, size, held_without_gradients),
        "bare loop, torch.nn.utils.prune": loop(data, size, torch_prune),
        "bare loop, parametrize": loop(data, size, torch_parametrize),
    }


def several(steps: Steps, count: int) -> None:
    """So many steps."""
    for _ in range(count):
        next(steps)


def timed(cases: Callable[[Batch, int], dict[str, Steps]], data: Batch, size: int, repeats: int, rounds: int) -> Times:
    """Prints what a step takes, way by way. Each repeat has fresh networks: where they lie in memory matters."""
    count = 24 if size < 100 else 8  # about 25 ms: long enough to be timed, short enough to share one weather
    found: Times | None = None
    for _ in range(repeats):
        found = compare({name: partial(several, way, count) for name, way in cases(data, size).items()}, rounds, found)
    assert found is not None
    print(f"\n{f'batch {size}':36}{'us a step, CPU':>15}{'ratio CPU':>11}{'+-':>7}{'ratio wall':>12}")
    for name in found.cpu:
        print(
            f"{name:36}{found.seconds(name) / count * 1e6:15.0f}{found.ratio(name, BARE):11.3f}"
            f"{found.spread(name, BARE):7.3f}{found.ratio(name, BARE, 'wall'):12.3f}",
            flush=True,
        )
    return found


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=25)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--samples", type=int, default=54_000)
    chosen = options.parse_args()
    data = samples(chosen.samples)
    for size, target in TARGETS.items():
        found = timed(parts, data, size, chosen.repeats, chosen.rounds)
        for way in (WHOLE, WEIGHTS):
            print(f"{way}: {found.ratio(way, BARE):.3f} of the bare loop's CPU time; at most {target} is wanted")
        timed(ways_to_mask, data, size, chosen.repeats, chosen.rounds)
