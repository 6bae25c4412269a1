"""lenet300_mnist: LeNet-300-100 on MNIST, where most pruning papers start (266,200 weights, 410 biases).

Adam with learning rate 1.2e-3, batches of 60, inputs pixel / 255; 5,000 images validate, 55,000 train. The paper trains
for 50,000 steps, about 55 epochs; a dense network has 97.9 to 98.4 % on the test images after 20 (three seeds).

*Paper:* Frankle, Carbin 2019, "The Lottery Ticket Hypothesis", arXiv 1803.03635, table of LeNet in figure 2.
*Differs:* Glorot initial values are uniform, not Gaussian; the first 5,000 images validate, not a random choice.
"""

from functools import lru_cache, partial

from torch.optim import Adam

from sapwood.data import mnist
from sapwood.models.initial import glorot
from sapwood.models.mlp import mlp
from sapwood.task import Data, Task
from sapwood.tasks.split import split


def lenet300_mnist() -> Task:
    """The lottery ticket paper's smallest network, data and recipe."""
    return Task(
        "lenet300_mnist",
        model=partial(mlp, 784, 300, 100, 10),
        data=_data(),
        optimizer=partial(Adam, lr=1.2e-3, fused=True),
        batch_size=60,
        classes=10,
        fresh=glorot,
    )


@lru_cache(maxsize=1)
def _data() -> Data:
    """The splits, made once per process for all trials of a worker."""
    return split(mnist.load(), valid=5_000)
