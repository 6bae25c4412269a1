"""What is printed of the paper's CIFAR-10 numbers, in percent of the test images, each the mean of five runs.

From a third party's plotting script that compares itself with the paper: the repository of the authors prints none.
Only these have a source, so only these are claims; a mean is reproduced within 0.3 points, about the spread of runs.
"""

from sapwood.study.claim import Claim
from sapwood.study.finals import goal_value, number_of, summed
from sapwood.study.rethought import named

from .arms import SCALES

POINTS, LESS = 0.3, 0.02  # how far a mean may be away; how much less than the dense network Scratch-B may cost
PRINTED = {
    "ResNet-56-A": {"scratch_e": 92.96, "scratch_b": 93.09},
    "ResNet-56-B": {"scratch_e": 92.54, "scratch_b": 93.05},
}
NETS = [net for nets in SCALES.values() for net in nets]
CLAIMS = (
    *(
        Claim(f"Liu 2019, L1 filters, {net}", f"{protocol}, test accuracy, %", value, POINTS,
              summed(goal_value, named(f"{net}, L1 filters", protocol)))
        for net, line in PRINTED.items()
        for protocol, value in line.items()
    ),
    *(
        Claim(f"harness, {net.name}", f"{plan}: cost of Scratch-B / of the dense network", 1 - LESS / 2, LESS / 2,
              summed(number_of("cost", "note"), named(f"{net.name}, {plan}", "scratch_b")))
        for net in NETS
        for plan, (_, options) in net.plans.items()
        if "macs" in options
    ),
)  # fmt: skip
