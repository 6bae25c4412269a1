"""What `under(precision="bfloat16")` gains: training steps and evaluations of the CIFAR tasks and of LeNet-5.

Steps of the same task in float32 and in bfloat16, in turn, with the task's own batches and augmentation. And passes
over 1,000 test images, as the task evaluates and in one pass, in float32 both times. CPU time of one thread. How much
bfloat16 gains is the processor's: with AMX or AVX512-BF16 it is about half, without them it may lose. Needs MNIST and
CIFAR-10.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from interleaved import compare

from sapwood.tasks import TASKS
from sapwood.tasks.recipe import PRECISIONS, with_recipe
from sapwood.training.loop import measured, train
from sapwood.training.run import start
from sapwood.training.task import Task

NAMES, ROUNDS, IMAGES = ("resnet20_cifar_trained", "vgg6_cifar_narrow", "lenet5_mnist"), 15, 1_000
SMALL, LARGE = "in small parts", "in one pass"


def steps(task: Task) -> Iterator[object]:
    """A step each time it is asked."""
    yield from train(start(task), steps=ROUNDS + 2)


def row(name: str) -> str:
    """One line of the table."""
    task = TASKS[name]()
    asked = {precision: steps(with_recipe(task, precision=precision)) for precision in PRECISIONS}
    full, low = PRECISIONS
    step = compare({precision: partial(next, each) for precision, each in asked.items()}, ROUNDS)
    model, few = task.model(), task.data.test.take(slice(0, IMAGES))
    ways = {SMALL: task, LARGE: replace(task, at_once=IMAGES)}
    seen = compare({words: partial(measured, model, each, few) for words, each in ways.items()}, ROUNDS // 3)
    return (
        f"{name:24} {1000 * step.seconds(full):8.1f} ms {1000 * step.seconds(low):8.1f} ms {step.ratio(full, low):6.2f}"
        f" (spread {step.spread(full, low):.2f})   {seen.ratio(LARGE, SMALL):6.2f}"
    )


def main() -> None:
    """The table."""
    print(f"{'':24} {'float32':>11} {'bfloat16':>11}  ratio                  evaluation, one pass / small parts")
    for name in NAMES:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
