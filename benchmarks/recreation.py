"""The training step of the paper's authors, re-created, beside ours: 784-300-200-100-50-10, batches of 32.

This is a re-creation. The original (github.com/tusharganguli/PrunedNetwork, August 2022) ran TensorFlow in eager mode
and could not be measured here; below is what its step did, operation by operation, in PyTorch. Each step

- made, for each of the four hidden layers, a forward pass of its own from the inputs to that layer, 1 + 2 + 3 + 4
  layers in all, and raised the layer's counters in a Python loop over the batch's samples: pick the sample, compare
  with 0, add 1 to all counters, choose between old and new ones;
- made the forward and backward pass of training, and kept the running loss and accuracy;
- copied every kernel and its gradient to NumPy, set the gradient to 0 where the kernel is 0, and handed it back;
- took a step of SGD.

Left out is what had no effect: a copy of the batch, and a comparison of the whole batch before each loop. Ours is
`train` with masks held and every sample counted. Both have 70 % zeros by whole neurons and random data of
Fashion-MNIST's shape.

The other lines leave out one thing after another and tell what each part costs: the loop and the forward passes cost
about the same, and whoever adds up a batch at once saves the loop without anything else of ours. The last line of the
re-creation is the training step alone, below which nothing that trains can get. An operation has another price in
TensorFlow, where counting made the step 2.8 times as long, than in PyTorch: the ratio is about what a step does, not
about what the authors waited for.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial

import torch
from interleaved import Times, compare
from torch import Tensor, nn
from training_step import WIDTHS, Steps, samples, several

from sapwood import masks
from sapwood.models.mlp import mlp
from sapwood.observe import hidden, observing
from sapwood.run import start
from sapwood.statistics import active
from sapwood.task import Batch, Data, Task
from sapwood.train import train

SPARSITY, SIZE, STEPS, WANTED = 0.7, 32, 16, 0.2
ORIGINAL, AT_ONCE, OURS = "re-created", "re-created, samples added up at once", "ours"
Add = Callable[[Tensor, Tensor], Tensor]  # (one layer's counters, its outputs) -> counters with (output != 0) added


def masks_for(model: nn.Module) -> dict[str, Tensor]:
    """Masks that take all incoming weights of 70 % of each hidden layer's neurons, at random."""
    luck, chosen = torch.Generator().manual_seed(1), {}
    for name in hidden(model):
        weight = model.get_parameter(f"{name}.weight")
        neurons = torch.randperm(len(weight), generator=luck) >= round(SPARSITY * len(weight))
        chosen[f"{name}.weight"] = neurons[:, None].expand_as(weight).clone()
    return chosen


def sample_by_sample(counters: Tensor, outputs: Tensor) -> Tensor:
    """As the original adds up."""
    for number in range(len(outputs)):
        silent = outputs[number] == 0
        counters = torch.where(silent, counters, counters + 1)
    return counters


def at_once(counters: Tensor, outputs: Tensor) -> Tensor:
    """One sum over the batch."""
    return counters + (outputs != 0).sum(0)


def mask_gradients(kernels: Iterable[Tensor]) -> None:
    """By way of NumPy, where the kernel is exactly 0."""
    for kernel in kernels:
        assert kernel.grad is not None
        w, gradient = kernel.detach().numpy().copy(), kernel.grad.numpy().copy()
        gradient[w == 0] = 0
        kernel.grad = torch.tensor(gradient)


def recreated(data: Batch, add: Add | None = sample_by_sample, masked: bool = True) -> Steps:
    """The original's steps; without `add` nothing is counted, and no forward pass is made for it."""
    model = pruned()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    counters = [torch.zeros(width) for width in WIDTHS[1:-1]]
    up_to = [model[: 2 * number] for number in range(1, len(WIDTHS) - 1)]  # a hidden layer is a Linear and its ReLU
    kernels = [p for p in model.parameters() if p.dim() == 2]  # the output's too, biases not
    while True:
        loss_sum, right = 0.0, 0
        for index in torch.randperm(len(data.targets)).split(SIZE):
            batch = data.take(index)
            if add is not None:
                with torch.no_grad():
                    counters = [add(counted, part(batch.inputs)) for counted, part in zip(counters, up_to, strict=True)]
            optimizer.zero_grad()
            outputs = model(batch.inputs)
            loss = nn.functional.cross_entropy(outputs, batch.targets)
            loss.backward()
            if masked:
                mask_gradients(kernels)
            optimizer.step()
            loss_sum += loss.item() * len(index)
            right += int((outputs.argmax(1) == batch.targets).count_nonzero())
            yield loss_sum, right


def pruned() -> nn.Sequential:
    """The network with its zeros."""
    model = mlp(*WIDTHS)
    masks.apply_(dict(model.named_parameters()), masks_for(model))
    return model


def ours(data: Batch) -> Steps:
    """`train`, masked and counted."""
    little = data.take(slice(SIZE))
    task = Task("random", partial(mlp, *WIDTHS), Data(data, little, little), partial(torch.optim.SGD, lr=0.01), SIZE)
    run = start(task)
    run.prune(masks_for(run.model))
    with observing(run.model, active, only=hidden(run.model), training=True):
        yield from train(run, epochs=1_000_000)


def cases(data: Batch) -> dict[str, Steps]:
    """The original's steps, less and less of them, and ours."""
    return {
        ORIGINAL: recreated(data),
        AT_ONCE: recreated(data, at_once),
        "re-created, not counted": recreated(data, add=None),
        "re-created, neither counted nor masked": recreated(data, add=None, masked=False),
        OURS: ours(data),
    }


def timed(data: Batch, repeats: int, rounds: int) -> Times:
    """Prints what a step takes, case by case. Each repeat has fresh networks: where they lie in memory matters."""
    found: Times | None = None
    for _ in range(repeats):
        found = compare({name: partial(several, way, STEPS) for name, way in cases(data).items()}, rounds, found)
    assert found is not None
    print(f"{f'batch {SIZE}':40}{'us a step, CPU':>15}{'ratio CPU':>11}{'+-':>7}{'ratio wall':>12}")
    for name in found.cpu:
        print(
            f"{name:40}{found.seconds(name) / STEPS * 1e6:15.0f}{found.ratio(name, ORIGINAL):11.3f}"
            f"{found.spread(name, ORIGINAL):7.3f}{found.ratio(name, ORIGINAL, 'wall'):12.3f}"
        )
    return found


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--samples", type=int, default=54_000)
    chosen = options.parse_args()
    found = timed(samples(chosen.samples), chosen.repeats, chosen.rounds)
    print(f"ours: {found.ratio(OURS, ORIGINAL):.3f} of the re-creation's CPU time; at most {WANTED} is wanted")
    print(f"      {found.ratio(OURS, AT_ONCE):.3f} of it with the samples added up at once")
    sys.exit(found.ratio(OURS, ORIGINAL) > WANTED)
