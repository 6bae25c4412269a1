"""What a GPU is used for, and how well: ratios first, under six minutes on one card; on a CPU at small sizes.

    python benchmarks/gpu.py                    the card, or the CPU where there is none
    python benchmarks/gpu.py --device cpu       small sizes, a few seconds: whether all of it runs, not how fast
    python benchmarks/gpu.py selection step     some of it

*selection*: `select.everywhere` beside `torch.sort` of the same scores on the same device, and what it needs in bytes a
score beside its mask. *step*: a step of `train`, masked and counted, beside a bare loop (a permuted index,
index_select, cross-entropy, SGD); captured, beside a bare loop that is captured as a CUDA graph; how many numbers a
step reads. *together*: steps a second of 64 networks that step as one, masked and counted, captured on a GPU. *trials*:
a tenth of the first paper's trials, and what all of them take; needs Fashion-MNIST (SAPWOOD_DATA). *held*: a
step of AdamW with masks held beside one without. *proof*: `shrink` of a Llama in bfloat16 with its proof, beside the
same without (`check=False`), and its memory beyond the model. *analysis*: all sites and costs of four models beside
`torch.export` alone. The last two need transformers and torchvision, and are left out when time is short.

Ratios are medians over rounds in which all cases take turns, by the wall's clock, the device waited for at the end of
each. What misses what is wanted says so, and is named again at the end; the exit status says nothing.
"""

# mypy: disallow-untyped-calls=False

import argparse
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from statistics import median
from typing import Any

import torch
from analysis import MODELS, analyse, export, llama
from interleaved import compare
from tenth import seen, steps_kept, tenth
from together import together as made_together
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sapwood import fewest, hold, macs_of, observing, per_unit, select, shrink, sites, start, statistics, train
from sapwood.errors import InputError
from sapwood.models.mlp import mlp
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.scoring.answers import hidden
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.training.loop import Acts, at_ends
from sapwood.training.task import Batch, Data, Task, orders_kept
from sapwood.trials.trial import Trial

SPARSITY, MINUTES = 0.8, 6
LATE, LATE_AT_LAST = 4.0, 5.0  # after so many minutes no other proof is begun, no other analysis
SECONDS = 90.0  # that trials may take
FASTER = (6.0, 1.6)  # a captured step of the paper's network, of the ResNet
LINE = "{:74}{:>9}{:>9}  {}"
Steps = Generator[object, None, None]  # makes one step each time it is asked


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    scores: tuple[int, ...]
    samples: int  # to train on
    depth: int  # of the ResNet, 16 channels wide
    batches: tuple[int, int]  # the paper's network's, the ResNet's
    steps: int  # in one timing
    rounds: int
    members: int  # networks that step together
    held: tuple[int, int]  # layers, width
    llamas: dict[str, dict[str, int]]
    analysed: dict[str, Callable[[], tuple[nn.Module, Any]]]


def of_llama(layers: int, width: int, inner: int, heads: int, pairs: int, words: int) -> dict[str, int]:
    """The sizes of a Llama, as transformers calls them."""
    names = ("layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size")
    return dict(zip(names, (layers, width, inner, heads, pairs, words), strict=True))


LLAMAS = {"1B": of_llama(16, 2048, 8192, 32, 8, 128_256), "7B": of_llama(32, 4096, 11_008, 32, 32, 32_000)}
FOUR = {name: MODELS[name] for name in ("ResNet-50", "ViT-B/16", "GPT-2", "Llama, 24 layers")}
LARGE = Sizes((10**8, 10**9), 54_000, 20, (32, 128), 40, 7, 64, (14, 2048), LLAMAS, FOUR)
TINY = {"tiny": of_llama(1, 32, 48, 2, 1, 32)}
SMALL = Sizes((10**4, 10**5), 320, 8, (32, 8), 1, 1, 2, (2, 32), TINY, {"Llama, 1 layer": partial(llama, 1)})
SHORT = [
    Trial.make("dense", "mlp_digits", 0, epochs=1, stop="epochs"),
    Trial.make("global_activation", "mlp_digits", 0, epochs=1, stop="epochs"),
]


@dataclass(frozen=True)
class Figure:
    """One line."""

    name: str
    ratio: float | None = None
    most: float = inf  # wanted: at most
    least: float = 0.0  # or at least
    more: str = ""

    @property
    def missed(self) -> bool:
        """Whether it is not what is wanted."""
        return self.ratio is not None and not self.least <= self.ratio <= self.most

    def __str__(self) -> str:
        wanted = f"<= {self.most:g}" if self.most < inf else f">= {self.least:g}" if self.least else ""
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}"
        return LINE.format(self.name, ratio, wanted, f"{self.more}{'  MISSED' if self.missed else ''}")


class Card:
    """A device, how to wait for it, and what it holds."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.cuda = self.device.type == "cuda"
        self.began = time.perf_counter()
        self.name = torch.cuda.get_device_name(self.device) if self.cuda else "CPU"

    def wait(self) -> None:
        """Until everything that was asked of it is done."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def waited(self, work: Callable[[], object]) -> None:
        """Do it, to its end."""
        work()
        self.wait()

    def peak(self, work: Callable[[], object]) -> int | None:
        """The peak memory that it adds to what is held before, in bytes; None where nobody counts them."""
        if not self.cuda:
            work()
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        self.waited(work)
        return torch.cuda.max_memory_allocated(self.device) - before

    def compared(self, cases: dict[str, Callable[[], object]], rounds: int) -> Callable[..., float]:
        """(case, other) -> the ratio of their times; (case,) -> the case's seconds."""
        found = compare({name: partial(self.waited, case) for name, case in cases.items()}, rounds)

        def told(case: str, to: str | None = None) -> float:
            walls = sorted(found.wall[case])
            return walls[len(walls) // 2] if to is None else found.ratio(case, to, "wall")

        return told


def selection(card: Card, sizes: Sizes) -> Iterator[Figure]:
    """Of so many scores the lowest 90 %."""
    for size in sizes.scores:
        luck = torch.Generator(card.device).manual_seed(0)
        values = torch.randn(size, generator=luck, device=card.device).abs_()
        choose = partial(select.everywhere, {"w": values}, 0.9)
        took = card.compared({"ours": choose, "sort": partial(torch.sort, values)}, sizes.rounds)
        yield Figure(f"selection of {size:.0e} scores / torch.sort", took("ours", "sort"), 3,
                     more=f"{took('ours'):.4f} s")  # fmt: skip
        peak = card.peak(choose)
        yield Figure("  bytes a score beside the mask", None if peak is None else peak / size - 1, 2)
        some = values[: 10**7]
        same = torch.equal(
            select.everywhere({"w": some}, 0.9)["w"].cpu(), select.everywhere({"w": some.cpu()}, 0.9)["w"]
        )
        yield Figure("  the CPU's choice of the first scores", float(same), least=1)


def networks(card: Card, sizes: Sizes) -> Iterator[tuple[str, Task]]:
    """The paper's network and a residual one, on random data."""
    luck = torch.Generator().manual_seed(0)
    shapes = {"784-300-200-100-50-10": (784,), f"ResNet-{sizes.depth}": (3, 32, 32)}
    models: tuple[Callable[[], nn.Module], ...] = (
        partial(mlp, 784, 300, 200, 100, 50, 10),
        partial(resnet_cifar, sizes.depth),
    )
    for (name, shape), model, batch in zip(shapes.items(), models, sizes.batches, strict=True):
        count = sizes.samples // batch * batch  # so that all batches are whole
        data = Batch(torch.rand(count, *shape, generator=luck), torch.randint(10, (count,), generator=luck))
        few = data.take(slice(batch))
        yield (
            f"{name}, batch {batch}",
            Task(name, model, Data(data, few, few), partial(torch.optim.SGD, lr=0.01), batch),
        )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Masks that remove 80 % of the weights of the layers that do not give the answer."""
    luck, tensors = torch.Generator().manual_seed(1), {n: p for n, p in model.named_parameters() if p.dim() > 1}
    inner = list(tensors.items())[:-1]
    return {name: (torch.rand(w.shape, generator=luck) >= SPARSITY).to(w.device) for name, w in inner}


def ours(card: Card, task: Task, counted: bool, graph: bool = False) -> Steps:
    """`train`, masked; with samples counted or not, one by one or captured."""
    run = start(task, device=card.device)
    run.prune(weights_of(run.model))
    with ExitStack() as stack:
        if counted:
            only = hidden(run.model, run.task.example)
            stack.enter_context(observing(run.model, statistics.active, only=only, training=True))
        yield from train(run, epochs=1_000_000, captured=graph)


def bare(card: Card, task: Task) -> Steps:
    """The loop without any of it."""
    run = start(task, device=card.device)
    inputs, targets = run.task.data.train.take(slice(None))
    while True:
        for index in torch.randperm(len(targets)).to(card.device).split(task.batch_size):
            run.optimizer.zero_grad()
            nn.functional.cross_entropy(
                run.model(inputs.index_select(0, index)), targets.index_select(0, index)
            ).backward()
            run.optimizer.step()
            yield None


def captured(card: Card, task: Task) -> Steps:
    """The bare loop's step as one CUDA graph: the index is copied in, the graph replayed."""
    run = start(task, device=card.device)
    inputs, targets = run.task.data.train.take(slice(None))
    index = torch.arange(task.batch_size, device=card.device)

    def step() -> None:
        run.optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(run.model(inputs.index_select(0, index)), targets.index_select(0, index)).backward()
        run.optimizer.step()

    aside = torch.cuda.Stream(card.device)
    aside.wait_stream(torch.cuda.current_stream(card.device))
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream(card.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    while True:
        for chosen in torch.randperm(len(targets)).to(card.device).split(task.batch_size):
            index.copy_(chosen)
            graph.replay()
            yield None


class Reads(TorchDispatchMode):
    """How often Python read a number of a tensor inside of the block."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += str(func).startswith("aten._local_scalar_dense")
        return func(*args, **(kwargs or {}))


def several(steps: Steps, count: int) -> None:
    """So many steps."""
    for _ in range(count):
        next(steps)


def step(card: Card, sizes: Sizes) -> Iterator[Figure]:
    """A step beside the bare loop's."""
    for name, task in networks(card, sizes):
        ways = {"bare": bare(card, task), "masked": ours(card, task, False), "counted": ours(card, task, True)}
        if card.cuda:
            ways |= {"graph": captured(card, task), "captured": ours(card, task, True, True)}
        cases = {way: partial(several, steps, sizes.steps) for way, steps in ways.items()}
        took = card.compared(dict(cases), sizes.rounds)
        for way, words in (("masked", "masked"), ("counted", "masked and counted")):
            yield Figure(f"step of {name}, {words} / bare loop", took(way, "bare"),
                         more=f"{took(way) / sizes.steps * 1e3:.3f} ms")  # fmt: skip
        if card.cuda:
            yield Figure("  bare loop / bare loop, captured", took("bare", "graph"),
                         more=f"{took('graph') / sizes.steps * 1e3:.3f} ms captured")  # fmt: skip
            yield Figure("  masked and counted, captured / bare loop, captured", took("captured", "graph"), 1.1,
                         more=f"{took('captured') / sizes.steps * 1e3:.3f} ms captured")  # fmt: skip
            yield Figure("  masked and counted, one by one / captured", took("counted", "captured"),
                         least=FASTER[task.batch_size == sizes.batches[1]])  # fmt: skip
        with Reads() as read:
            next(ways["counted"])
        yield Figure("  numbers read in a step", read.count, most=1 if card.cuda else inf)
        for steps in ways.values():
            steps.close()


def together(card: Card, sizes: Sizes) -> Iterator[Figure]:
    """Steps of many of the paper's networks made as one, masked and counted."""
    _, task = next(networks(card, sizes))
    task = replace(task, data=task.data.to(card.device))
    name = f"network-steps a second, {sizes.members} networks together, masked and counted"
    try:
        rate = _rate(card, task, sizes, at_ends)
        yield Figure(name, rate, least=80_000, more="captured" if card.cuda else "")
        yield Figure("  where Python may act after any step", _rate(card, task, sizes, None))
    except RuntimeError as error:
        yield Figure(name, 0.0, least=80_000, more=str(error))


def _rate(card: Card, task: Task, sizes: Sizes, acts: Acts | None) -> float:
    """The median over rounds; steps are made many at a time where nobody acts."""
    with orders_kept(sizes.members):
        case, lanes = made_together(task, sizes.members, sizes.steps, str(card.device), acts)
        try:
            for _ in range(5):
                case()  # networks are taken in, steps made as they come, then recorded
            rates = []
            for _ in range(sizes.rounds):
                began = time.perf_counter()
                made = case()
                card.wait()
                rates.append(made / (time.perf_counter() - began))
        finally:
            lanes.stop()
    return median(rates)


def trials(card: Card, sizes: Sizes) -> Iterator[Figure]:
    """A tenth of the first paper's trials; on a CPU two small ones."""
    name = "minutes for all trials of activation_pruning at scale paper"
    chosen = tenth() if card.cuda else SHORT
    try:
        found = seen(chosen, str(card.device), sizes.members, SECONDS)
    except InputError as error:
        yield Figure(name, more=f"left out: {error}")
        return
    every = steps_kept()
    came = f"{found.over} of {found.trials} over after {found.seconds:.0f} s"
    yield Figure(name, found.minutes(every), 10, more=f"{every / 1e6:.1f} million steps; {came}")
    yield Figure("  network-steps a second, rows, evaluations and checkpoints counted", found.steps / found.seconds)
    yield Figure("  trials that failed", len(found.failed), 0, more=next(iter(found.failed), ""))
    yield Figure("  kinds of them that were not captured", len(found.plain), 0 if card.cuda else inf,
                 more=next(iter(found.plain), ""))  # fmt: skip


def layered(card: Card, sizes: Sizes, masked: bool) -> Steps:
    """Steps of AdamW on linear layers, on one batch; masks held or not."""
    layers, width = sizes.held
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers))).to(card.device)
    optimizer = torch.optim.AdamW(model.parameters())
    x = torch.randn(128, width, device=card.device)
    masks = weights_of(model) if masked else {}
    kept = hold(model, optimizer, masks, gradients=False) if masked else None
    while True:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        yield kept


def held(card: Card, sizes: Sizes) -> Iterator[Figure]:
    """A step of AdamW with masks held, beside one without."""
    ways = {"plain": layered(card, sizes, False), "held": layered(card, sizes, True)}
    took = card.compared({way: partial(several, steps, sizes.steps) for way, steps in ways.items()}, sizes.rounds)
    layers, width = sizes.held
    million = layers * width * (width + 1) / 1e6
    yield Figure(f"AdamW of {million:.2g}M parameters, held / not held", took("held", "plain"),
                 1.05, more=f"{took('held') / sizes.steps * 1e3:.2f} ms")  # fmt: skip


def proof(card: Card, sizes: Sizes) -> Iterator[Figure]:
    """A Llama without a tenth of its multiply-adds."""
    for name, size in sizes.llamas.items():
        try:
            yield from _unless_late(card, f"proof of a Llama, {name}", LATE, partial(_proven, card, name, **size))
        except torch.OutOfMemoryError:
            yield Figure(f"proof of a Llama, {name}", inf, 1e9, more="does not fit")
        if card.cuda:
            torch.cuda.empty_cache()


def _unless_late(card: Card, name: str, minutes: float, figures: Callable[[], Iterator[Figure]]) -> Iterator[Figure]:
    """The figures; after so many minutes, or without a package that they need, one that says why there are none."""
    if time.perf_counter() - card.began > 60 * minutes:
        yield Figure(name, more="left out: it is late")
        return
    try:
        yield from figures()
    except ModuleNotFoundError as error:
        yield Figure(name, more=str(error))


def _proven(card: Card, name: str, *, layers: int, **size: int) -> Iterator[Figure]:
    model, example = llama(layers, str(card.device), **size)
    model = model.to(torch.bfloat16)
    anatomy = Anatomy(model, example)
    cost = macs_of(anatomy)
    scores = per_unit({n: p.detach().abs() for n, p in model.named_parameters()}, sites(anatomy))
    keep = fewest(scores, cost, 0.9 * float(cost({})))
    seconds = []
    for check in (False, True):
        began = time.perf_counter()
        peak = card.peak(partial(shrink, anatomy, keep, check=check))
        card.wait()
        seconds.append(time.perf_counter() - began)
    yield Figure(
        f"shrink of a Llama, {name}, with proof / without", seconds[1] / seconds[0], more=f"{seconds[1]:.1f} s"
    )
    wanted = 20 if name == "7B" else inf
    yield Figure("  GB beyond the model", None if peak is None else peak / 1e9, wanted)


def analysis(card: Card, sizes: Sizes) -> Iterator[Figure]:
    """All sites and costs beside `torch.export` alone, a part of that; on the CPU, once each after a first time."""
    for name, make in sizes.analysed.items():
        title = f"analysis of {name} / torch.export"
        yield from _unless_late(card, title, LATE_AT_LAST, partial(_analysed, card, title, make))


def _analysed(card: Card, title: str, make: Callable[[], tuple[nn.Module, Any]]) -> Iterator[Figure]:
    model, example = make()
    took = card.compared({"ours": partial(analyse, model, example), "export": partial(export, model, example)}, 1)
    yield Figure(title, took("ours", "export"), 2, more=f"{took('ours'):.2f} s")


SECTIONS: dict[str, Callable[[Card, Sizes], Iterator[Figure]]] = {
    "selection": selection,
    "step": step,
    "together": together,
    "trials": trials,
    "held": held,
    "proof": proof,
    "analysis": analysis,
}


def main(words: Sequence[str] | None = None) -> None:
    """Print a line for each figure as it comes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    asked.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = asked.parse_args(words)
    if unknown := set(given.sections) - SECTIONS.keys():
        asked.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    card = Card(given.device)
    print(f"{card.name}, torch {torch.__version__}{'' if card.cuda else '; small sizes, which say nothing of speed'}")
    print(LINE.format("", "ratio", "wanted", ""))
    figures = (
        each for name in given.sections or SECTIONS for each in SECTIONS[name](card, LARGE if card.cuda else SMALL)
    )
    missed = []
    for figure in figures:
        shown = figure if card.cuda else replace(figure, most=inf, least=0.0)
        print(shown, flush=True)
        missed += [figure.name.strip()] if shown.missed else []
    print(Figure("minutes", (time.perf_counter() - card.began) / 60, MINUTES))
    print(f"missed: {'; '.join(missed) or 'nothing'}" if card.cuda else "nothing is wanted of a CPU")


if __name__ == "__main__":
    main()
