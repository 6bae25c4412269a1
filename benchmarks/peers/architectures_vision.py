"""More architectures to be shrunk: detectors, segmentation, normaliser-free networks, a state-space model.

Those of transformers are small, with random weights. `architectures.py` lists them; see there for the packages.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
WORDS = torch.arange(12)[None] % 11
STAGES: dict[str, Any] = {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 48, 64]}
RESNET: dict[str, Any] = {"embedding_size": 16, **STAGES, "layer_type": "basic", "out_features": ["stage4"]}
NAMED: dict[str, tuple[str, dict[str, Any]]] = {  # model -> its class in transformers, its configuration
    "convnextv2": ("ConvNextV2Model", {"hidden_sizes": [16, 32, 48, 64], "depths": [2, 2, 4, 2]}),
    "mobilevit": ("MobileViTModel", {"image_size": 64, "hidden_sizes": [24, 32, 40], "num_attention_heads": 4,
                                     "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 80]}),
    "segformer": ("SegformerForSemanticSegmentation", {**STAGES, "num_attention_heads": [1, 2, 3, 4],
                                                       "decoder_hidden_size": 32, "num_labels": 4}),
    "detr": ("DetrModel", {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64,
                           "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
                           "num_queries": 5}),
    "mamba": ("MambaModel", {"vocab_size": 64, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2,
                             "time_step_rank": 4, "use_mambapy": False, "use_cache": False}),
}  # fmt: skip


def random_model(name: str) -> nn.Module:
    """A small one of transformers with random weights; its backbone too."""
    import transformers

    kind, options = NAMED[name]
    if name == "detr":
        options = options | {"backbone_config": transformers.ResNetConfig(**RESNET)}
    model = getattr(transformers, kind)
    return model(model.config_class(**options))  # type: ignore[no-any-return]


def input_of(name: str) -> dict[str, Tensor]:
    """What it is called with."""
    return {"input_ids": WORDS} if name == "mamba" else {"pixel_values": PIXELS}


class Detector(nn.Module):
    """The part of a torchvision detector that is one graph: backbone with frozen norms, pyramid, dense heads."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        from torchvision.models import detection

        frozen = {"weights": None, "weights_backbone": None}
        whole = getattr(detection, f"{kind}_resnet50_fpn")(**frozen)
        body = detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet50", weights=None)
        self.backbone = body if kind == "fasterrcnn" else whole.backbone
        self.head = whole.rpn.head if kind == "fasterrcnn" else whole.head
        for norm in (norm for norm in self.modules() if type(norm).__name__ == "FrozenBatchNorm2d"):
            for held in norm.buffers():
                held.copy_(torch.rand_like(held) + 0.5)

    def forward(self, x: Tensor) -> Any:
        """[batch, 3, size, size] -> scores and boxes at every place."""
        return self.head(list(self.backbone(x).values()))


class Unit(nn.Module):
    """Convolution, norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Channels change, the size by the stride."""
        return F.silu(self.norm(self.conv(x)))


class Stage(nn.Module):
    """One half passes by, the other goes through blocks, each of whose outcomes is kept."""

    def __init__(self, inputs: int, outputs: int, blocks: int = 1, *, around: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.around, self.first, self.last = around, Unit(inputs, outputs), Unit((2 + blocks) * half, outputs)
        self.blocks = nn.ModuleList(nn.Sequential(Unit(half, half, 3), Unit(half, half, 3)) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """The size stays."""
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]) if self.around else block(parts[-1]))
        return self.last(torch.cat(parts, 1))  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """Pooled once, twice, three times."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = Unit(width, width // 2), Unit(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Size and channels stay."""
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.last(torch.cat(parts, 1))  # type: ignore[no-any-return]


class OneStage(nn.Module):
    """A one-stage detector: boxes as distributions over distances, scores, at every place of three sizes."""

    def __init__(self, classes: int = 4, bins: int = 8) -> None:
        super().__init__()
        self.classes, self.bins, self.up = classes, bins, nn.Upsample(scale_factor=2.0)
        self.fine = nn.Sequential(
            Unit(3, 16, 3, 2), Unit(16, 32, 3, 2), Stage(32, 32), Unit(32, 64, 3, 2), Stage(64, 64, 2)
        )
        self.middle = nn.Sequential(Unit(64, 96, 3, 2), Stage(96, 96, 2))
        self.coarse = nn.Sequential(Unit(96, 128, 3, 2), Stage(128, 128), Pyramid(128))
        self.up_middle, self.up_fine = Stage(224, 96, around=False), Stage(160, 64, around=False)
        self.down_fine, self.down_middle = Unit(64, 64, 3, 2), Unit(96, 96, 3, 2)
        self.to_middle, self.to_coarse = Stage(160, 96, around=False), Stage(224, 128, around=False)
        self.boxes = nn.ModuleList(self._head(width, 4 * bins) for width in (64, 96, 128))
        self.scores = nn.ModuleList(self._head(width, classes) for width in (64, 96, 128))

    @staticmethod
    def _head(width: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(Unit(width, 32, 3), Unit(32, 32, 3), nn.Conv2d(32, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, size, size] -> [batch, 4 + classes, places]."""
        fine = self.fine(x)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        up = self.up_middle(torch.cat([self.up(coarse), middle], 1))
        first = self.up_fine(torch.cat([self.up(up), fine], 1))
        second = self.to_middle(torch.cat([self.down_fine(first), up], 1))
        third = self.to_coarse(torch.cat([self.down_middle(second), coarse], 1))
        maps = [
            torch.cat([box(y), score(y)], 1)
            for box, score, y in zip(self.boxes, self.scores, (first, second, third), strict=True)
        ]
        found = torch.cat([y.flatten(2) for y in maps], 2)
        boxes, scores = found.split((4 * self.bins, self.classes), 1)
        shares = boxes.view(len(boxes), 4, self.bins, -1).softmax(2)
        far = (shares * torch.arange(self.bins).to(x).view(1, 1, -1, 1)).sum(2)
        grids = [torch.meshgrid(*(torch.arange(n) + 0.5 for n in y.shape[2:]), indexing="ij") for y in maps]
        places = torch.cat([torch.stack(grid[::-1]).flatten(1) for grid in grids], 1).to(x)
        before, behind = far.chunk(2, 1)
        return torch.cat([places - before, places + behind, scores.sigmoid()], 1)


class Standardised(nn.Conv2d):
    """Filters of mean 0 and variance 1 over what they read, with a gain."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2)
        self.gain, self.scale = nn.Parameter(torch.ones(outputs, 1, 1, 1)), self.weight[0].numel() ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        """As a convolution."""
        rows = self.weight.reshape(1, len(self.weight), -1)
        gain = (self.gain * self.scale).view(-1)
        weight = F.batch_norm(rows, None, None, gain, training=True, eps=1e-6).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Free(nn.Module):
    """A network without norms: residual blocks with scaled activations, and gates over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = Standardised(3, 32, 3, 2), nn.Linear(64, 5)
        self.wide, self.last = Standardised(32, 48), Standardised(48, 64)
        self.inside = nn.ModuleList(
            nn.Sequential(Standardised(48, 24), nn.GELU(), Standardised(24, 48, 3)) for _ in "12"
        )
        self.squeeze = nn.ModuleList(nn.Sequential(nn.Conv2d(48, 12, 1), nn.ReLU(), nn.Conv2d(12, 48, 1)) for _ in "12")

    def forward(self, x: Tensor) -> Any:
        """[batch, 3, size, size] -> [batch, 5]."""
        x = self.wide(F.gelu(self.stem(x)))
        for inside, squeeze in zip(self.inside, self.squeeze, strict=True):
            y = inside(F.gelu(x) * 1.7)
            x = x + 0.2 * 2.0 * torch.sigmoid(squeeze(y.mean((2, 3), keepdim=True))).expand_as(y) * y
        return self.head(F.gelu(self.last(x)).mean((2, 3)))
