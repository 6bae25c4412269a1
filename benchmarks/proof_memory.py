"""Memory that a proof takes beside the model: a random Llama in bfloat16 loses half of its units or branches.

Each figure comes from a process of its own: the most memory from the moment at which the model, its anatomy and its
sites are there, over the size of the model. Once with the proof as it is, once with all weights widened before it, once
without a proof. CPU seconds stand beside it. Linux only, which tells and forgets the most that a process has held.

    python benchmarks/proof_memory.py [--branches] [LAYERS] [WIDTH] [WORDS]
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from sapwood import shrink, sites
from sapwood.shrinking.cutting import lent
from sapwood.shrinking.depth import branches, remove_branches
from sapwood.shrinking.tracing.anatomy import Anatomy

WAYS = ("as it is", "widened at once", "no proof")
SIZES = (8, 1024, 32000)  # layers, width, words: 155M parameters
WORDS = torch.arange(16)[None]


def llama(layers: int, width: int, words: int) -> nn.Module:
    """A random one."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {"hidden_size": width, "intermediate_size": 11 * width // 4, "vocab_size": words}
    heads = {"num_attention_heads": max(4, width // 64), "num_key_value_heads": max(2, width // 256)}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        made: nn.Module = LlamaForCausalLM(LlamaConfig(**sizes, **heads, num_hidden_layers=layers, use_cache=False))
        return made.eval()
    finally:
        torch.set_default_dtype(default)


def held(line: str) -> int:
    """Bytes of a line in Linux's notes on this process."""
    notes = Path("/proc/self/status").read_text("utf-8").splitlines()
    return 1024 * int(next(each for each in notes if each.startswith(line)).split()[1])


def made(anatomy: Anatomy, what: str, *, check: bool) -> nn.Module:
    """The network without half of its units and heads, or without half of its branches."""
    if what == "branches":
        names = [each.name for each in branches(anatomy)]
        return remove_branches(anatomy, names[: len(names) // 2], check=check).model
    keep = {site.name: torch.arange(site.units) < (site.units + 1) // 2 for site in sites(anatomy)}
    return shrink(anatomy, keep, check=check).model


def measured(way: str, what: str, sizes_: Sequence[int]) -> tuple[float, float, float]:
    """The most memory beside the model, and with it, in sizes of the model; CPU seconds."""
    torch.set_num_threads(1)
    model = llama(*sizes_)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    anatomy = Anatomy(model, {"input_ids": WORDS})
    assert sites(anatomy)
    assert branches(anatomy)
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # the most so far is forgotten
    before, began = held("VmRSS"), time.process_time()
    with patch.object(lent, "ENOUGH", sys.maxsize if way == "widened at once" else lent.ENOUGH):
        small = made(anatomy, what, check=way != "no proof")
    seconds = time.process_time() - began
    assert small is not model
    more = (held("VmHWM") - before) / size
    return more, 1 + more, seconds


def main() -> None:
    """Print a line for each way."""
    what = "branches" if "--branches" in sys.argv else "units"
    given = tuple(int(each) for each in sys.argv[1:] if each.isdigit())
    sizes = given + SIZES[len(given) :]
    for way in WAYS:
        command = [sys.executable, __file__, *map(str, sizes), what, way]
        subprocess.run(command, check=True, env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"})


if __name__ == "__main__":
    if sys.argv[-1] in WAYS:
        more, whole, seconds = measured(sys.argv[-1], sys.argv[-2], [int(each) for each in sys.argv[1:4]])
        print(
            f"{sys.argv[-2]}, {sys.argv[-1]}: {more:.2f} times the model's size beside it, {whole:.2f} with it; "
            f"{seconds:.1f} CPU s",
            flush=True,
        )
    else:
        main()
