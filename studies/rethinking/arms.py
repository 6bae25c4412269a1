"""The arms: on each network, each method prunes, and what it leaves is trained again by every protocol.

    NETWORK, dense              nothing removed
    NETWORK, METHOD             pruned, not tuned: what all the following look at
    NETWORK, METHOD, FT         its weights, tuned: the only arm that inherits
    NETWORK, METHOD, ...        FT from random weights, Scratch-E, Scratch-B
    NETWORK, METHOD, random units, FT; uniform widths, Scratch-B; random widths, Scratch-B     controls at its cost
    NETWORK, drawn scales       network slimming's own training, nothing removed; the dense one is without drawing
    NETWORK, ..., 40 % cut      either with 40 % of the channels taken out, not tuned
    NETWORK, structures         sparse structure selection of channels, not tuned; its random units are fine-tuned
    NETWORK, soft; at once      from the dense network: soft filter pruning; one cut, and as many epochs

Methods that are one shot begin with the dense network of their seed, network slimming with its own. A seed's arms are
neighbours, so that a study cut short has fewer seeds, not fewer methods.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from sapwood.study.rethought import named, rethought
from sapwood.trials.trial import Trial, Value

Options = Mapping[str, Value]
Plans = Mapping[str, tuple[str, Options]]  # method's name here -> (method, options)

DENSE, UNSTRUCTURED, SLIMMING, DRAWN = "dense", "unstructured", "network slimming", "drawn scales"
CLIFF, STRUCTURES, SOFT, AT_ONCE = "40 % cut", "structures", "soft", "at once"
LUCK = ("fine_tune", "units")
PROTOCOLS = ("fine_tune", "reinitialised", "scratch_e", "scratch_b")
CONTROLS = (LUCK, ("scratch_b", "uniform"), ("scratch_b", "random"))
ALONE = ("soft_filter",)  # it needs a training of its own; the others begin with one that is over
CAP = 3.0  # of unstructured networks' Scratch-B, which would be twenty times as long as the dense training, in time too
CUT: Options = {"strength": 0.0, "initial": 0.0}  # slimming of a network whose scales were drawn before
STRENGTH, PULL = 0.003, 0.01  # of slimming, of structures; chosen by one other seed's validation images
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
    checks: tuple[str, ...] = ()  # of what methods' own papers promise


def _some(plans: Plans, *without: str) -> Plans:
    return {name: plan for name, plan in plans.items() if name not in without}


def _by_hand(ratios: str) -> Plans:
    return {"L1 filters": ("l1_filters", {"ratios": ratios})}


DROPS: Options = {"course": "drops", "precision": "bfloat16"}
PAPER: Options = {"course": "drops", "batch_size": 64, "learning_rate": 0.1}
VGG_A = " ".join(f"conv{n}=0.5" for n in (1, *range(8, 14)))
RESNET_A = "layer1=0.1 layer2=0.1 layer3=0.1 layer1.7=0 layer2.0=0 layer3.0=0 layer3.8=0"
RESNET_B = "layer1=0.6 layer2=0.3 layer3=0.1 layer1.7=0 layer1.8=0 layer2.0=0 layer2.7=0 layer3.0=0 layer3.8=0"
MOST: Plans = {  # 0.55 of each layer's filters leave a third of the multiply-adds, where a method takes no other wish
    "L1 filters": ("l1_filters", {"macs": THIRD, "allocation": "sensitivity"}),
    "LASSO": ("lasso_channels", {"macs": THIRD}),
    "ThiNet": ("thinet", {"kept": 0.55, "between": 0, "recover": 0}),
    "soft filter": ("soft_filter", {"pruned": 1 - 0.55}),
    SLIMMING: ("network_slimming", {"macs": THIRD, **CUT}),
    UNSTRUCTURED: ("unstructured_magnitude", {"sparsity": 0.95, "dense": True}),
}
DIGITS = _some(MOST, "ThiNet", "LASSO", "soft filter", SLIMMING)
SCALES: dict[str, tuple[Net, ...]] = {
    "smoke": (Net("digits", "conv_digits", DIGITS, 2, 1, ("L1 filters",), 1, DROPS, 0.1, (SOFT,)),),
    "small": (
        Net("LeNet-5", "lenet5_mnist", _some(MOST, SLIMMING), 3, 1, ("L1 filters",), 5, DROPS, 0.1, (SOFT,)),
        Net("VGG", "vgg6_cifar_narrow", _some(MOST, "soft filter"), 6, 2, ("L1 filters", SLIMMING), 5, DROPS,
            checks=(CLIFF, STRUCTURES)),
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
                dense[net.task] = _made(net, seed, DENSE, "dense", stop="epochs", epochs=net.epochs)
                yield dense[net.task]
            start = dense[net.task]
            drawn = _made(net, seed, DRAWN, "network_slimming", macs=1.0, strength=STRENGTH, epochs=net.epochs, tune=0)
            if SLIMMING in net.plans:
                yield drawn
            for plan in net.plans:
                yield from _arms(net, plan, start, drawn if plan == SLIMMING else start)
            yield from _checks(net, start, drawn)


def _made(net: Net, seed: int, what: str, method: str, **options: Value) -> Trial:
    return Trial.make(method, net.task, seed, f"{net.name}, {what}", **options).under(**net.recipe)


def _arms(net: Net, plan: str, dense: Trial, start: Trial) -> Iterator[Trial]:
    method, options = net.plans[plan]
    alone = method in ALONE
    more: Options = {"epochs": net.epochs if alone else 0, **({} if method == "thinet" else {"tune": 0})}
    pruned = _made(net, dense.seed, plan, method, **options, **more)
    pruned = pruned if alone else pruned.after(start=start)
    yield pruned
    cap: Options = {"cap": CAP} if plan == UNSTRUCTURED else {}
    length: Options = {"epochs": net.epochs, "tune": net.tune, "rate": net.rate, **cap}
    yield from (rethought(pruned, protocol, "pruned", None, **length) for protocol in PROTOCOLS)
    controls = CONTROLS if plan in net.controlled else (LUCK,) if plan == UNSTRUCTURED else ()
    yield from (rethought(pruned, protocol, widths, dense, **length) for protocol, widths in controls)


def _checks(net: Net, dense: Trial, drawn: Trial) -> Iterator[Trial]:
    made, epochs = partial(_made, net, dense.seed), net.epochs
    if CLIFF in net.checks:
        for what, begun in ((DENSE, dense), (DRAWN, drawn)):
            cut = made(f"{what}, {CLIFF}", "network_slimming", channels=0.4, epochs=0, tune=0, **CUT)
            yield cut.after(start=begun)
    if STRUCTURES in net.checks:
        options: Options = {"kind": "channels", "strength": PULL, "macs": THIRD, "epochs": epochs}
        yield (found := made(STRUCTURES, "sparse_structure_selection", **options))
        yield rethought(found, *LUCK, dense, epochs=epochs, tune=net.tune, rate=net.rate)
    if SOFT in net.checks:
        yield made(SOFT, "soft_filter", pruned=0.45, epochs=epochs).after(start=dense)
        cut = made(AT_ONCE, "l1_filters", pruned=0.45, by="l2", epochs=0, tune=epochs, rate=1.0)
        yield cut.after(start=dense)


PRUNED = [f"{net.name}, {plan}" for nets in SCALES.values() for net in nets for plan in net.plans]
STRUCTURED = [arm for arm in PRUNED if not arm.endswith(UNSTRUCTURED)]
MASKED = [arm for arm in PRUNED if arm.endswith(UNSTRUCTURED)]


def pairs(of: list[str], one: tuple[str, str], other: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """Each pruned arm: the arm of one (protocol, widths), and of the other."""
    return {arm: (named(arm, *one), named(arm, *other)) for arm in of}
