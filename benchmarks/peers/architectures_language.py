"""More architectures to be shrunk: decoders, mixtures of experts, speech, pictures with words, weights of weights.

Those of transformers are small, with random weights. `architectures.py` lists them; see there for the packages.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

WORDS = torch.arange(12)[None] % 11
PIXELS = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
MELS = torch.rand(1, 16, 64, generator=torch.Generator().manual_seed(0))
TEXT = {"vocab_size": 64, "max_position_embeddings": 32}
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SHARED = SMALL | TEXT | {"num_key_value_heads": 2, "pad_token_id": 0}
OF_CLIP = {**SMALL, "projection_dim": 32}
NAMED: dict[str, tuple[str, dict[str, Any]]] = {  # model -> its class in transformers, its configuration
    "phi": ("Phi", SHARED),
    "gemma": ("Gemma", SHARED | {"head_dim": 16}),
    "gemma2": ("Gemma2", SHARED | {"head_dim": 16}),
    "mixtral": ("Mixtral", SHARED | {"num_local_experts": 4}),
    "qwen2-moe": ("Qwen2Moe", SHARED | {"num_experts": 4, "moe_intermediate_size": 96,
                                        "shared_expert_intermediate_size": 80, "num_experts_per_tok": 2}),
    "deberta-v2": ("DebertaV2", SMALL | TEXT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                                                "position_buckets": 8}),
    "whisper": ("Whisper", {"vocab_size": 64, "num_mel_bins": 16, "d_model": 64, "encoder_layers": 2,
                            "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
                            "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "max_source_positions": 32,
                            "max_target_positions": 32, "decoder_start_token_id": 0, "pad_token_id": 0,
                            "bos_token_id": 0, "eos_token_id": 0, "use_cache": False}),
    "clip": ("CLIP", {"projection_dim": 32, "text_config": OF_CLIP | TEXT | {"eos_token_id": 10},
                      "vision_config": OF_CLIP | {"image_size": 32, "patch_size": 8}}),
    "beit": ("Beit", SMALL | {"image_size": 32, "patch_size": 8}),
}  # fmt: skip
INPUTS: dict[str, dict[str, Tensor]] = {
    "whisper": {"input_features": MELS, "decoder_input_ids": WORDS[:, :7]},
    "clip": {"input_ids": WORDS, "pixel_values": PIXELS},
    "beit": {"pixel_values": PIXELS},
}


class Mixture(nn.Module):
    """Every expert sees every token in one product; a router says how much each counts."""

    def __init__(self, width: int, inside: int, experts: int) -> None:
        super().__init__()
        self.router, self.norm = nn.Linear(width, experts), nn.LayerNorm(width)
        self.up = nn.Parameter(torch.randn(experts, width, 2 * inside) / width**0.5)
        self.down = nn.Parameter(torch.randn(experts, inside, width) / inside**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, width], added to what came."""
        y = self.norm(x)
        gate, value = torch.einsum("bti,eio->beto", y, self.up).chunk(2, -1)
        made = torch.einsum("beti,eio->beto", F.silu(gate) * value, self.down)
        return x + torch.einsum("beto,bte->bto", made, self.router(y).softmax(-1))


class Mixtures(nn.Module):
    """Words, two mixtures of experts, a label for each word."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.labels = nn.Embedding(50, 32), nn.Linear(32, 5)
        self.layers = nn.Sequential(Mixture(32, 64, 4), Mixture(32, 64, 4))

    def forward(self, x: Tensor) -> Any:
        """[batch, words] -> [batch, words, labels]."""
        return self.labels(self.layers(self.words(x)))


class Adapted(nn.Linear):
    """A linear layer with a low-rank adapter on its weight."""

    def __init__(self, inputs: int, outputs: int, rank: int = 8) -> None:
        super().__init__(inputs, outputs)
        self.lower = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.upper = nn.Parameter(torch.randn(outputs, rank) / rank**0.5)
        self.scale = 2.0

    def forward(self, x: Tensor) -> Tensor:
        """The weight as it was, and what was learnt besides."""
        return F.linear(x, self.weight + self.scale * self.upper @ self.lower, self.bias)


class Block(nn.Module):
    """A layer of a decoder, all of its matrices adapted."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.one, self.two = heads, nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = Adapted(width, 3 * width), Adapted(width, width)
        self.up, self.down = Adapted(width, 4 * width), Adapted(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, words, width]."""
        q, k, v = self.qkv(self.one(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(y)
        added: Tensor = self.down(F.gelu(self.up(self.two(x))))
        return x + added


class Decoder(nn.Module):
    """Words, two layers, the next word, by the words' own matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layers = nn.Embedding(50, 32), nn.Sequential(Block(32, 4), Block(32, 4))

    def forward(self, x: Tensor) -> Any:
        """[batch, words] -> [batch, words, 50]."""
        return F.linear(self.layers(self.words(x)), self.words.weight)


class Adversaries(nn.Module):
    """A generator, and a discriminator under spectral norm that looks at what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(16, 64 * 4 * 4)
        self.makes = nn.Sequential(
            nn.BatchNorm2d(64), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.judges = nn.Sequential(
            spectral_norm(nn.Conv2d(3, 32, 4, 2, 1)), nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(32, 64, 4, 2, 1)),
            nn.LeakyReLU(0.2), nn.Flatten(), spectral_norm(nn.Linear(64 * 4 * 4, 1)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Any:
        """[batch, 16] -> pictures, and what is thought of them."""
        made = self.makes(self.start(x).unflatten(1, (-1, 4, 4)))
        return made, self.judges(made)


class ThereAndBack(nn.Module):
    """An autoencoder whose way back is its way there."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, 48), nn.Linear(48, 24)
        self.back_one, self.back_two = nn.Parameter(torch.zeros(48)), nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Any:
        """[batch, 64] -> the same."""
        code = F.relu(self.two(F.relu(self.one(x))))
        return F.linear(F.relu(F.linear(code, self.two.weight.t(), self.back_one)), self.one.weight.t(), self.back_two)


WRITTEN: dict[str, Any] = {
    "mixture of experts": lambda: (Mixtures(), (torch.arange(18).view(2, 9) % 50,)),
    "decoder with LoRA": lambda: (Decoder(), (torch.arange(18).view(2, 9) % 50,)),
    "GAN with spectral norm": lambda: (Adversaries(), (torch.rand(2, 16),)),
    "autoencoder, tied": lambda: (ThereAndBack(), (torch.rand(2, 64),)),
}
