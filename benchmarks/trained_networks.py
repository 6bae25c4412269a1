"""Trained networks: the test accuracy of the ResNets that `load_trained` reads, beside what their author states.

All 10,000 test images of CIFAR-10, one thread, about 70 s. Exit status 1 if one is off by more than 0.01 %.
"""

import sys
import time

import torch

from sapwood.errors import InputError
from sapwood.measure import accuracy, macs
from sapwood.models.resnet_cifar import load_trained
from sapwood.tasks.resnet20_cifar import resnet20_cifar

STATED = {20: 91.73, 56: 93.39}  # percent, github.com/akamaster/pytorch_resnet_cifar10


def measured(depth: int) -> float:
    """Prints a line about a network; its test accuracy in percent."""
    test, network = resnet20_cifar().data.test.take(slice(None)), load_trained(depth)
    began = time.perf_counter()
    right = 100 * accuracy(network, test, k=(1,), batch_size=500)["top1"]
    seconds = time.perf_counter() - began
    size = sum(p.numel() for p in network.parameters())
    work = sum(macs(network, test.inputs[:1]).values()) / 1e6
    print(
        f"ResNet-{depth}: {size:,} parameters, {work:.2f} million multiply-adds, {right:.2f} % "
        f"of {len(test.targets):,} test images, stated {STATED[depth]:.2f} %; {seconds:.0f} s"
    )
    return right


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        off = [abs(measured(depth) - stated) for depth, stated in STATED.items()]
    except InputError as missing:
        sys.exit(str(missing))
    sys.exit(int(max(off) > 0.0101))
