"""Blocks of well-known networks: what can go is exact, what cannot is pinned by the operator that says so."""

import pytest
import torch
import torch.nn.functional as F
from test_shrink import half
from torch import nn
from zoo import Written, conv, flat, image, settled

from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import shrink


def tokens(width, count=5):
    return torch.randn(2, count, width, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def convnext():
    """Layer norm over the stream's channels pins them; the inner width is free."""

    def forward(of, x):
        x = of["stem"](x)
        y = F.gelu(of["up"](of["norm"](of["deep"](x).permute(0, 2, 3, 1))))
        return of["head"]((x + (of["scale"] * of["lower"](y)).permute(0, 3, 1, 2)).mean((2, 3)))

    return Written(forward, stem=nn.Conv2d(3, 8, 2, 2), deep=conv(8, 8, groups=8), norm=nn.LayerNorm(8),
                   up=nn.Linear(8, 16), lower=nn.Linear(16, 8), scale=nn.Parameter(torch.ones(8)),
                   head=nn.Linear(8, 3)), image()  # fmt: skip


def shufflenet():
    """Half of the channels pass by and all are shuffled, twice: in the end they all hang together."""

    def forward(of, x):
        x = of["stem"](x)
        for _ in range(2):
            one, two = x.chunk(2, 1)
            x = torch.cat([one, F.relu(of["c"](of["b"](F.relu(of["a"](two)))))], 1)
            n, c, h, w = x.shape
            x = x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return of["head"](x.mean((2, 3)))

    return Written(forward, stem=conv(3, 8), a=conv(4, 4, 1), b=conv(4, 4, groups=4), c=conv(4, 4, 1),
                   head=nn.Linear(8, 3)), image()  # fmt: skip


def mixer():
    """Mixing positions keeps the channels' dimension, mixing channels that of positions: only the insides are free."""

    def forward(of, x):
        x = of["stem"](x)
        x = x + of["t2"](F.gelu(of["t1"](x.transpose(1, 2)))).transpose(1, 2)
        return of["head"]((x + of["c2"](F.gelu(of["c1"](x)))).mean(1))

    return Written(forward, stem=nn.Linear(4, 6), t1=nn.Linear(5, 7), t2=nn.Linear(7, 5), c1=nn.Linear(6, 9),
                   c2=nn.Linear(9, 6), head=nn.Linear(6, 3)), tokens(4)  # fmt: skip


def padded_shortcut():
    """Channels added as zeros by a written number: those that meet them stay, the others may go."""

    def forward(of, x):
        x = F.relu(of["a"](x))
        x = F.relu(of["b"](x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        return of["head"]((x + of["d"](F.relu(of["c"](x)))).mean((2, 3)))

    return Written(forward, a=conv(3, 4), b=nn.Conv2d(4, 8, 3, 2, 1), c=conv(8, 5), d=conv(5, 8),
                   head=nn.Linear(8, 3)), image()  # fmt: skip


def encoder():
    def forward(of, x):
        return of["head"](of["block"](of["stem"](x))[:, 0])

    return Written(forward, stem=nn.Linear(5, 8), block=nn.TransformerEncoderLayer(8, 2, 12, batch_first=True),
                   head=nn.Linear(8, 3)), tokens(5)  # fmt: skip


def attention():
    def forward(of, x):
        q, k, v = (of[n](x).view(*x.shape[:2], 2, 4).transpose(1, 2) for n in "qkv")
        x = of["o"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return of["head"](F.relu(of["up"](x)))

    return Written(forward, q=nn.Linear(5, 8), k=nn.Linear(5, 8), v=nn.Linear(5, 8), o=nn.Linear(8, 8),
                   up=nn.Linear(8, 12), head=nn.Linear(12, 3)), tokens(5)  # fmt: skip


def recurrent():
    def forward(of, x):
        return of["head"](F.relu(of["b"](of["lstm"](of["a"](x))[0][:, -1])))

    return Written(forward, a=nn.Linear(5, 6), lstm=nn.LSTM(6, 4, batch_first=True), b=nn.Linear(4, 6),
                   head=nn.Linear(6, 3)), tokens(5)  # fmt: skip


def weight_norm():
    def forward(of, x):
        return of["head"](F.relu(of["b"](F.relu(of["a"](x)))))

    return Written(forward, a=nn.utils.parametrizations.weight_norm(nn.Linear(5, 8)), b=nn.Linear(8, 6),
                   head=nn.Linear(6, 3)), flat(5)  # fmt: skip


def maps():
    """Scales, positions, a spatial gate and a threshold."""

    def forward(of, x):
        x = F.relu(of["a"](x) * of["scale"] + of["place"])
        x = x * torch.sigmoid(of["where"](x))
        x = torch.where(x > 0.1, x, torch.zeros((), dtype=x.dtype))
        return of["head"](F.adaptive_max_pool2d(of["b"](x), 4).reshape(x.size(0), -1))

    bare = {"scale": nn.Parameter(torch.ones(6, 1, 1)), "place": nn.Parameter(torch.ones(1, 6, 8, 8))}
    return Written(forward, a=conv(3, 6), where=conv(6, 1), b=conv(6, 5), head=nn.Linear(80, 3), **bare), image()


def volumes():
    """Three dimensions; transposed convolutions one by one and in groups."""

    def forward(of, x):
        return of["out"](F.elu(of["up"](F.max_pool3d(of["deep"](of["a"](x)), 2))))

    return Written(forward, a=nn.Conv3d(2, 6, 3, padding=1), deep=nn.ConvTranspose3d(6, 6, 2, 2, groups=6),
                   up=nn.ConvTranspose3d(6, 4, 2, 2, groups=2), out=nn.Conv3d(4, 2, 1)), torch.randn(
        1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64
    )  # fmt: skip


def two_uses():
    """Tied autoencoder: each weight makes units by its rows and reads them by the same rows; these go in both."""

    def forward(of, x):
        return F.relu(of["b"](F.relu(of["a"](x))) @ of["b"].weight) @ of["a"].weight

    return Written(forward, a=nn.Linear(5, 8), b=nn.Linear(8, 6)), flat(5)


# the sites, and {module: word of the reason why it is pinned}
NETWORKS = {
    convnext: ({"layers.up": 16}, {"layers.stem": "aten.layer_norm", "layers.lower": "aten.layer_norm"}),
    shufflenet: ({"layers.a": 4}, dict.fromkeys(("layers.stem", "layers.c"), "sits where it does after aten.")),
    mixer: ({"layers.t1": 7, "layers.c1": 9}, {"layers.stem": "keeps the dimension", "layers.t2": "aten.linear"}),
    padded_shortcut: ({"layers.a": 4, "layers.c": 5}, {"layers.b": "aten.add", "layers.d": "aten.add"}),
    encoder: ({"layers.block.self_attn": 2, "layers.block.linear1": 12}, {"layers.stem": "layer_norm"}),
    attention: ({"layers.o": 8, "layers.up": 12}, dict.fromkeys(
        ("layers.q", "layers.k"), "aten.scaled_dot_product_attention multiplies units"
    ) | {"layers.v": "a size may be written into aten.view"}),
    recurrent: ({"layers.a": 6, "layers.lstm": 4, "layers.b": 6}, {}),
    weight_norm: ({"layers.a": 8, "layers.b": 6}, {}),
    maps: ({"layers.a": 6, "layers.b": 5}, {}),
    volumes: ({"layers.a": 3, "layers.up": 2}, {}),
    two_uses: ({"layers.a": 8, "layers.b": 6}, {}),
}  # fmt: skip


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_what_can_go_goes_exactly_and_the_rest_has_a_reason(make, unchanged):
    model, example = make()
    model = settled(model) if make is not weight_norm else model.double().eval()
    unchanged(model)
    found = couplings(model, example)
    units, reasons = NETWORKS[make]
    assert {site.name: site.units for site in found.sites} == units
    for name, word in reasons.items():
        assert any(word in pinned.because for pinned in found.pinned if pinned.name == name), (name, found.pinned)
    for seed in range(3):
        assert shrink(model, half(found.sites, seed), found.sites, example=example).difference < 1e-13
