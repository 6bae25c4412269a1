"""How much memory and time `one_shot` takes beside the model: a Llama with random weights, on the CPU.

    python benchmarks/one_shot_memory.py [--size small|135m|1b] [--dtype float32|bfloat16] [--by wanda|sparsegpt]
                                         [--windows 16] [--tokens 512]

The pass must fit beside the model: its peak is that of the model, of what one block reads of all windows, of one
block's sums, and of the masks so far. Sums of all blocks together are printed beside it. The largest model has 1.04
billion parameters. Linux only (peaks are read from /proc). Needs transformers.
"""

import argparse
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sapwood import one_shot, prunable

SIZES = {  # width, hidden width, blocks, heads, heads of keys and values
    "small": (256, 1024, 8, 8, 2),
    "135m": (576, 1536, 30, 9, 3),
    "1b": (2048, 8192, 16, 32, 8),
}
WORDS = 32_000


def llama(size: str, dtype: torch.dtype) -> LlamaForCausalLM:
    """The model, made in that type, so that no larger one is in memory before it."""
    width, hidden, blocks, heads, pairs = SIZES[size]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=width, intermediate_size=hidden, num_hidden_layers=blocks,
        num_attention_heads=heads, num_key_value_heads=pairs, tie_word_embeddings=True)  # fmt: skip
    torch.set_default_dtype(dtype)
    try:
        return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def memory(what: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" at the peak since `forget_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith(what))
    return 1024 * int(line.split()[1])


def forget_peak() -> None:
    """The peak begins anew from what is used now."""
    Path("/proc/self/clear_refs").write_text("5", "utf-8")


def main() -> None:
    """Prune one model and print what it took."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--size", choices=SIZES, default="small")
    asked.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    asked.add_argument("--by", choices=("wanda", "sparsegpt", "magnitude"), default="wanda")
    asked.add_argument("--windows", type=int, default=16)
    asked.add_argument("--tokens", type=int, default=512)
    given = asked.parse_args()
    model = llama(given.size, getattr(torch, given.dtype))
    windows = list(torch.randint(WORDS, (given.windows, 1, given.tokens)))
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    sums = sum(8 * layer.weight.shape[1] ** 2 for name, layer in prunable(model).items() if "layers" in name)
    forget_peak()
    before, began = memory("VmRSS"), time.perf_counter()
    shot = one_shot(model, windows, sparsity=0.5, by=given.by, progress=print)
    seconds, peak = time.perf_counter() - began, memory("VmHWM")
    more, numbers = peak - before, sum(p.numel() for p in model.parameters())
    print(f"{numbers:,} parameters in {given.dtype}, {size / 2**20:,.0f} MiB; {given.by}, {shot.tokens:,} tokens")
    print(
        f"peak beside the model {more / 2**20:,.0f} MiB: {1 + more / size:.2f} times the model in all; {seconds:.0f} s"
    )
    print(f"peak of the process {peak / 2**20:,.0f} MiB: {peak / size:.2f} times the model, Python and torch included")
    kept = sum(keep.numel() * keep.element_size() for keep in shot.masks.values())
    print(f"masks of all blocks, which are returned, {kept / 2**20:,.0f} MiB of that")
    print(f"sums of one block {sums / len(shot.ratios) / 2**20:,.0f} MiB, of all {sums / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
