"""Pieces of random networks that move numbers about: views, indices, windows, sums over units, norms of buffers."""

import torch
import torch.nn.functional as F
from shrinking.zoo import Written, conv
from torch import nn

# ---- on images: [n, w, h, w] -> the same width ----


class Frozen(nn.Module):
    """A batch norm whose numbers are buffers."""

    def __init__(self, width):
        super().__init__()
        for place, name in enumerate(("weight", "bias", "running_mean", "running_var")):
            self.register_buffer(name, torch.linspace(0.5, 1.5, width).roll(place))

    def forward(self, x):
        scale = self.weight * (self.running_var + 1e-3).rsqrt()
        return x * scale.reshape(1, -1, 1, 1) + (self.bias - self.running_mean * scale).reshape(1, -1, 1, 1)


def on_images(how, **more):
    """A convolution of the piece's width, and what is done with its channels."""

    def made(w):
        return Written(lambda of, x: how(of, of["a"](x)), a=conv(w, w), **{k: make(w) for k, make in more.items()}), w

    return made


def assigned(of, h):
    y, half = torch.zeros_like(h), h.shape[1] // 2
    y[:, :half], y[:, half:] = h[:, half:], -h[:, :half]
    y[:, :, 0] = h.amax(2)
    return y


def gathered(of, h):
    y = h.gather(-1, h.argsort(-1)).index_select(2, torch.arange(h.shape[2] - 1, -1, -1))
    return y[:, :, torch.arange(h.shape[2]).roll(1)] + h.take_along_dim(torch.zeros(1, 1, 1, 1, dtype=torch.long), 2)


def scattered(of, h):
    places = torch.arange(h.shape[2]).roll(1)
    y = torch.zeros_like(h).scatter_add(2, (places // 2)[None, None, :, None].expand_as(h), h)
    return y.index_add(2, places, h).index_copy(3, places[:2], h[..., :2])


def sampled(of, h):
    places = torch.tanh(of["b"](h)).permute(0, 2, 3, 1)
    return F.grid_sample(h, places, align_corners=False) + F.interpolate(h, h.shape[2:], mode="bicubic")


def summarised(of, h):
    values, _ = h.sort(-1)
    seen = h.logsumexp((2, 3), keepdim=True) + h.std((2, 3), keepdim=True) + torch.aminmax(h, dim=3, keepdim=True)[1]
    return values.cumsum(2) * torch.sigmoid(seen) + h.topk(1, 2)[0]


def turned(of, h):
    y = torch.rot90(h.roll((1, 2), (2, 3)).flip(-1), 2, (2, 3)).movedim(1, -1).swapaxes(1, 2)
    return torch.stack(y.transpose(1, 2).movedim(-1, 1).unbind(2), 2)


def windows(of, h):
    n, _, *size = h.shape
    y = of["b"](F.unfold(h, 3, padding=1).view(n, -1, *size))
    return y + F.fold(F.unfold(h, (1, 3), padding=(0, 1)), size, (1, 3), padding=(0, 1))


def spectrum(of, h):
    return torch.fft.irfft2(torch.fft.rfft2(h) * torch.exp(torch.fft.rfft2(h).abs() * -0.1), s=h.shape[2:])


def by_sums(of, h):
    h = F.relu(h)
    lengths = h.norm(dim=(2, 3), keepdim=True)
    return F.normalize(h, dim=1) + h * (lengths / (lengths.sum(1, keepdim=True) + 1e-3)) + h / (
        h.square().sum(1, keepdim=True) + 1e-2
    ).sqrt()  # fmt: skip


def interleaved(w):
    return Written(lambda of, x: F.silu((y := of["a"](x))[:, ::2]) * y[:, 1::2], a=conv(w, 2 * w)), w


def wider(w):
    """Shortcuts with channels of zeros, as many as there are, and as many as is written down."""

    def forward(of, x):
        y = of["b"](x) + torch.cat([of["a"](x), torch.zeros_like(of["a"](x))], 1)
        return of["c"](y) + F.pad(of["a"](x), (0, 0, 0, 0, 2, 2))

    return Written(forward, a=conv(w, w), b=conv(w, 2 * w, 1), c=conv(2 * w, w + 4, 1)), w + 4


def across(w):
    """What competes or looks at its neighbours stays; what comes behind it may go."""
    layers = {"a": conv(w, w), "b": conv(w, 6, 1), "c": conv(6, w, 1)}
    return Written(lambda of, x: of["c"](of["b"](F.local_response_norm(of["a"](x), 3).softmax(1))), **layers), w


IMAGES = (
    on_images(assigned), on_images(gathered), on_images(scattered), on_images(summarised), on_images(turned),
    on_images(sampled, b=lambda w: conv(w, 2, 1)), on_images(windows, b=lambda w: conv(9 * w, w, 1)),
    on_images(spectrum), on_images(by_sums), interleaved, wider, across,
    on_images(lambda of, h: of["n"](h), n=Frozen),
    on_images(lambda of, h: h * torch.sigmoid(of["b"](h.mean((2, 3), keepdim=True))).expand_as(h),
              b=lambda w: conv(w, w, 1)),
    on_images(lambda of, h: h.flatten(2).softmax(-1).view_as(h) * h.flatten(1).reshape_as(h)),
    on_images(lambda of, h: F.max_unpool2d(*F.max_pool2d(h, 1, return_indices=True), 1).to(torch.float64)),
    on_images(lambda of, h: F.pixel_shuffle(of["b"](F.pixel_unshuffle(F.pad(h, (0, 1, 0, 1))[..., :2, :2], 2)), 2).mean(
        (2, 3), keepdim=True) * h, b=lambda w: conv(4 * w, 4 * w, 1)),
    on_images(lambda of, h: torch.mul(*torch.broadcast_tensors(h, torch.hstack([*h.tensor_split(2, 1)]).mean(
        2, keepdim=True)))),
)  # fmt: skip


# ---- on sequences: [n, t, w] -> the same ----


def on_sequences(how, inside=10, **more):
    """There and back, and what is done with the units between."""

    def made(w):
        layers = {name: make(w) for name, make in more.items()}
        return Written(lambda of, x: of["out"](how(of, of["in"](x), x)),
                       **{"in": nn.Linear(w, inside), "out": nn.Linear(inside, w)}, **layers)  # fmt: skip

    return made


def scan(of, u, x):
    """Selective scan, step by step, from nothing."""
    given, state, steps = of["b"](x), 0, []
    for t in range(u.shape[1]):
        state = torch.exp(-of["decay"].exp()) * state + u[:, t, :, None] * given[:, t, None]
        steps.append(state.sum(-1))
    return torch.stack(steps, 1)


def scan_from_zeros(of, u, x):
    """Selective scan as in Mamba: the step's length from the input, its outcome read by the input."""
    given, read = of["b"](x), of["c"](x)
    length = F.softplus(of["d"](u))
    decay = torch.exp(length[..., None] * -of["decay"].exp())
    state, steps = torch.zeros(u.shape[0], u.shape[2], given.shape[2], dtype=u.dtype), []
    for t in range(u.shape[1]):
        state = decay[:, t] * state + (length[..., None] * given[:, :, None] * u[..., None])[:, t]
        steps.append((state @ read[:, t, :, None])[..., 0])
    return torch.stack(steps, 1) + u * of["skip"]


def scan_by_sums(of, u, x):
    sums = (-F.softplus(of["d"](u))).cumsum(1)
    return sums.exp() * (u * (-sums).exp()).cumsum(1)


def placed(of, u, x):
    order = torch.arange(u.shape[1] - 1, -1, -1)
    y = torch.zeros_like(u).index_copy(1, order, u)
    y[:, torch.tensor([0, 2])] = u[:, :2]
    y = torch.where(x[..., :1] > 0, y, u.masked_fill(x[..., :1] > 1, 0.0))
    y[:, -1] = u.scatter(1, torch.zeros_like(u[:, :1], dtype=torch.long), u)[torch.arange(len(u)), order[: len(u)]]
    return y


def shifted(of, u, x):
    return u + F.pad(u, (0, 0, 1, 0))[:, :-1] * of["g"] + torch.ones(u.shape[1], u.shape[1]).to(u).tril() @ u


def vector(size):
    return lambda w: nn.Parameter(torch.ones(size))


SEQUENCES = {
    "scan": on_sequences(scan, b=lambda w: nn.Linear(w, 4), decay=lambda w: nn.Parameter(torch.zeros(10, 1))),
    "scan from zeros": on_sequences(
        scan_from_zeros, b=lambda w: nn.Linear(w, 4), c=lambda w: nn.Linear(w, 4), d=lambda w: nn.Linear(10, 10),
        decay=lambda w: nn.Parameter(torch.zeros(10, 1)), skip=vector(10),
    ),
    "scan by sums": on_sequences(scan_by_sums, d=lambda w: nn.Linear(10, 10)),
    "placed": on_sequences(placed),
    "shifted": on_sequences(shifted, g=vector(10)),
    "waves": on_sequences(lambda of, u, x: torch.fft.irfft(torch.fft.rfft(u, dim=1), n=u.shape[1], dim=1).diff(
        dim=1, n=1).repeat_interleave(2, 1)[:, : u.shape[1]]),
    "normalised": on_sequences(lambda of, u, x: F.normalize(F.gelu(u), dim=-1)),
    "alike": on_sequences(lambda of, u, x: u * F.cosine_similarity(u, torch.tanh(of["b"](x)), -1)[..., None],
                          b=lambda w: nn.Linear(w, 10)),
    "outer": on_sequences(lambda of, u, x: (u[..., None] * of["b"](x)[..., None, :]).sum(-1),
                          b=lambda w: nn.Linear(w, 3)),
}  # fmt: skip
