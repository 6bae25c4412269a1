"""The arms: on each network, each method prunes, and what it leaves is trained again by every protocol.

    NETWORK, dense              nothing removed
    NETWORK, METHOD             pruned, not tuned: what all the following look at
    NETWORK, METHOD, FT         its weights, tuned: the only arm that inherits
    NETWORK, METHOD, ...        FT from random weights, Scratch-E, Scratch-B
    NETWORK, METHOD, random units, FT; uniform widths, Scratch-B; random widths, Scratch-B     controls at its cost

Methods that are one shot begin with the dense network of their seed. A seed's arms are neighbours, so that a study cut
short has fewer seeds, not fewer methods.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sapwood.study.rethought import named, rethought
from sapwood.trials.trial import Trial, Value

Options = Mapping[str, Value]
Plans = Mapping[str, tuple[str, Options]]  # method's name here -> (method, options)

DENSE, UNSTRUCTURED = "dense", "unstructured"
PROTOCOLS = ("fine_tune", "reinitialised", "scratch_e", "scratch_b")
CONTROLS = (("fine_tune", "units"), ("scratch_b", "uniform"), ("scratch_b", "random"))
ALONE = (
    "network_slimming",
    "soft_filter",
)  # they need a training of their own; the others begin with the dense network
CAP = 3.0  # of unstructured networks' Scratch-B, which would be twenty times as long as the dense training, in time too
THIRD = 1 / 3  # of the multiply-adds: Scratch-B is then three times as long, and its cost is the dense network's


class Net(NamedTuple):
    """A network, what prunes it, and for how many epochs it trains."""

    name: str
    task: str
    plans: Plans
    epochs: int
    tune: int
    controlled: tuple[str, ...]  # whose controls are run
    seeds: int
    recipe: Options
    rate: float = 0.01


def _widths(kept: float, macs: float) -> Plans:
    """`kept` of each layer's filters, where a method takes no other wish, else `macs` of the multiply-adds."""
    return {
        "L1 filters": ("l1_filters", {"macs": macs, "allocation": "sensitivity"}),
        "LASSO": ("lasso_channels", {"macs": macs}),
        "ThiNet": ("thinet", {"kept": kept, "between": 0, "recover": 0}),
        "soft filter": ("soft_filter", {"pruned": 1 - kept}),
        "network slimming": ("network_slimming", {"macs": macs}),
        UNSTRUCTURED: ("unstructured_magnitude", {"sparsity": 0.95, "dense": True}),
    }


def _some(plans: Plans, *without: str) -> Plans:
    return {name: plan for name, plan in plans.items() if name not in without}


def _by_hand(ratios: str) -> Plans:
    return {"L1 filters": ("l1_filters", {"ratios": ratios})}


DROPS: Options = {"course": "drops", "precision": "bfloat16"}
PAPER: Options = {"course": "drops", "batch_size": 64, "learning_rate": 0.1}
VGG_A = " ".join(f"conv{n}=0.5" for n in (1, *range(8, 14)))
RESNET_A = "layer1=0.1 layer2=0.1 layer3=0.1 layer1.7=0 layer2.0=0 layer3.0=0 layer3.8=0"
RESNET_B = "layer1=0.6 layer2=0.3 layer3=0.1 layer1.7=0 layer1.8=0 layer2.0=0 layer2.7=0 layer3.0=0 layer3.8=0"
MOST = _widths(0.55, THIRD)
DIGITS = _some(MOST, "ThiNet", "LASSO", "soft filter", "network slimming")
SCALES: dict[str, tuple[Net, ...]] = {
    "smoke": (Net("digits", "conv_digits", DIGITS, 2, 1, ("L1 filters",), 1, DROPS, 0.1),),
    "small": (
        Net("LeNet-5", "lenet5_mnist", _some(MOST, "network slimming"), 3, 1, ("L1 filters",), 5, DROPS, 0.1),
        Net("VGG", "vgg6_cifar_narrow", _some(MOST, "soft filter"), 6, 2, ("L1 filters", "network slimming"), 5, DROPS),
    ),
    "paper": (
        Net("VGG-16-A", "vgg16_cifar", _by_hand(VGG_A), 160, 40, ("L1 filters",), 5, PAPER),
        Net("ResNet-56-A", "resnet56_cifar", _by_hand(RESNET_A), 160, 40, (), 5, PAPER),
        Net("ResNet-56-B", "resnet56_cifar", _by_hand(RESNET_B), 160, 40, ("L1 filters",), 5, PAPER),
    ),
}  # fmt: skip


def trials(scale: str) -> Iterator[Trial]:
    """All trials of a scale; two networks of one task share the dense one, under the first one's name."""
    for seed in range(max(net.seeds for net in SCALES[scale])):
        dense: dict[str, Trial] = {}
        for net in SCALES[scale]:
            if net.task not in dense:
                made = Trial.make("dense", net.task, seed, f"{net.name}, {DENSE}", stop="epochs", epochs=net.epochs)
                dense[net.task] = made.under(**net.recipe)
                yield dense[net.task]
            for plan in net.plans:
                yield from _arms(net, plan, seed, dense[net.task])


def _arms(net: Net, plan: str, seed: int, dense: Trial) -> Iterator[Trial]:
    method, options = net.plans[plan]
    alone = method in ALONE
    more: Options = {"epochs": net.epochs if alone else 0, **({} if method == "thinet" else {"tune": 0})}
    pruned = Trial.make(method, net.task, seed, f"{net.name}, {plan}", **options, **more).under(**net.recipe)
    pruned = pruned if alone else pruned.after(start=dense)
    yield pruned
    cap: Options = {"cap": CAP} if plan == UNSTRUCTURED else {}
    length: Options = {"epochs": net.epochs, "tune": net.tune, "rate": net.rate, **cap}
    yield from (rethought(pruned, protocol, "pruned", None, **length) for protocol in PROTOCOLS)
    if plan in net.controlled:
        yield from (rethought(pruned, protocol, widths, dense, **length) for protocol, widths in CONTROLS)


PRUNED = [f"{net.name}, {plan}" for nets in SCALES.values() for net in nets for plan in net.plans]
STRUCTURED = [arm for arm in PRUNED if not arm.endswith(UNSTRUCTURED)]
MASKED = [arm for arm in PRUNED if arm.endswith(UNSTRUCTURED)]


def pairs(of: list[str], one: tuple[str, str], other: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """Each pruned arm: the arm of one (protocol, widths), and of the other."""
    return {arm: (named(arm, *one), named(arm, *other)) for arm in of}
