"""Random networks on images: pieces one after another, each a way in which channels hang together."""

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from random_moves import IMAGES
from torch import nn
from zoo import Written, conv


def plain(w):
    return Written(lambda of, x: of["a"](x), a=conv(w, w + 4)), w + 4


def residual(w):
    return Written(lambda of, x: x + of["b"](torch.tanh(of["a"](x))), a=conv(w, w), b=conv(w, w, 1)), w


def dense(w):
    return Written(lambda of, x: torch.cat([x, of["a"](x)], 1), a=conv(w, 4)), w + 4


def branches(w):
    def forward(of, x):
        return torch.cat([of["a"](x), of["c"](F.relu(of["b"](x))), F.avg_pool2d(x, 3, 1, 1)], 1)

    return Written(forward, a=conv(w, 4, 1), b=conv(w, 6, 1), c=conv(6, 4)), w + 8


def cross_stage(w):
    """One half passes by."""

    def forward(of, x):
        one, two = x.chunk(2, 1)
        return of["b"](torch.cat([one, F.silu(of["a"](two))], 1))

    return Written(forward, a=conv(w // 2, w // 2), b=conv(w, w, 1)), w


def halves(w):
    def forward(of, x):
        one, two = x.split(x.shape[1] // 2, 1)
        return of["a"](one) * torch.sigmoid(of["b"](two))

    return Written(forward, a=conv(w // 2, w), b=conv(w // 2, w, 1)), w


def separable(w):
    return Written(lambda of, x: of["b"](F.relu(of["a"](x))), a=conv(w, w, groups=w), b=conv(w, w, 1)), w


def inverted(w):
    """Wide inside, where every channel is alone, twice of it; around it a shortcut."""

    def forward(of, x):
        return x + of["c"](F.relu6(of["b"](F.relu6(of["n"](of["a"](x))))))

    layers = {"a": conv(w, 12, 1), "n": nn.BatchNorm2d(12), "b": conv(12, 24, groups=12), "c": conv(24, w, 1)}
    return Written(forward, **layers), w


def grouped(w):
    return Written(lambda of, x: of["a"](x), a=conv(w, w, groups=2)), w


def shuffle(w):
    def forward(of, x):
        n, c, h, w = x.shape
        return of["a"](x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))

    return Written(forward, a=conv(w, w, groups=2)), w


def shuffled_by_torch(w):
    return Written(lambda of, x: of["b"](F.channel_shuffle(of["a"](x), 2)), a=conv(w, 8, groups=4), b=conv(8, w)), w


def excite(w):
    def forward(of, x):
        return of["a"](x) * torch.sigmoid(of["c"](F.relu(of["b"](x.mean((2, 3), keepdim=True)))))

    return Written(forward, a=conv(w, w), b=conv(w, 4, 1), c=conv(4, w, 1)), w


def somewhere(w):
    """A map over all channels says where."""
    return Written(lambda of, x: of["a"](x) * torch.sigmoid(of["b"](x)), a=conv(w, w), b=conv(w, 1)), w


def scaled(w):
    scale = nn.Parameter(torch.ones(w, 1, 1))
    return Written(lambda of, x: x + of["scale"] * of["a"](x), a=conv(w, w), scale=scale), w


def twice(w):
    """One layer's weights, one application after another."""
    return Written(lambda of, x: of["a"](torch.tanh(of["a"](x))), a=conv(w, w)), w


def siamese(w):
    """One layer's weights on two inputs."""
    return Written(lambda of, x: of["a"](x) + of["a"](x.flip(-1)), a=conv(w, w)), w


def attended(w):
    """Every pixel looks at all others, in two heads."""

    def forward(of, x):
        q, k, v = (y.flatten(2).unflatten(1, (2, -1)).transpose(2, 3) for y in of["qkv"](x).chunk(3, 1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).flatten(1, 2)
        return x + of["o"](y.unflatten(-1, x.shape[2:]))

    return Written(forward, qkv=conv(w, 24, 1), o=conv(8, w, 1)), w


def up(w):
    return Written(lambda of, x: of["a"](x), a=nn.ConvTranspose2d(w, w + 4, 3, padding=1)), w + 4


def up_in_groups(w):
    return Written(lambda of, x: of["a"](x), a=nn.ConvTranspose2d(w, w, 3, padding=1, groups=2)), w


def pool(w):
    return Written(lambda of, x: F.max_pool2d(of["a"](x), 2), a=conv(w, w)), w


def down_and_up(w):
    """What is seen coarsely goes beside what is seen finely."""

    def forward(of, x):
        coarse = of["b"](F.relu(of["a"](x)))
        return torch.cat([F.interpolate(coarse, x.shape[2:]), x], 1)

    return Written(forward, a=conv(w, 6, stride=2), b=conv(6, 4)), w + 4


def pixels(w):
    return Written(lambda of, x: F.pixel_shuffle(of["a"](x), 2), a=conv(w, w * 4)), w


PIECES = (
    plain, residual, dense, branches, cross_stage, halves, separable, inverted, grouped, shuffle, shuffled_by_torch,
    excite, somewhere, scaled, twice, siamese, attended, up, up_in_groups, pool, down_and_up, pixels, *IMAGES,
)  # fmt: skip
GROWN = {pool: 0.5, pixels: 2}  # pixels a side for one before
NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": lambda width: nn.InstanceNorm2d(width, affine=True, track_running_stats=True),
    "group": lambda width: nn.GroupNorm(4, width),
    "none": lambda width: nn.Identity(),
}
SLOPES = {"relu": lambda width: nn.ReLU(), "silu": lambda width: nn.SiLU(), "prelu": nn.PReLU}


class Images(nn.Module):
    """Pieces, a norm and an activation behind each, then pooled or flattened into a linear answer.

    `helped`: a head of its own in training.
    """

    def __init__(self, pieces, width, norm, slope, flatten, *, helped=False):
        super().__init__()
        self.stem, self.pieces, size = conv(3, width), nn.Sequential(), 8
        for piece in pieces:
            made, width = piece(width)
            self.pieces.extend([made, NORMS[norm](width), SLOPES[slope](width)])
            size = int(size * GROWN.get(piece, 1))
        self.flatten, self.head = flatten, nn.Linear(width * size * size if flatten else width, 3)
        self.aux = nn.Linear(width, 3) if helped else None

    def forward(self, x):
        x = self.pieces(self.stem(x))
        if self.training and self.aux is not None:
            return self.aux(x.amax((2, 3)))
        return self.head(x.flatten(1) if self.flatten else x.mean((2, 3)))


def fits(pieces):
    """Neither all too many pixels nor none."""
    return pieces.count(pixels) < 2 and pieces.count(pool) < 4


networks = st.builds(
    Images,
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).filter(fits),
    st.sampled_from([8, 16]),
    st.sampled_from([*NORMS]),
    st.sampled_from([*SLOPES]),
    st.booleans(),
    helped=st.booleans(),
)
