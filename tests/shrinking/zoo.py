"""Small networks, one for each way in which layers hang together."""

import torch
import torch.nn.functional as F
from torch import nn


class Written(nn.Module):
    """Layers by name, and a forward that says how they hang together."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.layers = nn.ModuleDict({n: layer for n, layer in layers.items() if isinstance(layer, nn.Module)})
        self.bare = nn.ParameterDict({n: p for n, p in layers.items() if isinstance(p, nn.Parameter)})
        self.how = forward

    def forward(self, *inputs):
        return self.how({**self.layers, **self.bare}, *inputs)


def settled(model, seed=0):
    """Float64, evaluation mode, and statistics that are not 0 and 1, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            fresh = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(fresh / max(1, parameter[0].numel()) ** 0.5)
    return model


def image(channels=3, size=8, count=2):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def flat(width, count=3):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def conv(i, o, k=3, **options):
    return nn.Conv2d(i, o, k, padding=k // 2, **options)


def mlp():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4)), flat(5)


def plain():
    return nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), conv(6, 4), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(16, 5), nn.Dropout(0.5), nn.Linear(5, 3),
    ), image()  # fmt: skip


def residual():
    def forward(of, x):
        x = of["stem"](x)
        x = F.relu(x + of["b"](F.relu(of["bn"](of["a"](x)))))
        x = F.relu(of["d"](F.relu(of["c"](x))) + of["side"](x))
        return of["head"](x.mean((2, 3)))

    return Written(forward, stem=conv(3, 6), a=conv(6, 5), bn=nn.BatchNorm2d(5), b=conv(5, 6), c=conv(6, 4),
                   d=conv(4, 8), side=conv(6, 8, 1), head=nn.Linear(8, 3)), image()  # fmt: skip


def concat():
    def forward(of, x):
        a, b = of["a"](x), of["b"](x)
        return of["head"](F.relu(of["c"](torch.cat([a, b], 1))).flatten(1))

    return Written(forward, a=conv(3, 4), b=conv(3, 5), c=conv(9, 6), head=nn.Linear(6 * 64, 3)), image()


def split():
    def forward(of, x):
        left, right = of["a"](x).chunk(2, 1)
        return of["head"]((of["b"](left) * torch.sigmoid(of["c"](right))).mean((2, 3)))

    return Written(forward, a=conv(3, 8), b=conv(4, 5), c=conv(4, 5), head=nn.Linear(5, 3)), image()


def separable():
    def forward(of, x):
        x = F.relu(of["bn"](of["deep"](of["a"](x))))
        return of["head"](F.hardswish(of["twice"](of["point"](x))).amax((2, 3)))

    return Written(forward, a=conv(3, 6), deep=conv(6, 6, groups=6), bn=nn.BatchNorm2d(6), point=conv(6, 5, 1),
                   twice=conv(5, 10, groups=5), head=nn.Linear(10, 3)), image()  # fmt: skip


def grouped():
    def forward(of, x):
        x = F.leaky_relu(of["mid"](of["a"](x)))
        return of["head"](of["b"](x).mean((2, 3)))

    return Written(forward, a=conv(3, 8), mid=conv(8, 12, groups=2), b=conv(12, 4, 1), head=nn.Linear(4, 3)), image()


def squeeze_excite():
    def forward(of, x):
        x = F.relu(of["a"](x))
        gate = torch.sigmoid(of["up"](F.relu(of["down"](F.adaptive_avg_pool2d(x, 1)))))
        return of["head"](of["b"](x * gate).mean((2, 3)))

    return Written(
        forward, a=conv(3, 8), down=conv(8, 4, 1), up=conv(4, 8, 1), b=conv(8, 5), head=nn.Linear(5, 3)
    ), image()


def shuffle():
    def forward(of, x):
        x = of["a"](x)
        b, c, h, w = x.shape
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        return of["head"](of["b"](of["mid"](x)).mean((2, 3)))

    return Written(forward, a=conv(3, 8), mid=conv(8, 8, groups=2), b=conv(8, 4, 1), head=nn.Linear(4, 3)), image()


def shared():
    def forward(of, x):
        x = of["same"](F.relu(of["same"](F.relu(of["a"](x)))))
        return of["head"](x)

    return Written(forward, a=nn.Linear(5, 6), same=nn.Linear(6, 6), head=nn.Linear(6, 3)), flat(5)


def dense():
    def forward(of, x):
        x = of["stem"](x)
        for n in range(3):
            x = torch.cat([x, of[f"c{n}"](F.relu(of[f"bn{n}"](x)))], 1)
        return of["head"](F.avg_pool2d(F.relu(of["bn"](x)), 4).flatten(1))

    layers = {f"c{n}": conv(6 + 4 * n, 4) for n in range(3)}
    norms = {f"bn{n}": nn.BatchNorm2d(6 + 4 * n) for n in range(3)}
    return Written(
        forward, stem=conv(3, 6), bn=nn.BatchNorm2d(18), head=nn.Linear(18 * 4, 3), **layers, **norms
    ), image()


def unet():
    def forward(of, x):
        one = F.relu(of["one"](x))
        two = F.relu(of["two"](F.max_pool2d(one, 2)))
        up = of["up"](two)
        near = F.interpolate(of["narrow"](two), scale_factor=2.0)
        return of["out"](F.relu(of["join"](torch.cat([one, up, near], 1))))

    return Written(forward, one=conv(3, 4), two=conv(4, 6), up=nn.ConvTranspose2d(6, 5, 2, 2), narrow=conv(6, 2, 1),
                   join=conv(11, 6), out=conv(6, 2, 1)), image()  # fmt: skip


def conv1d():
    return nn.Sequential(
        nn.Conv1d(2, 6, 3, padding=1, padding_mode="circular"), nn.InstanceNorm1d(6, affine=True), nn.PReLU(6),
        nn.Conv1d(6, 4, 3, padding="same"), nn.GELU(), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(8, 3),
    ), torch.randn(2, 2, 9, generator=torch.Generator().manual_seed(7), dtype=torch.float64)  # fmt: skip


def pixels():
    def forward(of, x):
        x = F.pixel_shuffle(of["a"](x), 2)
        return of["out"](F.relu(of["b"](F.pad(x, (1, 1, 1, 1)))))

    return Written(forward, a=conv(3, 16), b=conv(4, 6), out=conv(6, 2, 1)), image()


def gated():
    def forward(of, x):
        return of["head"](F.glu(of["a"](x)) * 0.5 + of["shift"])

    return Written(forward, a=nn.Linear(5, 12), shift=nn.Parameter(torch.zeros(1, 6)), head=nn.Linear(6, 3)), flat(5)


def decoder():
    def forward(of, x):
        x = of["a"](x)
        x = x.view(x.shape[0], -1, 4, 4)
        return of["out"](F.relu(of["up"](x)))

    return Written(forward, a=nn.Linear(5, 96), up=nn.ConvTranspose2d(6, 4, 2, 2), out=conv(4, 2, 1)), flat(5)


def blocks():
    """One matrix for both halves: a position goes in both."""

    def forward(of, x):
        return of["head"](F.relu(of["mix"](of["a"](x).view(x.shape[0], 2, -1)).flatten(1)))

    return Written(forward, a=nn.Linear(5, 6), mix=nn.Linear(3, 4), head=nn.Linear(8, 3)), flat(5)


# every network, and the units of its sites: worked out by hand
ZOO = {
    mlp: {"0": 8, "2": 6},
    plain: {"0": 6, "4": 4, "8": 5},
    residual: {"layers.stem": 6, "layers.a": 5, "layers.c": 4, "layers.d": 8},
    concat: {"layers.a": 4, "layers.b": 5, "layers.c": 6},
    split: {"layers.a": 4, "layers.b": 5},
    separable: {"layers.a": 6, "layers.point": 5},
    grouped: {"layers.a": 4, "layers.mid": 6, "layers.b": 4},
    squeeze_excite: {"layers.a": 8, "layers.down": 4, "layers.b": 5},
    shuffle: {"layers.a": 2, "layers.mid": 4, "layers.b": 4},
    shared: {"layers.a": 6},
    dense: {"layers.stem": 6, "layers.c0": 4, "layers.c1": 4, "layers.c2": 4},
    unet: {"layers.one": 4, "layers.two": 6, "layers.up": 5, "layers.narrow": 2, "layers.join": 6},
    conv1d: {"0": 6, "3": 4},
    pixels: {"layers.a": 4, "layers.b": 6},
    gated: {"layers.a": 6},
    decoder: {"layers.a": 6, "layers.up": 4},
    blocks: {"layers.a": 3, "layers.mix": 4},
}


def built(make):
    """(model, example) of one of the zoo, in float64."""
    model, example = make()
    return settled(model), example
