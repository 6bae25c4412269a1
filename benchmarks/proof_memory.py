"""Memory that a proof takes beside the model: a random Llama in bfloat16 loses half of its units and heads.

Each figure comes from a process of its own: the most memory from the moment at which the model, its anatomy and its
sites are there, over the size of the model. Once with the proof as it is, once with all weights widened before it, once
without a proof. CPU seconds stand beside it. Linux only, which tells and forgets the most that a process has held.

    python benchmarks/proof_memory.py [LAYERS] [WIDTH] [WORDS]
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


def measured(way: str, sizes: Sequence[int]) -> tuple[float, float, float]:
    """The most memory beside the model, and with it, in sizes of the model; CPU seconds."""
    torch.set_num_threads(1)
    model = llama(*sizes)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    anatomy = Anatomy(model, {"input_ids": WORDS})
    keep = {site.name: torch.arange(site.units) < (site.units + 1) // 2 for site in sites(anatomy)}
    assert anatomy.graph is not None
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # the most so far is forgotten
    before, began = held("VmRSS"), time.process_time()
    with patch.object(lent, "ENOUGH", sys.maxsize if way == "widened at once" else lent.ENOUGH):
        small = shrink(anatomy, keep, check=way != "no proof")
    seconds = time.process_time() - began
    assert small.model is not model
    more = (held("VmHWM") - before) / size
    return more, 1 + more, seconds


def main() -> None:
    """Print a line for each way."""
    given = tuple(int(each) for each in sys.argv[1:4])
    sizes = given + SIZES[len(given) :]
    for way in WAYS:
        command = [sys.executable, __file__, *map(str, sizes), way]
        subprocess.run(command, check=True, env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"})


if __name__ == "__main__":
    if sys.argv[-1] in WAYS:
        more, whole, seconds = measured(sys.argv[-1], [int(each) for each in sys.argv[1:4]])
        print(
            f"{sys.argv[-1]}: {more:.2f} times the model's size beside it, {whole:.2f} with it; {seconds:.1f} CPU s",
            flush=True,
        )
    else:
        main()
