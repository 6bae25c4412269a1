"""Small networks of each kind that people prune, each with an example of its input."""

import torch
import torch.nn.functional as F
from torch import nn


def _numbers(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3))


class Block(nn.Module):
    """A residual block with norms."""

    def __init__(self, width, inner):
        super().__init__()
        self.a, self.norm_a = nn.Conv2d(width, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.b, self.norm_b = nn.Conv2d(inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(x + self.norm_b(self.b(F.relu(self.norm_a(self.a(x))))))


def residual():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), Block(16, 24), Block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 5),
    ), _numbers(2, 3, 8, 8)  # fmt: skip


def groups():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.GroupNorm(4, 32), nn.ReLU(), nn.Conv2d(32, 64, 3, groups=2), nn.ReLU(),
        nn.Conv2d(64, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 5),
    ), _numbers(2, 3, 8, 8)  # fmt: skip


class UNet(nn.Module):
    """Down, up, and a way across."""

    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.up, self.join = nn.ConvTranspose2d(32, 16, 2, 2), nn.Conv2d(32, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        across = F.relu(self.down(x))
        x = F.relu(self.deep(F.max_pool2d(across, 2)))
        return self.out(F.relu(self.join(torch.cat([across, F.relu(self.up(x))], 1))))


def unet():
    return UNet(), _numbers(2, 3, 8, 8)


class Recurrent(nn.Module):
    """Tokens through a recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.tokens, self.layer = nn.Embedding(20, 16), layer
        self.answer = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), 4)

    def forward(self, x):
        return self.answer(self.layer(self.tokens(x))[0][:, -1])


def lstm():
    return Recurrent(nn.LSTM(16, 32, 2, batch_first=True, bidirectional=True)), torch.arange(10).view(2, 5)


def gru():
    return Recurrent(nn.GRU(16, 32, batch_first=True)), torch.arange(10).view(2, 5)


def encoder():
    layer = nn.TransformerEncoderLayer(32, 4, 128, dropout=0.0, batch_first=True)
    return nn.Sequential(
        nn.Linear(8, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 4)
    ), _numbers(2, 5, 8)


class Named(nn.Module):
    """Two inputs, by name."""

    def __init__(self):
        super().__init__()
        self.image, self.size, self.answer = nn.Linear(12, 32), nn.Linear(2, 32), nn.Linear(32, 3)

    def forward(self, image, *, size):
        return {"answer": self.answer(F.relu(self.image(image.flatten(1)) + self.size(size)))}


def named():
    return Named(), {"image": _numbers(2, 3, 2, 2), "size": _numbers(2, 2)}


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=40, n_positions=16, bos_token_id=0, eos_token_id=1)
    return GPT2LMHeadModel(config), {"input_ids": torch.arange(8)[None]}


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(num_hidden_layers=2, num_attention_heads=4, hidden_size=32, intermediate_size=96, vocab_size=40)
    return BertForSequenceClassification(config), {"input_ids": torch.arange(8)[None]}


def lightning():
    import lightning

    class Lit(lightning.LightningModule):
        """A module of Lightning, which keeps what it was made with."""

        def __init__(self, width=32):
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(
                nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                nn.Linear(4 * width, 5),
            )  # fmt: skip

        def forward(self, x):
            return self.net(x)

    return Lit(), _numbers(2, 3, 8, 8)


OURS = {make.__name__: make for make in (residual, groups, unet, lstm, gru, encoder, named)}
THEIRS = {make.__name__: make for make in (gpt2, bert, lightning)}
FROM = {"gpt2": "transformers", "bert": "transformers", "lightning": "lightning"}


def made(name, seed=0):
    """The network with random numbers, statistics of norms too, and its example."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, example = (OURS | THEIRS)[name]()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 1.5)
    return model, example
