"""Skipping: what a network with saliency gates takes for an image beside its own dense form, at half the multiply-adds.

No training: weights and images are drawn by luck, gates sit on all sites that one layer makes but the first layer's,
and one number is added to all their scores so that the mean cost, modules included, is half. Masks differ from image to
image. "awake" is the network as `export.Skipping` runs it. "chosen" is that with `whole="measured"`: layers that are
not faster in parts multiply everything. "asleep" has all gates open, so that it multiplies everything and shows what
deciding and slicing cost. "sliced" is "awake" with slices of weights kept from image to image, as no network could:
what is left without copying. Executed are shares of the dense multiply-adds; speed-ups are dense / awake, chosen and
sliced, in CPU time. Batch 1, one thread.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from statistics import fmean
from unittest.mock import patch

import torch
from interleaved import compare
from torch import Tensor, nn

from sapwood import macs_of, points, sites
from sapwood.export import Skipping, open_channels
from sapwood.gates import Gated, Saliency
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.models.vgg_cifar import vgg_cifar
from sapwood.shrinking.tracing.site import Site

Slices = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
ROUNDS, IMAGES, BUDGET = 12, 4, 0.5
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "VGG-16, 32 x 32": (vgg_cifar, 32),
    "VGG-16, 128 x 128": (partial(vgg_cifar, side=128), 128),
    "ResNet-20, width 64, 32 x 32": (partial(resnet_cifar, 20, width=64), 32),
    "ResNet-20, width 64, 96 x 96": (partial(resnet_cifar, 20, width=64), 96),
}


def gated(model: nn.Module, images: Tensor) -> tuple[Gated, Sequence[Site]]:
    """The network with gates that open half of the multiply-adds on average, and its sites."""
    every = sites(model, images[:1])
    inner = [site for site in every[1:] if len(list(site.at("makes"))) == 1]
    convs = {site: model.get_submodule(site.name) for site in inner}
    made = {site.name: Saliency(site.units, reads=layer.weight.shape[1])
            for site, layer in convs.items() if isinstance(layer, nn.Conv2d)}  # fmt: skip
    for gate in made.values():
        gate.outer.data *= 4  # samples differ
    network, cost = Gated(model, made, points(model, every, images[:1])).eval(), macs_of(model, every, images[:1])
    low, high, whole = -9.0, 9.0, float(cost({}))
    for _ in range(9):
        for gate in made.values():
            gate.bias.data.fill_((low + high) / 2)
        network(images)
        masks = {name: gate.passed for name, gate in made.items() if gate.passed is not None}
        share = (float(cost(masks).mean()) + sum(gate.macs for gate in made.values())) / whole
        low, high = ((low + high) / 2, high) if share < BUDGET else (low, (low + high) / 2)
    return network, every


def timed(name: str) -> str:
    """One line: times and their ratios to the dense network's."""
    make, side = NETWORKS[name]
    torch.manual_seed(0)
    model, images = make().eval(), torch.randn(IMAGES, 3, side, side)
    network, found = gated(model, images)
    awake, chosen = Skipping(network, found, images), Skipping(network, found, images, whole="measured")
    for gate in network.by_site().values():
        if isinstance(gate, Saliency):
            gate.set_(awake=False, noise=0.0)
    asleep = Skipping(network, found, images)
    shown = {each: _one(cycle(torch.split(images, 1))) for each in ("dense", "awake", "chosen", "asleep", "sliced")}
    kept = remembered(open_channels.sliced)

    def sliced() -> None:
        with patch.object(open_channels, "sliced", kept):
            awake(next(shown["sliced"]))

    cases = {"dense": lambda: model(next(shown["dense"])), "awake": lambda: awake(next(shown["awake"])),
             "chosen": lambda: chosen(next(shown["chosen"])), "asleep": lambda: asleep(next(shown["asleep"])),
             "sliced": sliced}  # fmt: skip
    for _ in range(IMAGES):
        sliced()
    times = compare(cases, ROUNDS)
    whole = float(macs_of(model, (), images[:1])({}))
    shares = " ".join(f"{_mean(each, images) / whole:8.3f}" for each in (awake, chosen))
    seconds = " ".join(f"{1e3 * times.seconds(case):9.2f}" for case in cases)
    ups = " ".join(f"{times.ratio('dense', to=case):9.2f}" for case in ("awake", "chosen", "sliced"))
    return f"{name:30} {shares} {seconds} {ups} {times.spread('dense', to='chosen'):7.2f} {len(chosen.whole):6}"


def _mean(network: Skipping, images: Tensor) -> float:
    """The mean multiply-adds that an image takes."""
    took = []
    for image in torch.split(images, 1):
        network(image)
        took.append(int(network.executed))
    return fmean(took)


def remembered(sliced: Slices) -> Slices:
    """The same, and what was sliced once is kept."""
    kept = dict[object, Tensor]()

    def again(weight: Tensor, out: Tensor | None, into: Tensor | None) -> Tensor:
        key = weight.data_ptr(), *(None if part is None else part.numpy().tobytes() for part in (out, into))
        if key not in kept:
            kept[key] = sliced(weight, out, into)
        return kept[key]

    return again


def _one(images: Iterator[Tensor]) -> Iterator[Tensor]:
    yield from images


if __name__ == "__main__":
    chosen = [name for name in NETWORKS if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    every = [*(f"{case} ms" for case in ("dense", "awake", "chosen", "asleep", "sliced")), "awake", "chosen", "sliced"]
    heads = " ".join(f"{head:>9}" for head in every)
    print(f"{'network':30} {'executed':>8} {'chosen':>8} {heads} {'+-':>7} {'whole':>6}")
    with torch.no_grad():
        for name in chosen:
            print(timed(name), flush=True)
