"""Models of other people's, as their packages make them, and the walk through `prune` that each takes unchanged.

`python tests/export/others.py FOLDER NAME ...` walks in a process of its own and prints {name: what was seen} as JSON:
torchvision's wheel for this torch needs operators declared before it can be imported, which no other test should see.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

import sapwood
from sapwood.measure.example import as_tuple, call

ZOO = Path(sys.prefix) / "zoo"  # where `make .venv/zoo` puts torchvision and timm: beside the environment, not in it
WORDS = {"input_ids": torch.arange(24).view(2, 12) % 11, "attention_mask": torch.ones(2, 12, dtype=torch.long)}
SMALL = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}


def walk(make, folder):
    """Half of the multiply-adds go; what is left is equal, trains on, is saved, loaded and answers alike in ONNX."""
    torch.manual_seed(0)
    model, example = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    step(model, optimizer, example)
    pruned = sapwood.prune(model, example, macs=0.5, optimizer=optimizer, timing=0.2)
    trained = [step(pruned.model, pruned.optimizer, example) for _ in range(2)]
    small = pruned.model.eval()
    sapwood.export.save(small, folder / "small.safetensors", of=model)
    again = sapwood.export.load(folder / "small.safetensors", lambda: make()[0]).eval()
    onnx = sapwood.export.to_onnx(small, example, folder / "small.onnx")
    same = all(map(torch.equal, answers(small, example), answers(again, example)))
    left = pruned.after.macs / pruned.before.macs
    return {
        "left": left,
        "apart": pruned.difference,
        "trained": trained,
        "same": same,
        "onnx": onnx,
        "table": str(pruned),
    }


def step(model, optimizer, example):
    """One step of training; whether every parameter that had a gradient has memory in the optimiser."""
    optimizer.zero_grad()
    sum(y.square().mean() for y in answers(model.train(), example) if y.requires_grad).backward()
    optimizer.step()
    used = [p for p in model.parameters() if p.grad is not None]
    return bool(used) and all(optimizer.state[p]["momentum_buffer"].shape == p.shape for p in used)


def answers(model, example):
    """The tensors that a network answers with; Hugging Face's in their order."""
    answer = call(model, as_tuple(example))
    leaves = pytree.tree_leaves(answer.to_tuple() if hasattr(answer, "to_tuple") else answer)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def pixels(size, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def torchvision_squeezenet():
    from torchvision.models import squeezenet1_1

    return squeezenet1_1(num_classes=10), pixels(32)


def timm_resnet():
    import timm

    return timm.create_model("test_resnet", num_classes=10), pixels(32)


def detector():
    """A one-stage detector without the choosing among overlapping boxes, which has no gradient and no weights."""
    from torchvision.models.detection.fcos import FCOSHead

    class Boxes(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(Twice(3, 32), nn.MaxPool2d(2), Twice(32, 64), nn.MaxPool2d(2))
            self.head = FCOSHead(64, num_anchors=1, num_classes=3, num_convs=2)

        def forward(self, x):
            fine = self.body(x)
            return self.head([fine, F.max_pool2d(fine, 2)])

    return Boxes(), pixels(32)


def vision_transformer():
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(**SMALL, image_size=32, patch_size=8)), {"pixel_values": pixels(32)}


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**SMALL, vocab_size=64, num_key_value_heads=2)), WORDS


class Tagger(nn.Module):
    """Words through a recurrent layer in both directions, a label for each."""

    def __init__(self, words=100, labels=9):
        super().__init__()
        self.words, self.drop = nn.Embedding(words, 32, padding_idx=0), nn.Dropout(0.3)
        self.recurrent = nn.LSTM(32, 64, num_layers=2, batch_first=True, bidirectional=True, dropout=0.2)
        self.labels = nn.Linear(128, labels)

    def forward(self, words):
        return self.labels(self.recurrent(self.drop(self.words(words)))[0])


def tagger():
    return Tagger(), WORDS["input_ids"]


class Twice(nn.Sequential):
    """Two convolutions, each with a norm."""

    def __init__(self, inputs, outputs):
        layers = ((nn.Conv2d(of, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
                  for of in (inputs, outputs))  # fmt: skip
        super().__init__(*(layer for three in layers for layer in three))


class UNet(nn.Module):
    """Down twice and up again, what was there before beside what comes back, padded where sizes are odd."""

    def __init__(self, width=16, classes=2):
        super().__init__()
        self.one, self.two, self.deep = Twice(3, width), Twice(width, 2 * width), Twice(2 * width, 4 * width)
        self.up_two, self.up_one = (nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in (2 * width, width))
        self.back_two, self.back_one = Twice(4 * width, 2 * width), Twice(2 * width, width)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        up = self.back_two(beside(two, self.up_two(self.deep(F.max_pool2d(two, 2)))))
        return self.out(self.back_one(beside(one, self.up_one(up))))


def beside(across, up):
    down, right = (across.size(dim) - up.size(dim) for dim in (2, 3))
    return torch.cat([across, F.pad(up, [right // 2, right - right // 2, down // 2, down - down // 2])], 1)


def unet():
    return UNet(), pixels(37, 1)


def lightning_module():
    import lightning

    class Lit(lightning.LightningModule):
        def __init__(self, width=32, lr=1e-3):
            super().__init__()
            self.save_hyperparameters()
            self.loss = nn.CrossEntropyLoss()
            self.body = nn.Sequential(
                Twice(3, width), nn.MaxPool2d(2), Twice(width, 2 * width), nn.AdaptiveAvgPool2d(1)
            )
            self.head = nn.Linear(2 * width, 10)

        def forward(self, x):
            return self.head(self.body(x).flatten(1))

        def training_step(self, batch, index):
            return self.loss(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), self.hparams.lr)

    return Lit(), pixels(16)


IN_THE_ZOO = {make.__name__: make for make in (torchvision_squeezenet, timm_resnet, detector)}
INSTALLED = {"vision_transformer": "transformers", "llama": "transformers", "lightning_module": "lightning"}
HERE = {make.__name__: make for make in (vision_transformer, llama, tagger, unet, lightning_module)}


def declared():
    """Torchvision's operators by name, for a wheel built for other hardware: its models need none of them."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.path.append(str(ZOO))
    library = declared()
    print(json.dumps({name: walk(IN_THE_ZOO[name], Path(sys.argv[1])) for name in sys.argv[2:]}))
