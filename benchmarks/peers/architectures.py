"""Architectures to be shrunk: torchvision's, small random ones of transformers, and some written here.

None of their names is known to the library. They come from packages that sapwood does not need: install them by
`pip install -e '.[peers]'`; torchvision without its compiled operators is enough, `torchvision_models` sees to that.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import architectures_language as language
import architectures_vision as more
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Made = tuple[nn.Module, tuple[Tensor, ...]]  # a network and an example of its inputs
_DECLARED: list[torch.library.Library] = []

VISION = (
    "alexnet", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "squeezenet1_0",
    "mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf",
    "regnet_y_400mf", "googlenet", "inception_v3", "shufflenet_v2_x1_0", "convnext_tiny", "vit_b_16", "swin_t",
)  # fmt: skip
SIZES = {"vit_b_16": 224, "swin_t": 224, "inception_v3": 128}  # swin_t: windows of 7 need no padding then
NO_INIT = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def torchvision_models() -> ModuleType:
    """`torchvision.models`. Operators that its build misses here, being for other hardware, are declared first."""
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    found = importlib.util.find_spec("torchvision")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("torchvision is not installed; pip install -e '.[peers]'")
    text = Path(found.submodule_search_locations[0], "_meta_registrations.py").read_text("utf-8")
    if not _DECLARED:
        library = torch.library.Library("torchvision", "FRAGMENT")
        _DECLARED.append(library)
        for name in sorted(set(re.findall(r'register_(?:fake|meta)\("(?:torchvision::)?(\w+)"\)', text))):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor x) -> Tensor")
    return importlib.import_module("torchvision.models")


def vision(name: str) -> Made:
    """One of torchvision's classifiers."""
    size = SIZES.get(name, 64)
    model = getattr(torchvision_models(), name)(weights=None, **NO_INIT.get(name, {}))
    return model, (torch.rand(1, 3, size, size),)


def video() -> Made:
    """Three dimensions."""
    return torchvision_models().video.r3d_18(weights=None), (torch.rand(1, 3, 4, 32, 32),)


def segmentation(name: str) -> Callable[[], Made]:
    """ResNet-50 with a head that classifies pixels."""

    def make() -> Made:
        model = getattr(torchvision_models().segmentation, name)(weights=None, weights_backbone=None)
        return model, (torch.rand(1, 3, 64, 64),)

    return make


class First(nn.Module):
    """The first output of a model of transformers, called with one named input after another."""

    def __init__(self, model: nn.Module, *names: str) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Any:
        """Without caches."""
        return self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=True)[0]


WORDS = torch.arange(12)[None] % 11
PIXELS = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SOUND = torch.rand(1, 800, generator=torch.Generator().manual_seed(0))
TEXT = {"vocab_size": 64, "max_position_embeddings": 32}
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SHARED = SMALL | TEXT | {"num_key_value_heads": 2}
NAMED: dict[str, tuple[str, dict[str, Any]]] = {  # model -> its class in transformers, its configuration
    "bert": ("Bert", SMALL | TEXT),
    "distilbert": ("DistilBert", TEXT | {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128}),
    "vit": ("ViT", SMALL | {"image_size": 32, "patch_size": 8}),
    "gpt2": ("GPT2", {"vocab_size": 64, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32, "bos_token_id": 0,
                      "eos_token_id": 0}),
    "opt": ("OPT", TEXT | {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 128,
                           "word_embed_proj_dim": 64}),
    "llama": ("Llama", SHARED),
    "qwen2": ("Qwen2", SHARED),
    "t5": ("T5", {"vocab_size": 64, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4,
                  "decoder_start_token_id": 0, "use_cache": False}),
    "swin": ("Swin", {"image_size": 32, "patch_size": 2, "embed_dim": 32, "depths": [2, 4], "num_heads": [2, 4],
                      "window_size": 4}),
    "convnext": ("ConvNext", {"hidden_sizes": [16, 32, 48, 64], "depths": [2, 2, 4, 2]}),
    "wav2vec2": ("Wav2Vec2", SMALL | {"conv_dim": (32, 32, 32), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 3),
                                      "num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16,
                                      "num_conv_pos_embedding_groups": 4}),
    **language.NAMED,
}  # fmt: skip
INPUTS: dict[str, dict[str, Tensor]] = {
    "vit": {"pixel_values": PIXELS},
    "swin": {"pixel_values": PIXELS},
    "convnext": {"pixel_values": PIXELS.repeat(1, 1, 2, 2)},
    "wav2vec2": {"input_values": SOUND},
    **language.INPUTS,
    "t5": {"input_ids": WORDS, "decoder_input_ids": WORDS[:, :7]},
}


def random_transformer(name: str) -> Made:
    """A small one of transformers with random weights."""
    torchvision_models()  # transformers imports it where it is there
    import transformers

    kind, options = NAMED[name]
    config = getattr(transformers, f"{kind}Config")(**options)
    inputs = INPUTS.get(name, {"input_ids": WORDS})
    rest = {"add_pooling_layer": False} if name in ("bert", "vit", "swin") else {}  # its answer is not looked at
    return First(getattr(transformers, f"{kind}Model")(config, **rest), *inputs), tuple(inputs.values())


def random_vision(name: str) -> Made:
    """A small one of those in `architectures_vision.py`."""
    torchvision_models()
    inputs = more.input_of(name)
    return First(more.random_model(name), *inputs), tuple(inputs.values())


def detector(kind: str) -> Made:
    """Backbone, pyramid and dense heads."""
    torchvision_models()
    return more.Detector(kind), (more.PIXELS,)


class Tagger(nn.Module):
    """Words, a recurrent layer in both directions, a label for each."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 24)
        self.recurrent = kind(24, 32, 2, batch_first=True, bidirectional=True)
        self.labels = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Any:
        """[batch, words] -> [batch, words, labels]."""
        return self.labels(self.recurrent(self.words(x))[0])


class Listener(nn.Module):
    """Convolutions in time, then an LSTM; the last step counts."""

    def __init__(self) -> None:
        super().__init__()
        self.hear = nn.Sequential(
            nn.Conv1d(4, 24, 5, 2), nn.BatchNorm1d(24), nn.ReLU(), nn.Conv1d(24, 32, 3), nn.ReLU()
        )
        self.recurrent, self.answer = nn.LSTM(32, 40, batch_first=True), nn.Linear(40, 6)

    def forward(self, x: Tensor) -> Any:
        """[batch, 4, time] -> [batch, 6]."""
        return self.answer(self.recurrent(self.hear(x).transpose(1, 2))[0][:, -1])


class UNet(nn.Module):
    """Two halvings, two doublings, with what was there before beside what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.deep = self.twice(3, 16), self.twice(16, 32), self.twice(32, 64)
        self.up_two, self.up_one = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)
        self.back_two, self.back_one, self.out = self.twice(64, 32), self.twice(32, 16), nn.Conv2d(16, 2, 1)

    @staticmethod
    def twice(inputs: int, outputs: int) -> nn.Sequential:
        """Two convolutions with group norm."""
        layers: list[nn.Module] = []
        for width in (inputs, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Any:
        """[batch, 3, size, size] -> [batch, 2, size, size]."""
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        back = self.back_two(torch.cat([self.up_two(self.deep(F.max_pool2d(two, 2))), two], 1))
        return self.out(self.back_one(torch.cat([self.up_one(back), one], 1)))


class Shuffled(nn.Module):
    """Grouped convolutions with a shuffle of channels between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 24, 3, padding=1), nn.Linear(24, 5)
        self.grouped = nn.ModuleList(nn.Conv2d(24, 24, 3, padding=1, groups=3) for _ in range(3))

    def forward(self, x: Tensor) -> Any:
        """[batch, 3, size, size] -> [batch, 5]."""
        x = self.stem(x)
        for layer in self.grouped:
            n, c, h, w = x.shape
            x = F.relu(layer(x.view(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)))
        return self.head(x.mean((2, 3)))


ARCHITECTURES: dict[str, Callable[[], Made]] = {
    **{f"torchvision {name}": partial(vision, name) for name in VISION},
    "torchvision r3d_18": video,
    "torchvision fcn_resnet50": segmentation("fcn_resnet50"),
    "torchvision deeplabv3_resnet50": segmentation("deeplabv3_resnet50"),
    "torchvision fasterrcnn_resnet50_fpn": lambda: detector("fasterrcnn"),
    "torchvision retinanet_resnet50_fpn": lambda: detector("retinanet"),
    **{f"transformers {name}": partial(random_transformer, name) for name in NAMED},
    **{f"transformers {name}": partial(random_vision, name) for name in more.NAMED},
    "LSTM tagger": lambda: (Tagger(nn.LSTM), (torch.arange(18).view(2, 9) % 50,)),
    "GRU tagger": lambda: (Tagger(nn.GRU), (torch.arange(18).view(2, 9) % 50,)),
    "conv-LSTM": lambda: (Listener(), (torch.rand(2, 4, 40),)),
    "U-Net": lambda: (UNet(), (torch.rand(1, 3, 32, 32),)),
    "one-stage detector": lambda: (more.OneStage(), (more.PIXELS,)),
    "network without norms": lambda: (more.Free(), (more.PIXELS,)),
    "channel shuffle": lambda: (Shuffled(), (torch.rand(1, 3, 16, 16),)),
    **language.WRITTEN,
}


def made(name: str) -> Made:
    """A network in evaluation mode, its normalisations in use, and its example."""
    torch.manual_seed(0)
    model, example = ARCHITECTURES[name]()
    for module in model.modules():
        mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and mean is not None and variance is not None:
            mean.normal_(0, 0.1)
            variance.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    return model.eval(), example
