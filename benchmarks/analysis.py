"""The analysis of a network beside `torch.export.export` of it alone, in CPU seconds of one process.

The rival is what any analysis of the graph has to pay at least: the same export, without what is found out afterwards.
Both are run once before they are timed, then in turn, in a new random order each round; the ratio is the median over
the rounds, with half its interquartile range. The analysis is an `Anatomy` with all sites and the three costs.
Growth: how the time of what comes after the export rises with the layers, and how the number of functions that it
calls does, as an exponent; 1 is as fast as the network. Counted: exports and deep copies of models in a whole flow.
Memory: what a process of its own holds at most while it finds all sites and costs, beside what it held with the model
and its graph; per number in the tensors of the graph (parameters, buffers, what operators give), which says that ids
stay few as tensors grow. Linux only.

Models of torchvision and transformers where these are installed, with random weights; torchvision may lie beside the
environment, as `make .venv/zoo` puts it:

    PYTHONPATH=.venv/zoo python benchmarks/analysis.py [NAME ...]
    PYTHONPATH=.venv/zoo python benchmarks/analysis.py memory [NAME ...]
"""

import gc
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from cProfile import Profile
from functools import partial
from math import log2
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from interleaved import compare
from proof_memory import held
from torch import Tensor, nn
from torch.utils import _pytree as pytree

sys.path.append(str(Path(__file__).parent / "peers"))
from architectures import torchvision_models

from sapwood import bytes_of, fewest, macs_of, parameters_of, per_unit, shrink, sites
from sapwood.measure.example import arguments, as_tuple
from sapwood.shrinking.tracing import duplicate
from sapwood.shrinking.tracing.anatomy import Anatomy

Made = tuple[nn.Module, Any]
ROUNDS = 7
LAYERS = (12, 24, 48)
WORDS = torch.arange(16)[None]


def vision(name: str, size: int) -> Made:
    """One of torchvision's."""
    return getattr(torchvision_models(), name)().eval(), torch.randn(1, 3, size, size)


def gpt2(layers: int) -> Made:
    """GPT-2 of transformers, as wide as the small one."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=layers, use_cache=False)).eval(), {"input_ids": WORDS}


def llama(layers: int, device: str = "cpu", **sizes: int) -> Made:
    """A Llama of transformers; narrow unless told otherwise."""
    from transformers import LlamaConfig, LlamaForCausalLM

    narrow = {"hidden_size": 256, "intermediate_size": 688, "num_attention_heads": 8, "vocab_size": 1000}
    config = LlamaConfig(**(narrow | {"num_key_value_heads": 4} | sizes), num_hidden_layers=layers, use_cache=False)
    with torch.device(device):
        return LlamaForCausalLM(config).eval(), {"input_ids": WORDS.to(device)}


WIDE = {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8}
MODELS: dict[str, Callable[[], Made]] = {
    "ResNet-50": lambda: vision("resnet50", 64),
    "ViT-B/16": lambda: vision("vit_b_16", 224),
    "GPT-2": lambda: gpt2(12),
    "Llama, 24 layers": lambda: llama(24),
    "Llama, 1B, meta": lambda: llama(16, "meta", vocab_size=128256, **WIDE),
}


def export(model: nn.Module, example: Any) -> None:
    """The rival."""
    args, kwargs = arguments(model, as_tuple(example))
    torch.export.export(model, args, kwargs, strict=False)


def analyse(model: nn.Module, example: Any) -> None:
    """All sites and costs."""
    costs_of(Anatomy(model, example))


def costs_of(anatomy: Anatomy) -> None:
    """What comes after the export."""
    for cost in (macs_of, parameters_of, bytes_of):
        cost(anatomy, sites(anatomy))


def flow(model: nn.Module, example: Any) -> None:
    """From a model to a smaller one: the lowest units go until three quarters of the multiply-adds are left."""
    anatomy = Anatomy(model, example)
    cost = macs_of(anatomy)
    scores = per_unit({name: p.detach().abs() for name, p in model.named_parameters()}, sites(anatomy))
    shrink(anatomy, fewest(scores, cost, 0.75 * float(cost({}))))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often a model is exported and copied in here."""
    counts, original = Counter[str](), torch.export.export

    def exporting(*given: Any, **more: Any) -> Any:
        counts["exports"] += 1
        return original(*given, **more)

    def copying(thing: Any, memo: Any = None) -> Any:
        counts["copies"] += any(isinstance(x, nn.Module) for x in (thing if isinstance(thing, tuple) else (thing,)))
        return deepcopy(thing, memo)

    with ExitStack() as stack:
        stack.enter_context(patch.object(torch.export, "export", exporting))
        stack.enter_context(patch.object(duplicate, "deepcopy", copying))
        yield counts


def after_export(model: nn.Module, example: Any) -> float:
    """CPU seconds that an analysis takes beside the export that it makes."""
    original, inside = torch.export.export, 0.0

    def timed(*given: Any, **more: Any) -> Any:
        nonlocal inside
        began = time.process_time()
        try:
            return original(*given, **more)
        finally:
            inside += time.process_time() - began

    gc.collect()
    with patch.object(torch.export, "export", timed):
        began = time.process_time()
        analyse(model, example)
        return time.process_time() - began - inside


def calls(model: nn.Module, example: Any) -> int:
    """Functions that an analysis calls beside its export: a count that no other program disturbs."""
    original, profile = torch.export.export, Profile()

    def uncounted(*given: Any, **more: Any) -> Any:
        profile.disable()
        try:
            return original(*given, **more)
        finally:
            profile.enable()

    with patch.object(torch.export, "export", uncounted):
        profile.runcall(analyse, model, example)
    return sum(entry.callcount for entry in profile.getstats())


def growth(make: Callable[[int], Made]) -> str:
    """Exponents of what comes after the export, doubling by doubling: seconds, in turn and the least, and calls."""
    made = [make(layers) for layers in LAYERS]
    rounds = [[after_export(*one) for one in made] for _ in range(ROUNDS + 1)][1:]
    seconds, counts = [min(column) for column in zip(*rounds, strict=True)], [calls(*one) for one in made]
    doublings = range(len(LAYERS) - 1)
    return "; ".join(
        f"{LAYERS[i]} to {LAYERS[i + 1]} layers: exponent {log2(seconds[i + 1] / seconds[i]):.2f} in seconds, "
        f"{log2(counts[i + 1] / counts[i]):.2f} in calls" for i in doublings
    )  # fmt: skip


def most_held(run: Callable[[], None]) -> int:
    """Bytes that this process holds at most during a run, beside what it held before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # the most so far is forgotten
    before = held("VmRSS")
    run()
    return held("VmHWM") - before


def numbers_in(anatomy: Anatomy) -> int:
    """How many numbers the tensors of a graph have, and what its operators give."""
    values = [node.meta.get("val") for node in anatomy.graph.module.graph.nodes]
    return sum(each.numel() for each in pytree.tree_leaves(values) if isinstance(each, Tensor))


def memory(name: str) -> str:
    """What an analysis of a network takes beside its model and graph; for a process that has done nothing else."""
    anatomy = Anatomy(*MODELS[name]())
    numbers = numbers_in(anatomy)
    most = most_held(lambda: costs_of(anatomy))
    return f"{name}: {most / 2**20:.0f} MiB beside model and graph, {most / numbers:.3f} bytes a number of {numbers:,}"


def main() -> None:
    """Print a line for each network."""
    torch.set_num_threads(1)
    with suppress(ImportError):  # before others look for it, which stop where its operators are missing
        torchvision_models()
    if sys.argv[1:2] == ["memory"]:
        if len(sys.argv) == 3:
            print(memory(sys.argv[2]), flush=True)
        else:
            for name in sys.argv[2:] or MODELS:
                subprocess.run([sys.executable, __file__, "memory", name], check=True)
        return
    for name in sys.argv[1:] or [*MODELS, "growth"]:
        if name == "growth":
            print(f"Llama, {growth(llama)}", flush=True)
            continue
        model, example = MODELS[name]()
        cases = {"export": partial(export, model, example), "analysis": partial(analyse, model, example)}
        found = compare(cases, ROUNDS, before=gc.collect)  # what earlier runs have left is not this one's
        alone, whole, ratio = found.seconds("export"), found.seconds("analysis"), found.ratio("analysis", "export")
        spread = found.spread("analysis", "export")
        said = f"{name}: {ratio:.2f} times (± {spread:.2f}), export {alone:.2f} s, analysis {whole:.2f} s"
        if not any(p.is_meta for p in model.parameters()):
            with counted() as counts:
                flow(model, example)
            said += f"; a whole flow: {counts['exports']} exports, {counts['copies']} deep copies"
        print(said, flush=True)


if __name__ == "__main__":
    main()
