"""Random networks of products: einsums of every form, weights computed from weights, attention to something else.

Every piece has ordinary layers around it that make units and read them, or a scale with a number for each. So the
network in which units count as 0 needs no knowledge of what is in between: what these layers make and read is masked.
"""

import warnings
from contextlib import ExitStack, contextmanager
from copy import deepcopy

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils import spectral_norm as older_spectral_norm
from torch.nn.utils import weight_norm as older_weight_norm
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from zoo import Written

from sapwood.shrinking.cutting.cut import leaving
from sapwood.shrinking.tracing.computed import computed
from sapwood.shrinking.tracing.graph import named_tensors

IN, OUT, HEADS = 10, 12, 3  # units before a piece, behind it, and heads among these
LAYERS = (nn.Linear, nn.Embedding)


def par(*shape):
    return nn.Parameter(torch.randn(shape))


class Scale(nn.Module):
    """A number for each unit; where it stands units can be masked."""

    def __init__(self, *shape):
        super().__init__()
        self.scale = par(*shape)

    def forward(self, x):
        return x * self.scale


def between(middle, width_out=OUT, **bare):
    """Units, `middle`, units; what is read and made next to `middle` is 0 where it is masked."""

    def made(w):
        def forward(of, x):
            return of["b"](F.relu(middle(of, F.relu(of["a"](x)))))

        ready = {name: make() for name, make in bare.items()}
        return Written(forward, a=nn.Linear(w, IN), b=nn.Linear(width_out, w), **ready)

    return made


def by_letters(equation, *shape):
    return between(lambda of, x: torch.einsum(equation, x, of["w"]), w=lambda: par(*shape))


def weighted(how, **bare):
    """A linear layer whose weight is computed."""
    bare.setdefault("w", lambda: par(OUT, IN))
    return between(lambda of, x: F.linear(x, how(of)), **bare)


def layer(make):
    def quietly():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the older forms say that there are newer ones
            return make(nn.Linear(IN, OUT))

    return between(lambda of, x: of["w"](x), w=quietly)


def standardised(of):
    w = of["w"]
    return of["g"] * (w - w.mean(1, keepdim=True)) / (w.std(1, keepdim=True) + 1e-5)


def biased(how, **bare):
    return between(lambda of, x: F.linear(x, of["w"], how(of)), w=lambda: par(OUT, IN), **bare)


class Adapter(nn.Module):
    """A parametrisation by low-rank matrices."""

    def __init__(self, rows, columns):
        super().__init__()
        self.lower, self.upper, self.scale = par(4, columns), par(rows, 4), Scale(4)

    def forward(self, w):
        return w + 2 * self.scale(self.upper) @ self.lower


def adapted(linear):
    return parametrize.register_parametrization(linear, "weight", Adapter(OUT, IN))


def masked(linear):
    return prune.random_unstructured(linear, "weight", 0.4)


def heads_as_letters(w):
    """Queries, keys and values of heads that are letters of their weights."""

    def forward(of, x):
        q, k, v = (torch.einsum("bti,hdi->bhtd", x, of[name]) for name in "qkv")
        scores = torch.einsum("bhtd,bhsd->bhts", of["t"](q), of["t"](k)).softmax(-1)
        y = of["s"](torch.einsum("bhts,bhsd->bhtd", scores, v))
        return of["b"](torch.einsum("bhtd,hdo->bto", y, of["o"]))

    each = {name: par(HEADS, 4, w) for name in "qkv"}
    return Written(forward, b=nn.Linear(w, w), o=par(HEADS, 4, w), s=Scale(HEADS, 1, 4), t=Scale(HEADS, 1, 4), **each)


def values_only(w):
    """One head, all letters."""

    def forward(of, x):
        scores = torch.einsum("bid,bjd->bij", of["q"](x), of["k"](x)).softmax(-1)
        return of["o"](torch.einsum("b i j, b j d -> b i d", scores, of["v"](x)))

    return Written(forward, o=nn.Linear(8, w), **{name: nn.Linear(w, 8) for name in "qkv"})


def scaled_by_hand(how):
    """Queries and keys of one head may become narrower where the scale is written down."""

    def made(w):
        def forward(of, x):
            q, k = of["s"](of["q"](x)), of["s"](of["k"](x))
            return of["o"](how(q, k, of["v"](x)))

        layers = {name: nn.Linear(w, 8) for name in "qkv"}
        return Written(forward, o=nn.Linear(8, w), s=Scale(8), **layers)

    return made


def torchs(of_keys, of_values, **options):
    """torch's attention to something that other layers have made."""

    def made(w):
        def forward(of, x):
            k, v = of["k"](x), of["v"](x)
            return of["m"](x, k, v, need_weights=options.get("weights", False))[0]

        given = {name: value for name, value in options.items() if name != "weights"}
        m = nn.MultiheadAttention(w, 4, kdim=of_keys or w, vdim=of_values or w, batch_first=True, **given)
        return Written(forward, k=nn.Linear(w, of_keys or w), v=nn.Linear(w, of_values or w), m=m)

    return made


def experts(w):
    """All experts, one product each, weighed by a router."""

    def forward(of, x):
        share = of["router"](x).softmax(-1)
        y = F.relu(of["s"](torch.einsum("btd,edh->beth", x, of["up"])))
        return torch.einsum("beth,ehd,bte->btd", y, of["low"], share)

    return Written(forward, router=nn.Linear(w, 3), up=par(3, w, 10), low=par(3, 10, w), s=Scale(10))


def experts_by_bmm(w):
    def forward(of, x):
        y = torch.bmm(x.flatten(0, 1).expand(3, -1, -1), of["up"])
        gate, y = y.chunk(2, -1)
        return torch.bmm(F.silu(gate) * of["s"](y), of["low"]).sum(0).view_as(x)

    return Written(forward, up=par(3, w, 20), low=par(3, 10, w), s=Scale(10))


def experts_by_choice(w):
    """The weights of the chosen expert are looked up."""

    def forward(of, x):
        chosen = of["router"](x).argmax(-1)
        y = F.relu(of["s"](torch.einsum("bti,btio->bto", x, of["up"][chosen])))
        return torch.einsum("bti,btio->bto", y, of["low"][chosen])

    return Written(forward, router=nn.Linear(w, 3), up=par(3, w, 10), low=par(3, 10, w), s=Scale(10))


def there_and_back(w):
    def forward(of, x):
        return F.linear(F.relu(of["a"](x)), of["a"].weight.t())

    return Written(forward, a=nn.Linear(w, 10))


def bilinear(w):
    def forward(of, x):
        return of["b"](F.relu(of["w"](F.relu(of["a"](x)), F.relu(of["c"](x)))))

    return Written(forward, a=nn.Linear(w, IN), c=nn.Linear(w, 8), w=nn.Bilinear(IN, 8, OUT), b=nn.Linear(OUT, w))


def fused_bias(w):
    """Queries and values have biases, keys have none (BEiT)."""

    def forward(of, x):
        bias = torch.cat([of["q"], torch.zeros_like(of["v"], requires_grad=False), of["v"]])
        q, k, v = F.linear(x, of["w"], bias).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return of["b"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    return Written(forward, w=par(3 * 12, w), q=par(12), v=par(12), b=nn.Linear(12, w))


PIECES = {
    "letters": by_letters("bti,io->bto", IN, OUT),
    "transposed": by_letters("bti,oi->bto", OUT, IN),
    "any before": by_letters("...i,oi->...o", OUT, IN),
    "no arrow": by_letters("bti,iz", IN, OUT),
    "answer turned": between(
        lambda of, x: torch.einsum("bti,oi->obt", x, of["w"]).permute(1, 2, 0), w=lambda: par(OUT, IN)
    ),
    "weight first": between(lambda of, x: torch.einsum("oi,bti->bto", of["w"], x), w=lambda: par(OUT, IN)),
    "three": between(
        lambda of, x: torch.einsum("bti,ij,jo->bto", x, of["s"](of["u"]), of["w"]),
        s=lambda: Scale(6),
        u=lambda: par(IN, 6),
        w=lambda: par(6, OUT),
    ),
    "a letter summed": between(lambda of, x: torch.einsum("bti,ios->bto", x, of["w"]), w=lambda: par(IN, OUT, 3)),
    "scaled by letters": between(lambda of, x: torch.einsum("bti,i->bti", x, of["w"]), IN, w=lambda: par(IN)),
    "heads made": between(
        lambda of, x: torch.einsum("bti,ihd->bthd", x, of["w"]).flatten(2), w=lambda: par(IN, HEADS, 4)
    ),
    "matrix for each": between(
        lambda of, x: torch.einsum("bthd,hdo->btho", of["c"](x).unflatten(-1, (HEADS, -1)), of["w"]).flatten(2),
        15,
        c=lambda: nn.Linear(IN, 12),
        w=lambda: par(HEADS, 4, 5),
    ),
    "tensordot": between(lambda of, x: torch.tensordot(x, of["w"], dims=([2], [1])), w=lambda: par(OUT, IN)),
    "inner": between(lambda of, x: torch.inner(x, of["w"]), w=lambda: par(OUT, IN)),
    "matmul": between(lambda of, x: x @ of["w"].mT, w=lambda: par(OUT, IN)),
    "weight at the left": between(lambda of, x: (of["w"] @ x.mT).mT, w=lambda: par(OUT, IN)),
    "a vector": between(lambda of, x: x @ of["v"][:, None] * of["w"], v=lambda: par(IN), w=lambda: par(OUT)),
    "mv": between(
        lambda of, x: torch.mv(x.flatten(0, 1), of["v"]).view(*x.shape[:2], 1) * of["w"],
        v=lambda: par(IN),
        w=lambda: par(OUT),
    ),
    "outer": between(
        lambda of, x: torch.outer(x[..., 0].flatten(), of["w"]).view(*x.shape[:2], -1), w=lambda: par(OUT)
    ),
    "addmm": between(
        lambda of, x: torch.addmm(of["v"], x.flatten(0, 1), of["w"]).view(*x.shape[:2], -1),
        v=lambda: par(OUT),
        w=lambda: par(IN, OUT),
    ),
    "chain": weighted(
        lambda of: torch.linalg.multi_dot([of["s"](of["w"]), of["u"], of["t"](of["v"].mT).mT]),
        s=lambda: Scale(4),
        t=lambda: Scale(6),
        w=lambda: par(OUT, 4),
        u=lambda: par(4, 6),
        v=lambda: par(6, IN),
    ),
    "bilinear": bilinear,
    "scaled rows": weighted(lambda of: of["w"] * of["g"], g=lambda: par(OUT, 1)),
    "scaled columns": weighted(lambda of: of["w"] * of["g"], g=lambda: par(IN)),
    "divided": weighted(lambda of: of["w"] / (of["g"].abs() + 1), g=lambda: par(OUT, 1)),
    "standardised": weighted(standardised, g=lambda: par(OUT, 1)),
    "own norm": weighted(lambda of: F.normalize(of["w"], dim=1)),
    "adapter": weighted(
        lambda of: of["w"] + 0.5 * of["s"](of["B"]) @ of["A"],
        s=lambda: Scale(4),
        A=lambda: par(4, IN),
        B=lambda: par(OUT, 4),
    ),
    "adapter by letters": weighted(
        lambda of: torch.einsum("or,ri->oi", of["s"](of["B"]), of["A"]),
        s=lambda: Scale(6),
        A=lambda: par(6, IN),
        B=lambda: par(OUT, 6),
    ),
    "behind one another": weighted(
        lambda of: torch.cat([of["w"], of["u"]]), w=lambda: par(OUT - 4, IN), u=lambda: par(4, IN)
    ),
    "side by side": weighted(
        lambda of: torch.cat([of["w"], of["u"]], 1), w=lambda: par(OUT, IN - 4), u=lambda: par(OUT, 4)
    ),
    "stacked": weighted(lambda of: torch.stack([of["w"], of["u"]]).mean(0), u=lambda: par(OUT, IN)),
    "a half": weighted(lambda of: of["w"].chunk(2)[1], w=lambda: par(2 * OUT, IN)),
    "halves": between(
        lambda of, x: torch.cat([F.linear(x, w) for w in of["w"].split(OUT // 2)], -1), w=lambda: par(OUT, IN)
    ),
    "turned": weighted(lambda of: of["w"].t(), w=lambda: par(IN, OUT)),
    "reshaped": weighted(lambda of: of["w"].permute(1, 2, 0).flatten(0, 1), w=lambda: par(IN, HEADS, 4)),
    "sigmoid": weighted(lambda of: torch.sigmoid(of["w"])),
    "bias of parts": biased(lambda of: torch.cat([of["p"], of["q"]]), p=lambda: par(4), q=lambda: par(OUT - 4)),
    "bias scaled": biased(lambda of: of["p"] * of["q"] * 3, p=lambda: par(OUT), q=lambda: par(1)),
    "bias a sum": biased(lambda of: of["p"] + of["q"], p=lambda: par(OUT), q=lambda: par(OUT)),
    "bias of a weight": biased(lambda of: of["w"] @ of["p"], p=lambda: par(IN)),
    "spectral": layer(spectral_norm),
    "older spectral": layer(older_spectral_norm),
    "norm": layer(weight_norm),
    "older norm": layer(older_weight_norm),
    "parametrised": layer(adapted),
    "masked": layer(masked),
    "heads as letters": heads_as_letters,
    "values only": values_only,
    "fused bias": fused_bias,
    "given scale": scaled_by_hand(
        lambda q, k, v: F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], scale=0.3)[:, 0]
    ),
    "written scale": scaled_by_hand(lambda q, k, v: (q @ k.mT * 0.3).softmax(-1) @ v),
    "scale by size": scaled_by_hand(lambda q, k, v: (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v),
    "to another": torchs(0, 0),
    "to others": torchs(6, 5),
    "with places": torchs(0, 0, add_bias_kv=True, weights=True),
    "weights told": torchs(6, 0, weights=True, bias=False),
    "experts": experts,
    "by bmm": experts_by_bmm,
    "by choice": experts_by_choice,
    "there and back": there_and_back,
}


class Products(nn.Module):
    """Pieces one after another, each added to the stream or in its place."""

    def __init__(self, pieces, width, residual):
        super().__init__()
        self.words, self.head, self.residual = nn.Embedding(11, width), nn.Linear(width, 3), residual
        self.pieces = nn.ModuleList(PIECES[piece](width) for piece in pieces)
        self.scales = nn.ModuleList(Scale(width) for piece in pieces)

    def forward(self, words):
        x = self.words(words)
        for piece, scale in zip(self.pieces, self.scales, strict=True):
            y = piece(scale(x))
            x = x + y if self.residual else y
        return self.head(x[:, -1])


networks = st.builds(
    Products, st.lists(st.sampled_from([*PIECES]), min_size=1, max_size=3), st.sampled_from([8, 12]), st.booleans()
)


class Attention(nn.Module):
    """`nn.MultiheadAttention`, its last layer called as a layer."""

    def __init__(self, layer):
        super().__init__()
        self.out_proj, self.layer = layer.out_proj, layer

    def forward(self, *inputs, need_weights):
        """Queries, keys, values."""
        of = self.layer
        if of.in_proj_weight is None:
            weights = (of.q_proj_weight, of.k_proj_weight, of.v_proj_weight)
        else:
            weights = of.in_proj_weight.chunk(3)
        biases = (None,) * 3 if of.in_proj_bias is None else of.in_proj_bias.chunk(3)
        q, k, v = (F.linear(*each) for each in zip(inputs, weights, biases, strict=True))
        if of.bias_k is not None:
            k, v = (torch.cat([x, more.expand(len(x), -1, -1)], 1) for x, more in ((k, of.bias_k), (v, of.bias_v)))
        q, k, v = (x.unflatten(-1, (of.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)), None


def by_hand(model):
    """A network that computes the same with the very same tensors."""
    spelt = deepcopy(model, computed(model) | {id(tensor): tensor for _, tensor in named_tensors(model)})
    for piece in spelt.pieces:
        for name, one in list(piece.layers.items()):
            if isinstance(one, nn.MultiheadAttention):
                piece.layers[name] = Attention(one)
    return spelt


@contextmanager
def masked_units(model, found, keep):
    """Inside, whatever an ordinary layer makes or reads counts as 0 where its unit goes."""
    with ExitStack() as hooks:
        for name, one in model.named_modules():
            if isinstance(one, (*LAYERS, nn.Bilinear)):
                hook = _mask(found, keep, name, 1 if isinstance(one, nn.Embedding) else 0)
                hooks.callback(one.register_forward_hook(hook).remove)
            if isinstance(one, nn.Linear):
                hooks.callback(one.register_forward_pre_hook(_mask(found, keep, name, 1)).remove)
            if isinstance(one, Scale):
                for dim in range(one.scale.dim()):
                    hook = _mask(found, keep, name, dim, one.scale.dim() - dim)
                    hooks.callback(one.register_forward_hook(hook).remove)
        yield


def _mask(found, keep, name, dim, back=1):
    """`back`: how many dimensions from the end units lie."""
    tensors = {f"{name}.{end}" for end in ("weight", "weight_orig", "scale")}
    if not any(slot.tensor == f"{name}.weight_u" for site in found for slot in site.slots):  # of a spectral norm
        tensors.add(f"{name}.weight_v")
    tensors |= {f"{name}.parametrizations.weight.original{n}" for n in ("", 1)}
    gone = [leaving(slot, keep[site.name]) for site in found for slot in site.slots
            if slot.tensor in tensors and slot.dim == dim]  # fmt: skip

    def hook(_, given, answer=None):
        x = given[0] if answer is None else answer
        for positions in gone:
            x = x.masked_fill(positions.view(-1, *[1] * (back - 1)), 0)
        return x if answer is not None else (x, *given[1:])

    return hook
